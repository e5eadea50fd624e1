"""Tenants: who uses what, and whom a limit stops."""

from dashboards.boards.variables import TENANT, happened, rate
from dashboards.model import Dashboard, Panel, PanelKind, PanelQuery, PanelRow, Text, both, never

_WHO = 'tenant=~"$tenant"'
_NOT_WELL = _WHO + ', outcome!="completed"'


def _used(metric: str, labels: str = "") -> str:
    return f"round(sum by (tenant) (increase({metric}{{{_WHO}{labels}}}[$__range])))"


_USE = PanelRow(
    Text("Who uses what?", "谁用了什么？"),
    (
        Panel(
            PanelKind.TABLE,
            Text("Use, over the range that is shown", "用量（所选时间范围）"),
            Text(
                "Exchanges, tokens, pictures, and requests that a limit refused, by tenant.",
                "各租户的问答、token、图片数，以及被限额拒绝的请求数。",
            ),
            (
                PanelQuery(_used("vitrine_tenant_exchanges_total"), Text("exchanges", "问答")),
                PanelQuery(_used("vitrine_tenant_tokens_total", ', direction="in"'), Text("tokens in", "输入 token")),
                PanelQuery(_used("vitrine_tenant_tokens_total", ', direction="out"'), Text("tokens out", "输出 token")),
                PanelQuery(_used("vitrine_tenant_images_total"), Text("pictures", "图片")),
                PanelQuery(_used("vitrine_tenant_limits_hit_total"), Text("limits hit", "触及限额")),
            ),
            width=16,
        ),
        Panel(
            PanelKind.BARS,
            Text("Share of the tokens", "token 占比"),
            Text("Over the range that is shown, both directions.", "所选时间范围内，输入与输出合计。"),
            (
                PanelQuery(
                    f"topk(10, {_used('vitrine_tenant_tokens_total')} / on () group_left () "
                    "(sum(increase(vitrine_tenant_tokens_total[$__range])) > 0))",
                    both("{{tenant}}"),
                ),
            ),
            unit="percentunit",
            highest=1,
        ),
        Panel(
            PanelKind.TIMESERIES,
            Text("Exchanges each second", "每秒问答数"),
            Text("By tenant, however they ended.", "按租户，不论结局。"),
            (PanelQuery(f"sum by (tenant) ({rate('vitrine_tenant_exchanges_total', _WHO)})", both("{{tenant}}")),),
            unit="reqps",
            stacked=True,
        ),
        Panel(
            PanelKind.TIMESERIES,
            Text("Tokens each second", "每秒 token 数"),
            Text("By tenant, both directions.", "按租户，输入与输出合计。"),
            (PanelQuery(f"sum by (tenant) ({rate('vitrine_tenant_tokens_total', _WHO)})", both("{{tenant}}")),),
            unit="suffix: tok/s",
            stacked=True,
        ),
        Panel(
            PanelKind.TIMESERIES,
            Text("Pictures each second", "每秒图片数"),
            Text("By tenant.", "按租户。"),
            (PanelQuery(f"sum by (tenant) ({rate('vitrine_tenant_images_total', _WHO)})", both("{{tenant}}")),),
            unit="suffix: img/s",
            stacked=True,
        ),
    ),
)

_LIMITS = PanelRow(
    Text("Whom does a limit stop?", "谁被限额拦住？"),
    (
        Panel(
            PanelKind.TIMESERIES,
            Text("Limits hit, by tenant", "触及限额，按租户"),
            Text(
                "Requests that a limit of the tenant or of one of its keys refused (429).",
                "被租户限额或其密钥限额拒绝的请求（429）。",
            ),
            (
                PanelQuery(
                    happened("vitrine_tenant_limits_hit_total", "tenant, limit", _WHO), both("{{tenant}} · {{limit}}")
                ),
            ),
            quiet=True,
            unit="reqps",
            stacked=True,
        ),
        Panel(
            PanelKind.TIMESERIES,
            Text("Limits hit, by whose they are", "触及限额，按归属"),
            Text("A key's own limit, or its tenant's.", "密钥自身的限额，或所属租户的限额。"),
            (PanelQuery(happened("vitrine_limits_hit_total", "scope, limit"), both("{{scope}} · {{limit}}")),),
            quiet=True,
            unit="reqps",
            stacked=True,
        ),
        Panel(
            PanelKind.TIMESERIES,
            Text("Exchanges that did not end well", "未正常结束的问答"),
            Text("By tenant and outcome.", "按租户与结局。"),
            (
                PanelQuery(
                    happened("vitrine_tenant_exchanges_total", "tenant, outcome", _NOT_WELL),
                    both("{{tenant}} · {{outcome}}"),
                ),
            ),
            quiet=True,
            unit="reqps",
            stacked=True,
        ),
        Panel(
            PanelKind.STAT,
            Text("Keys", "密钥"),
            Text("API keys by their state.", "API 密钥数，按状态。"),
            (PanelQuery("max by (state) (vitrine_keys)", both("{{state}}")),),
            unit="none",
            width=12,
            height=5,
        ),
        Panel(
            PanelKind.STAT,
            Text("Shared limits without an answer, 1 h", "共享限额无应答，1 小时"),
            Text(
                "While the shared limits do not answer, each host's own hold alone.",
                "共享限额不应答时，各主机仅执行自身限额。",
            ),
            (PanelQuery("sum(increase(vitrine_shared_limits_failures_total[1h]))"),),
            unit="none",
            width=12,
            height=5,
            decimals=0,
            steps=never(1),
        ),
    ),
)

TENANTS = Dashboard(
    "tenants",
    Text("Vitrine: tenants", "Vitrine 租户"),
    Text("Who uses what, and whom a limit stops.", "谁用了什么，谁被限额拦住。"),
    (_USE, _LIMITS),
    (TENANT,),
)
