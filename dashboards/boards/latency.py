"""Latency: where the time of an exchange goes, stage by stage, and what its user waits for."""

from dashboards.boards.variables import MODEL, quantile, rate, ratio
from dashboards.model import Dashboard, Panel, PanelKind, PanelQuery, PanelRow, Text, both, rising

_CHAT = 'model=~"$model"'
_SHARES = ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))


def _percentiles(histogram: str, labels: str = _CHAT) -> tuple[PanelQuery, ...]:
    return tuple(PanelQuery(quantile(share, histogram, labels), both(name)) for share, name in _SHARES)


def _mean(histogram: str) -> str:
    return ratio(f"sum({rate(histogram + '_sum')})", f"sum({rate(histogram + '_count')})")


_STAGES = PanelRow(
    Text("Where does the time go?", "时间花在哪里？"),
    (
        Panel(
            PanelKind.TIMESERIES,
            Text("Mean time of an exchange, by stage", "平均耗时，按阶段"),
            Text(
                "All stages together are the whole: each moment of an exchange belongs to one.",
                "各阶段相加即总耗时：问答的每一刻只属于一个阶段。",
            ),
            (
                PanelQuery(
                    f"sum by (stage) ({rate('vitrine_stage_seconds_sum', _CHAT)}) / on () group_left () "
                    f"(sum({rate('vitrine_exchange_seconds_count', _CHAT)}) > 0)",
                    both("{{stage}}"),
                ),
            ),
            unit="s",
            width=12,
            stacked=True,
        ),
        Panel(
            PanelKind.BARS,
            Text("Share of the time", "时间占比"),
            Text("Over the range that is shown.", "所选时间范围内。"),
            (
                PanelQuery(
                    f"sum by (stage) (increase(vitrine_stage_seconds_sum{{{_CHAT}}}[$__range])) / on () group_left () "
                    f"(sum(increase(vitrine_stage_seconds_sum{{{_CHAT}}}[$__range])) > 0)",
                    both("{{stage}}"),
                ),
            ),
            unit="percentunit",
            width=6,
            highest=1,
        ),
        Panel(
            PanelKind.TIMESERIES,
            Text("95th percentile of each stage", "各阶段 95 分位"),
            Text(
                "Of auth, read, door, admit, queue, complete and send: what the gateway adds.",
                "鉴权、读取、检查、准入、排队、记录、发送：网关自身增加的部分。",
            ),
            (
                PanelQuery(
                    quantile(0.95, "vitrine_stage_seconds", _CHAT + ', stage!~"engine|answer"', "stage"),
                    both("{{stage}}"),
                ),
            ),
            unit="s",
            width=6,
        ),
    ),
)

_USER = PanelRow(
    Text("What does the user wait for?", "用户在等什么？"),
    (
        Panel(
            PanelKind.TIMESERIES,
            Text("First token", "首个 token"),
            Text(
                "Of streams: from the request's head to the first token. The objective is 3 s.",
                "流式请求从请求头到首个 token；目标 3 秒。",
            ),
            _percentiles("vitrine_first_token_seconds"),
            unit="s",
            steps=rising(3, 3),
            runbook="First token is late",
        ),
        Panel(
            PanelKind.TIMESERIES,
            Text("Between tokens", "token 间隔"),
            Text(
                "Of streams: the mean time of a token after the first.", "流式请求首个 token 之后的平均每 token 时间。"
            ),
            _percentiles("vitrine_between_tokens_seconds"),
            unit="s",
        ),
        Panel(
            PanelKind.TIMESERIES,
            Text("Whole exchange", "完整问答"),
            Text("From the request's head to the last byte of its answer.", "从请求头到应答的最后一个字节。"),
            _percentiles("vitrine_exchange_seconds"),
            unit="s",
        ),
        Panel(
            PanelKind.HEATMAP,
            Text("First token: how it is spread", "首个 token 的分布"),
            Text("How many streams had their first token in which time.", "不同首个 token 时间的流式请求数。"),
            (
                PanelQuery(
                    f"sum by (le) (increase(vitrine_first_token_seconds_bucket{{{_CHAT}}}[$__rate_interval]))",
                    both("{{le}}"),
                ),
            ),
            unit="s",
            width=12,
        ),
        Panel(
            PanelKind.HEATMAP,
            Text("Whole exchange: how it is spread", "完整问答的分布"),
            Text("How many exchanges took which time.", "不同总耗时的问答数。"),
            (
                PanelQuery(
                    f"sum by (le) (increase(vitrine_exchange_seconds_bucket{{{_CHAT}}}[$__rate_interval]))",
                    both("{{le}}"),
                ),
            ),
            unit="s",
            width=12,
        ),
    ),
)

_CAUSES = PanelRow(
    Text("Why?", "原因"),
    (
        Panel(
            PanelKind.TIMESERIES,
            Text("Wait for a turn", "排队时间"),
            Text("In the gateway's queue, before any engine was asked.", "在网关队列中、询问引擎之前。"),
            _percentiles("vitrine_queue_seconds"),
            unit="s",
            runbook="Queue grows",
        ),
        Panel(
            PanelKind.TIMESERIES,
            Text("First byte", "首字节"),
            Text(
                "From the request's head to the first byte of its answer, streams and others.",
                "从请求头到应答首字节，包括非流式请求。",
            ),
            _percentiles("vitrine_first_byte_seconds"),
            unit="s",
        ),
        Panel(
            PanelKind.TIMESERIES,
            Text("Longest silence of a stream", "流式应答的最长停顿"),
            Text("Between two pieces of one stream.", "同一流式应答相邻两段之间。"),
            _percentiles("vitrine_longest_silence_seconds"),
            unit="s",
        ),
        Panel(
            PanelKind.TIMESERIES,
            Text("Inside vLLM, mean", "vLLM 内部，平均"),
            Text(
                "As the engines say. Decoding of pictures comes before. Means, since vLLM's smallest bucket is 0.3 s. "
                "The first request after a start warms up.",
                "引擎自身的统计；图片解码在这些阶段之前。取平均值，因为 vLLM 的最小分桶为 0.3 秒。启动后的第一个请求用于预热。",
            ),
            (
                PanelQuery(_mean("vllm:request_queue_time_seconds"), Text("its queue", "引擎排队")),
                PanelQuery(_mean("vllm:request_prefill_time_seconds"), both("prefill")),
                PanelQuery(_mean("vllm:request_decode_time_seconds"), both("decode")),
            ),
            unit="s",
        ),
        Panel(
            PanelKind.TIMESERIES,
            Text("Ledger, 95th percentile", "账本，95 分位"),
            Text("From asking the audit log to its durable answer, by call.", "从请求账本到落盘确认的时间，按调用。"),
            (PanelQuery(quantile(0.95, "vitrine_ledger_call_seconds", by="call"), both("{{call}}")),),
            unit="s",
            runbook="Ledger does not commit",
        ),
        Panel(
            PanelKind.TIMESERIES,
            Text("Event loop's lag", "事件循环延迟"),
            Text(
                "How late the busiest worker is. Much over 50 ms means: more workers, or a machine with more room.",
                "最忙的工作进程的延迟；持续超过 50 毫秒应增加工作进程或更换机器。",
            ),
            (PanelQuery("max by (instance) (vitrine_loop_lag_seconds)", both("{{instance}}")),),
            unit="s",
            steps=rising(0.05, 0.25),
        ),
    ),
)

LATENCY = Dashboard(
    "latency",
    Text("Vitrine: latency", "Vitrine 延迟"),
    Text("Where the time of an exchange goes, and what its user waits for.", "一次问答的时间花在哪里，用户在等什么。"),
    (_STAGES, _USER, _CAUSES),
    (MODEL,),
)
