"""Overview: is it healthy, how busy is it, how much of the error budget is left."""

from dashboards.boards.variables import MODEL, happened, quantile, rate
from dashboards.model import Dashboard, Panel, PanelKind, PanelQuery, PanelRow, Text, both, falling, never, rising

_CHAT = 'model=~"$model"'
_YES_NO = (("0", Text("no", "否"), "red"), ("1", Text("yes", "是"), "green"))

_HEALTH = PanelRow(
    Text("Is it healthy?", "健康吗？"),
    (
        Panel(
            PanelKind.STAT,
            Text("Alerts that fire", "正在触发的告警"),
            Text("How many alerts fire now. The table below names them.", "现在触发的告警数，名称见下方的表。"),
            (PanelQuery('sum(ALERTS{alertstate="firing"}) or vector(0)'),),
            unit="none",
            width=4,
            height=5,
            steps=never(1),
        ),
        Panel(
            PanelKind.STAT,
            Text("Answered well, 5 min", "正常应答率，5 分钟"),
            Text(
                "Chat requests that neither failed nor were turned away for want of an engine, the ledger or room. What a client "
                "got wrong, its own limits and clients that left do not count.",
                "既未失败、也未因引擎、账本或容量不足被拒的对话请求占比；客户端自身错误、超出自己的限额、主动断开的不计。",
            ),
            (PanelQuery("1 - vitrine:chat_errors:ratio_rate5m"),),
            unit="percentunit",
            width=4,
            height=5,
            decimals=2,
            highest=1,
            steps=falling(0.99, 0.995),
            runbook="Error budget burns",
        ),
        Panel(
            PanelKind.STAT,
            Text("First token, 95th percentile", "首个 token，95 分位"),
            Text(
                "Of streams: from the request's head to the first token. The objective is 3 s for 95 of 100.",
                "流式请求从收到请求头到首个 token 的时间；目标是 95% 不超过 3 秒。",
            ),
            (PanelQuery(quantile(0.95, "vitrine_first_token_seconds", _CHAT)),),
            unit="s",
            width=4,
            height=5,
            steps=rising(2, 3),
            runbook="First token is late",
        ),
        Panel(
            PanelKind.STAT,
            Text("Engines", "引擎"),
            Text("Engines that may be asked, and all that are known.", "可用的引擎数与已知的引擎总数。"),
            (
                PanelQuery("sum(max by (engine) (vitrine_engine_ready))", Text("ready", "可用")),
                PanelQuery("count(max by (engine) (vitrine_engine_ready))", Text("known", "已知")),
            ),
            unit="none",
            width=4,
            height=5,
            steps=falling(1, 1),
            runbook="Engine is down",
        ),
        Panel(
            PanelKind.STAT,
            Text("Ledger answers", "账本应答"),
            Text(
                "Whether the audit log answers and every worker is connected to it. Without it nothing is answered.",
                "审计账本是否应答、所有工作进程是否已连接；账本不可用时不会应答任何请求。",
            ),
            (PanelQuery("min(vitrine_ledger_up) * min(vitrine_ledger_connected)"),),
            unit="none",
            width=4,
            height=5,
            states=_YES_NO,
            steps=falling(1, 1),
            runbook="Ledger does not commit",
        ),
        Panel(
            PanelKind.STAT,
            Text("Integrity and egress, 24 h", "完整性与外联，24 小时"),
            Text(
                "Integrity alarms, and packets of engines that looked for a way out. Both must be 0.",
                "完整性告警数，以及引擎试图外联的数据包数；两者都必须为 0。",
            ),
            (
                PanelQuery("sum(increase(vitrine_integrity_alarms_total[1d]))", Text("alarms", "完整性告警")),
                PanelQuery("sum(increase(vitrine_engine_egress_attempts_total[1d]))", Text("egress", "外联")),
            ),
            unit="none",
            width=4,
            height=5,
            decimals=0,
            steps=never(1),
            runbook="Integrity alarm",
        ),
    ),
)

_BUSY = PanelRow(
    Text("How busy is it?", "有多忙？"),
    (
        Panel(
            PanelKind.TIMESERIES,
            Text("Exchanges by outcome", "问答，按结局"),
            Text("Exchanges that ended, each second, by how they ended.", "每秒结束的问答数，按结局分。"),
            (PanelQuery(happened("vitrine_exchanges_total", "outcome", _CHAT), both("{{outcome}}")),),
            unit="reqps",
            stacked=True,
        ),
        Panel(
            PanelKind.TIMESERIES,
            Text("At work and waiting", "处理中与排队中"),
            Text(
                "Exchanges at work at engines, and requests that wait for their turn.",
                "正在引擎上处理的问答数，以及排队等待的请求数。",
            ),
            (
                PanelQuery("sum(vitrine_busy_exchanges)", Text("at work", "处理中")),
                PanelQuery("sum(vitrine_queue_waiting)", Text("waiting", "排队中")),
            ),
            runbook="Queue grows",
        ),
        Panel(
            PanelKind.TIMESERIES,
            Text("Tokens each second", "每秒 token 数"),
            Text("As the engines counted them.", "以引擎的计数为准。"),
            (PanelQuery(f"sum by (direction) ({rate('vitrine_tokens_total', _CHAT)})", both("{{direction}}")),),
            unit="suffix: tok/s",
        ),
        Panel(
            PanelKind.TIMESERIES,
            Text("HTTP answers by status", "HTTP 应答，按状态码"),
            Text("Of all routes, health checks and scrapes included.", "所有路径，包括健康检查与指标抓取。"),
            (PanelQuery(happened("vitrine_requests_total", "status"), both("{{status}}")),),
            unit="reqps",
            stacked=True,
        ),
        Panel(
            PanelKind.TIMESERIES,
            Text("Pictures each second", "每秒图片数"),
            Text("Pictures that were sent to engines.", "发往引擎的图片数。"),
            (PanelQuery(f"sum by (model) ({rate('vitrine_images_total', _CHAT)})", both("{{model}}")),),
            unit="suffix: img/s",
        ),
        Panel(
            PanelKind.TIMESERIES,
            Text("Refusals by code", "拒绝，按错误码"),
            Text(
                "By the door, a limit, a full queue or the connection manager: the code that the client reads.",
                "被请求检查、限额、队列已满或连接管理器拒绝的请求，按客户端看到的错误码。",
            ),
            (PanelQuery(happened("vitrine_refused_total", "code"), both("{{code}}")),),
            quiet=True,
            unit="reqps",
            stacked=True,
        ),
    ),
)

_BURN = rising(1, 14.4)


def _burns(ratio: str, allowed: float) -> tuple[PanelQuery, ...]:
    return tuple(PanelQuery(f"{ratio}{window} / {allowed:g}", both(window)) for window in ("5m", "1h", "6h"))


_OBJECTIVES = PanelRow(
    Text("Objectives of 30 days", "服务目标（30 天）"),
    (
        Panel(
            PanelKind.STAT,
            Text("Budget left: answered well", "剩余预算：正常应答"),
            Text(
                "Of the failures that 99.5 % of 30 days allow. Below 0 the objective is missed.",
                "目标 99.5%（30 天）允许的失败还剩多少；低于 0 即未达标。",
            ),
            (PanelQuery("1 - vitrine:chat_errors:ratio_rate30d / 0.005"),),
            unit="percentunit",
            width=4,
            height=8,
            decimals=1,
            lowest=None,
            steps=falling(0, 0.25),
            runbook="Error budget burns",
        ),
        Panel(
            PanelKind.TIMESERIES,
            Text("Burn: answered well", "消耗速度：正常应答"),
            Text(
                "1 is as fast as the objective allows. Alerts fire at 14.4 (1 h) and 6 (6 h), and warn at 3 (1 d) and 1 (3 d).",
                "1 表示正好按目标允许的速度消耗；14.4（1 小时）与 6（6 小时）时告警，3（1 天）与 1（3 天）时警告。",
            ),
            _burns("vitrine:chat_errors:ratio_rate", 0.005),
            unit="suffix:×",
            width=8,
            steps=_BURN,
            runbook="Error budget burns",
        ),
        Panel(
            PanelKind.STAT,
            Text("Budget left: first token", "剩余预算：首个 token"),
            Text(
                "Of the late first tokens that 95 % within 3 s allow in 30 days.",
                "目标 95% 在 3 秒内（30 天）允许的迟到还剩多少。",
            ),
            (PanelQuery("1 - vitrine:first_token_late:ratio_rate30d / 0.05"),),
            unit="percentunit",
            width=4,
            height=8,
            decimals=1,
            lowest=None,
            steps=falling(0, 0.25),
            runbook="First token is late",
        ),
        Panel(
            PanelKind.TIMESERIES,
            Text("Burn: first token", "消耗速度：首个 token"),
            Text(
                "1 is as fast as the objective allows. The alert fires at 6, over 1 h and 5 min.",
                "1 表示正好按目标允许的速度消耗；1 小时与 5 分钟都达到 6 时告警。",
            ),
            _burns("vitrine:first_token_late:ratio_rate", 0.05),
            unit="suffix:×",
            width=8,
            steps=rising(1, 6),
            runbook="First token is late",
        ),
        Panel(
            PanelKind.TABLE,
            Text("Alerts", "告警"),
            Text("Alerts that fire or are about to.", "正在触发或即将触发的告警。"),
            (PanelQuery("sum by (alertname, severity, alertstate) (ALERTS)", Text("count", "数量"), unit="none"),),
            width=24,
            height=6,
        ),
    ),
)

OVERVIEW = Dashboard(
    "overview",
    Text("Vitrine: overview", "Vitrine 总览"),
    Text(
        "Is it healthy, how busy is it, how much of the error budget is left.", "是否健康、有多忙、错误预算还剩多少。"
    ),
    (_HEALTH, _BUSY, _OBJECTIVES),
    (MODEL,),
)
