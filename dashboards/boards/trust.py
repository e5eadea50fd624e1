"""Trust: is every use on record, did anything change or try to get out, who was turned away."""

from dashboards.boards.variables import happened, rate
from dashboards.model import (
    ALWAYS_GREEN,
    Dashboard,
    Panel,
    PanelKind,
    PanelQuery,
    PanelRow,
    Text,
    both,
    falling,
    never,
    rising,
)

_YES_NO = (("0", Text("no", "否"), "red"), ("1", Text("yes", "是"), "green"))


def _commit(share: float) -> str:
    return f"histogram_quantile({share:g}, sum by (le) ({rate('vitrine_ledger_commit_seconds_bucket')}))"


_RECORD = PanelRow(
    Text("Is every use on record?", "每次使用都有记录吗？"),
    (
        Panel(
            PanelKind.STAT,
            Text("Ledger answers", "账本应答"),
            Text("Without it nothing is answered.", "账本不应答时，不会应答任何请求。"),
            (PanelQuery("min(vitrine_ledger_up)"),),
            unit="none",
            width=4,
            height=5,
            states=_YES_NO,
            steps=falling(1, 1),
            runbook="Ledger does not commit",
        ),
        Panel(
            PanelKind.STAT,
            Text("Records", "记录数"),
            Text(
                "In the log, and covered by its last signed head.", "账本中的记录数，以及最近签名的树头所覆盖的记录数。"
            ),
            (
                PanelQuery("sum(vitrine_ledger_log_records)", Text("in the log", "账本")),
                PanelQuery("sum(vitrine_ledger_head_records)", Text("signed", "已签名")),
            ),
            unit="none",
            width=6,
            height=5,
            steps=ALWAYS_GREEN,
        ),
        Panel(
            PanelKind.STAT,
            Text("Age of the signed head", "树头的签名时间距今"),
            Text(
                "A head is signed each second while busy, each minute while idle.",
                "繁忙时每秒签名一次，空闲时每分钟一次。",
            ),
            (PanelQuery("max(time() - vitrine_ledger_head_timestamp_seconds)"),),
            unit="s",
            width=4,
            height=5,
            steps=rising(120, 300),
            runbook="Ledger does not commit",
        ),
        Panel(
            PanelKind.STAT,
            Text("Integrity alarms, 24 h", "完整性告警，24 小时"),
            Text("A file or a connection was not what it should be.", "某个文件或连接与应有的不符。"),
            (PanelQuery("sum(increase(vitrine_integrity_alarms_total[1d]))"),),
            unit="none",
            width=5,
            height=5,
            decimals=0,
            steps=never(1),
            runbook="Integrity alarm",
        ),
        Panel(
            PanelKind.STAT,
            Text("Egress attempts, 24 h", "外联尝试，24 小时"),
            Text("Packets of engines that looked for a way out of their network.", "引擎试图离开自身网络的数据包数。"),
            (PanelQuery("sum(increase(vitrine_engine_egress_attempts_total[1d]))"),),
            unit="none",
            width=5,
            height=5,
            decimals=0,
            steps=never(1),
            runbook="Egress attempt",
        ),
        Panel(
            PanelKind.TIMESERIES,
            Text("Records by kind", "记录，按种类"),
            Text(
                "An exchange has two: admit and complete; a refusal has one: deny.",
                "每次问答有两条：admit 与 complete；拒绝有一条：deny。",
            ),
            (PanelQuery(happened("vitrine_ledger_appended_total", "kind"), both("{{kind}}")),),
            unit="suffix: rec/s",
            stacked=True,
        ),
        Panel(
            PanelKind.TIMESERIES,
            Text("Commit lag", "提交延迟"),
            Text("Writing and syncing one batch of records.", "一批记录写入并落盘的时间。"),
            (PanelQuery(_commit(0.5), both("p50")), PanelQuery(_commit(0.99), both("p99"))),
            unit="s",
            runbook="Ledger does not commit",
        ),
        Panel(
            PanelKind.TIMESERIES,
            Text("Records not signed yet", "尚未签名的记录"),
            Text("Durable, but not covered by the last signed head.", "已落盘，但最近的树头尚未覆盖。"),
            (
                PanelQuery(
                    "sum by (instance) (vitrine_ledger_log_records - vitrine_ledger_head_records)", both("{{instance}}")
                ),
            ),
            unit="none",
        ),
        Panel(
            PanelKind.TIMESERIES,
            Text("Calls that failed", "失败的调用"),
            Text(
                "Calls to the ledger without a durable answer in time, by call; each is a request that was not answered.",
                "未在时限内得到落盘确认的账本调用；每一次都意味着一个未被应答的请求。",
            ),
            (PanelQuery(happened("vitrine_ledger_failures_total", "call"), both("{{call}}")),),
            quiet=True,
            unit="cps",
            runbook="Ledger does not commit",
        ),
        Panel(
            PanelKind.TIMESERIES,
            Text("Free disk for the log", "账本磁盘剩余"),
            Text("Share of the disk that holds the log.", "账本所在磁盘的剩余占比。"),
            (
                PanelQuery(
                    "min by (instance) (vitrine_ledger_free_bytes / vitrine_ledger_disk_bytes)", both("{{instance}}")
                ),
            ),
            unit="percentunit",
            highest=1,
            steps=falling(0.1, 0.2),
            runbook="Ledger disk fills",
        ),
        Panel(
            PanelKind.TIMESERIES,
            Text("Work beside the log that failed", "账本附属工作的失败"),
            Text("Anchors, seals and archives. The log itself goes on.", "锚定、封存与归档；账本本身不受影响。"),
            (PanelQuery(f"sum by (what) ({rate('vitrine_ledger_errors_total')})", both("{{what}}")),),
            unit="cps",
        ),
    ),
)

_OUT = PanelRow(
    Text("Did anything try to get out?", "有没有外联？"),
    (
        Panel(
            PanelKind.STATES,
            Text("Engine is isolated", "引擎已隔离"),
            Text("Whether the engine has a network of its own with no way out.", "引擎是否处于没有出口的独立网络中。"),
            (PanelQuery("min by (engine) (vitrine_engine_isolated)", both("{{engine}}")),),
            states=_YES_NO,
            width=12,
            height=6,
            runbook="Egress attempt",
        ),
        Panel(
            PanelKind.TIMESERIES,
            Text("Egress attempts", "外联尝试"),
            Text("Packets without a route out, each second, by engine.", "每秒找不到出口的数据包数，按引擎。"),
            (PanelQuery(f"sum by (engine) ({rate('vitrine_engine_egress_attempts_total')})", both("{{engine}}")),),
            unit="cps",
            width=12,
            height=6,
            runbook="Egress attempt",
        ),
    ),
)

_AWAY = PanelRow(
    Text("Who was turned away?", "谁被拒之门外？"),
    (
        Panel(
            PanelKind.TIMESERIES,
            Text("Requests without a good key", "没有有效密钥的请求"),
            Text(
                "missing: no key. invalid: unknown, revoked or expired. braked: one more from an address that sent too many.",
                "missing：没有密钥；invalid：未知、已吊销或已过期；braked：来自失败过多的地址。",
            ),
            (PanelQuery(happened("vitrine_authentication_failures_total", "reason"), both("{{reason}}")),),
            quiet=True,
            unit="reqps",
            stacked=True,
            runbook="Keys are guessed",
        ),
        Panel(
            PanelKind.TIMESERIES,
            Text("Refusals by code", "拒绝，按错误码"),
            Text(
                "By the door, a limit, a full queue or the connection manager.",
                "被请求检查、限额、队列已满或连接管理器拒绝。",
            ),
            (PanelQuery(happened("vitrine_refused_total", "code"), both("{{code}}")),),
            quiet=True,
            unit="reqps",
            stacked=True,
        ),
        Panel(
            PanelKind.STAT,
            Text("Certificates: time left", "证书剩余时间"),
            Text(
                "Of the engines over TLS, and of the gateway's own for them.",
                "TLS 引擎的证书，以及网关访问引擎所用的证书。",
            ),
            (
                PanelQuery(
                    "min by (engine) (vitrine_engine_certificate_expiry_timestamp_seconds) - time()", both("{{engine}}")
                ),
                PanelQuery("min(vitrine_certificate_expiry_timestamp_seconds) - time()", Text("gateway", "网关")),
            ),
            unit="s",
            lowest=None,
            steps=falling(3 * 86400, 21 * 86400),
            runbook="Certificate expires",
        ),
    ),
)

TRUST = Dashboard(
    "trust",
    Text("Vitrine: trust", "Vitrine 可信"),
    Text(
        "Is every use on record, did anything change or try to get out, who was turned away.",
        "每次使用是否都有记录、有没有被改动或外联、谁被拒之门外。",
    ),
    (_RECORD, _OUT, _AWAY),
)
