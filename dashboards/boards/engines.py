"""Engines: are they up, how full are they, what do their caches save, how are the GPUs."""

from dashboards.boards.variables import ENGINE, happened, rate, ratio
from dashboards.model import Dashboard, Panel, PanelKind, PanelQuery, PanelRow, Text, both, rising

_ONE = 'engine=~"$engine"'
_EACH = both("{{engine}}")


def _each(metric: str) -> str:
    return f"sum by (engine) ({rate(metric, _ONE)})"


_UP = PanelRow(
    Text("Are they up?", "正常吗？"),
    (
        Panel(
            PanelKind.STATES,
            Text("May be asked", "可用"),
            Text("Whether the gateway sends the engine requests.", "网关是否向该引擎发送请求。"),
            (PanelQuery(f"min by (engine) (vitrine_engine_ready{{{_ONE}}})", _EACH),),
            states=(("0", Text("no", "否"), "red"), ("1", Text("yes", "是"), "green")),
            runbook="Engine is down",
        ),
        Panel(
            PanelKind.TIMESERIES,
            Text("Failures", "失败"),
            Text("Exchanges that an engine failed, and what went wrong.", "引擎未能完成的问答，按原因。"),
            (
                PanelQuery(
                    happened("vitrine_engine_failures_total", "engine, what", _ONE), both("{{engine}} · {{what}}")
                ),
            ),
            quiet=True,
            unit="reqps",
            stacked=True,
            runbook="Engine is down",
        ),
        Panel(
            PanelKind.TIMESERIES,
            Text("Why an engine was chosen", "选择引擎的原因"),
            Text(
                "home: the picture's own, whose caches are warm. spilled: another, since that one had more than its share.",
                "home：图片所属的引擎，缓存已热；spilled：该引擎超出份额，改用其他引擎。",
            ),
            (PanelQuery(happened("vitrine_engine_choices_total", "why", _ONE), both("{{why}}")),),
            unit="reqps",
            stacked=True,
        ),
    ),
)

_FULL = PanelRow(
    Text("How full are they?", "有多满？"),
    (
        Panel(
            PanelKind.TIMESERIES,
            Text("Exchanges at work", "处理中的问答"),
            Text("What the gateway has given each engine.", "网关交给各引擎的问答数。"),
            (PanelQuery(f"sum by (engine) (vitrine_busy_exchanges{{{_ONE}}})", _EACH),),
            unit="none",
            stacked=True,
        ),
        Panel(
            PanelKind.TIMESERIES,
            Text("Reserved tokens, of the bound", "预留 token 占上限的比例"),
            Text("At 100 % requests wait in the gateway's queue.", "达到 100% 后，请求在网关排队。"),
            (
                PanelQuery(
                    f"max by (engine) (vitrine_busy_tokens{{{_ONE}}} / on (job, instance) group_left () vitrine_busy_tokens_bound)",
                    _EACH,
                ),
            ),
            unit="percentunit",
            steps=rising(0.8, 1),
            runbook="Queue grows",
        ),
        Panel(
            PanelKind.TIMESERIES,
            Text("Waiting in the gateway", "网关排队"),
            Text("Requests that wait for their turn, by engine.", "等待引擎的请求数。"),
            (PanelQuery(f"sum by (engine) (vitrine_queue_waiting{{{_ONE}}})", _EACH),),
            unit="none",
            stacked=True,
            runbook="Queue grows",
        ),
        Panel(
            PanelKind.TIMESERIES,
            Text("KV cache in use", "KV 缓存使用率"),
            Text(
                "Of vLLM. Near 100 % it preempts: it throws work away and does it again.",
                "vLLM 的 KV 缓存；接近 100% 时会抢占：丢弃并重算已完成的工作。",
            ),
            (PanelQuery(f"max by (engine) (vllm:kv_cache_usage_perc{{{_ONE}}})", _EACH),),
            unit="percentunit",
            highest=1,
            steps=rising(0.85, 0.95),
            runbook="KV cache is full",
        ),
        Panel(
            PanelKind.TIMESERIES,
            Text("Batch", "批"),
            Text("Requests that vLLM runs together, and that wait inside it.", "vLLM 同时运行的请求数与其内部等待数。"),
            (
                PanelQuery(
                    f"sum by (engine) (vllm:num_requests_running{{{_ONE}}})", Text("{{engine}} runs", "{{engine}} 运行")
                ),
                PanelQuery(
                    f"sum by (engine) (vllm:num_requests_waiting{{{_ONE}}})",
                    Text("{{engine}} waits", "{{engine}} 等待"),
                ),
            ),
            unit="none",
            runbook="KV cache is full",
        ),
        Panel(
            PanelKind.TIMESERIES,
            Text("Image backlog", "图片积压"),
            Text(
                "Exchanges that the gateway gave an engine and that vLLM neither runs nor lets wait: their pictures are being "
                "decoded and processed. vLLM has no metric for this; short peaks are two scrapes at different moments.",
                "已交给引擎、但 vLLM 既未运行也未排队的问答：其图片正在解码与预处理。"
                "vLLM 没有此指标；短暂尖峰来自两次抓取的时间差。",
            ),
            (
                PanelQuery(
                    f"clamp_min(sum by (engine) (vitrine_busy_exchanges{{{_ONE}}}) - on (engine) "
                    f"sum by (engine) (vllm:num_requests_running{{{_ONE}}} + vllm:num_requests_waiting{{{_ONE}}}), 0)",
                    _EACH,
                ),
            ),
            unit="none",
        ),
        Panel(
            PanelKind.TIMESERIES,
            Text("Preemptions", "抢占"),
            Text("Requests that vLLM threw out of the KV cache, each second.", "每秒被 vLLM 移出 KV 缓存的请求数。"),
            (PanelQuery(_each("vllm:num_preemptions_total"), _EACH),),
            unit="cps",
            runbook="KV cache is full",
        ),
        Panel(
            PanelKind.TIMESERIES,
            Text("Tokens each second", "每秒 token 数"),
            Text("As vLLM counts them.", "vLLM 的计数。"),
            (
                PanelQuery(_each("vllm:prompt_tokens_total"), Text("{{engine}} in", "{{engine}} 输入")),
                PanelQuery(_each("vllm:generation_tokens_total"), Text("{{engine}} out", "{{engine}} 输出")),
            ),
            unit="suffix: tok/s",
        ),
        Panel(
            PanelKind.TIMESERIES,
            Text("Tokens in one step", "每步 token 数"),
            Text(
                "Mean size of a step of vLLM: prompt and answer tokens together.",
                "vLLM 每一步的平均 token 数，含输入与输出。",
            ),
            (
                PanelQuery(
                    ratio(_each("vllm:iteration_tokens_total_sum"), _each("vllm:iteration_tokens_total_count")), _EACH
                ),
            ),
            unit="short",
        ),
    ),
)

_CACHES = PanelRow(
    Text("What do the caches save?", "缓存省下了什么？"),
    (
        Panel(
            PanelKind.TIMESERIES,
            Text("Prefix cache hits", "前缀缓存命中率"),
            Text(
                "Share of the prompt's tokens that were in the KV cache already.",
                "提示词中已在 KV 缓存里的 token 占比。",
            ),
            (
                PanelQuery(
                    ratio(_each("vllm:prefix_cache_hits_total"), _each("vllm:prefix_cache_queries_total")), _EACH
                ),
            ),
            unit="percentunit",
            highest=1,
        ),
        Panel(
            PanelKind.TIMESERIES,
            Text("Picture cache hits", "图片缓存命中率"),
            Text("Share of pictures that vLLM had processed already.", "vLLM 已处理过的图片占比。"),
            (PanelQuery(ratio(_each("vllm:mm_cache_hits_total"), _each("vllm:mm_cache_queries_total")), _EACH),),
            unit="percentunit",
            highest=1,
        ),
        Panel(
            PanelKind.TIMESERIES,
            Text("Affinity", "图片亲和性"),
            Text(
                "Of pictures with an engine of their own: the share that went there. Nothing with a single engine.",
                "有所属引擎的图片请求中，送达该引擎的占比；只有一个引擎时无数据。",
            ),
            (
                PanelQuery(
                    "sum("
                    + rate("vitrine_engine_choices_total", 'why="home"')
                    + ") / (sum("
                    + rate("vitrine_engine_choices_total", 'why=~"home|spilled"')
                    + ") > 0)",
                    Text("home", "所属引擎"),
                ),
            ),
            unit="percentunit",
            highest=1,
        ),
    ),
)

_GPUS = PanelRow(
    Text("GPUs, where dcgm-exporter runs", "GPU（需运行 dcgm-exporter）"),
    (
        Panel(
            PanelKind.TIMESERIES,
            Text("At work", "利用率"),
            Text(
                "NVIDIA's dcgm-exporter; see the commented job in deploy/prometheus/prometheus.yml.",
                "来自 NVIDIA dcgm-exporter，见 deploy/prometheus/prometheus.yml 中注释掉的任务。",
            ),
            (PanelQuery("max by (gpu, Hostname) (DCGM_FI_DEV_GPU_UTIL) / 100", both("{{Hostname}} {{gpu}}")),),
            unit="percentunit",
            width=6,
            height=5,
            highest=1,
        ),
        Panel(
            PanelKind.TIMESERIES,
            Text("Memory in use", "显存使用率"),
            Text("vLLM takes its share at the start and keeps it.", "vLLM 启动时即占用并保持。"),
            (
                PanelQuery(
                    "max by (gpu, Hostname) (DCGM_FI_DEV_FB_USED / (DCGM_FI_DEV_FB_USED + DCGM_FI_DEV_FB_FREE))",
                    both("{{Hostname}} {{gpu}}"),
                ),
            ),
            unit="percentunit",
            width=6,
            height=5,
            highest=1,
        ),
        Panel(
            PanelKind.TIMESERIES,
            Text("Power", "功率"),
            Text("Of each GPU.", "每张 GPU。"),
            (PanelQuery("max by (gpu, Hostname) (DCGM_FI_DEV_POWER_USAGE)", both("{{Hostname}} {{gpu}}")),),
            unit="watt",
            width=6,
            height=5,
        ),
        Panel(
            PanelKind.TIMESERIES,
            Text("Temperature", "温度"),
            Text("Of each GPU.", "每张 GPU。"),
            (PanelQuery("max by (gpu, Hostname) (DCGM_FI_DEV_GPU_TEMP)", both("{{Hostname}} {{gpu}}")),),
            unit="celsius",
            width=6,
            height=5,
            steps=rising(80, 88),
        ),
    ),
)

ENGINES = Dashboard(
    "engines",
    Text("Vitrine: engines", "Vitrine 引擎"),
    Text("Are the engines up, how full are they, what do their caches save.", "引擎是否正常、有多满、缓存省下了什么。"),
    (_UP, _FULL, _CACHES, _GPUS),
    (ENGINE,),
)
