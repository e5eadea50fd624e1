"""The comparison as text: one table for each variant, one line against the base, and where a single first token's time goes."""

from typing import Any

from loadtest.terminal_report import number

Results = dict[str, dict[str, Any]]

_COLUMNS = (
    "load",
    "ok",
    "failed",
    "req/s",
    "steady",
    "tok/s out",
    "first p50",
    "first p99",
    "gap p50",
    "gap p99",
    "tok in",
    "tok out",
    "GPU %",
    "W",
    "busiest process (cores)",
)


def variant(name: str, predicts: str, loads: dict[str, Any]) -> str:
    """One variant's table, in Markdown."""
    lines = [f"## {name}", "", f"predicted: {predicts}", ""]
    if "failed" in loads.get("start", {}):
        return "\n".join([*lines, f"not measured: {loads['start']['failed']}"])
    if "start" in loads:
        lines += [f"ready after {loads['start'].get('seconds', '–')} s", ""]
    lines += [f"| {' | '.join(_COLUMNS)} |", f"|{' --- |' * len(_COLUMNS)}"]
    for label, found in loads.items():
        if label == "start":
            continue
        if "failed" in found:
            lines.append(f"| {label} | {found['failed']} |" + " |" * (len(_COLUMNS) - 2))
            continue
        card, cores = found["seen"]["card"], found["seen"]["cpu_cores"]
        busiest = max(cores.items(), key=lambda item: item[1], default=("–", 0.0))
        cells = [
            label,
            number(found["completed"]),
            number(sum(found["errors"].values())),
            *(number(found[key]) for key in ("requests_per_s", "steady_requests_per_s", "tokens_out_per_s")),
            *(
                _either(found[key], share)
                for key in ("first_token_ms", "between_tokens_ms")
                for share in ("p50", "p99")
            ),
            number(found["prompt_tokens"]["mean"]),
            number(found["answer_tokens"]["mean"]),
            number(card.get("utilization.gpu")),
            number(card.get("power.draw")),
            f"{busiest[0]} ({busiest[1]:.2f})",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    for label, found in loads.items():
        if step := found.get("step"):
            lines.append(f"\n{label}: {'held' if step['held'] else step['why']}")
        if found.get("errors_said"):
            lines.append(f"\n{label}: {found['errors']} {found['errors_said']}")
    return "\n".join([*lines, "", *stages(loads), *_profiles(loads)])


def stages(loads: dict[str, Any]) -> list[str]:
    """Where one request's first token's time goes, alone, as far as the metrics of both sides say; means, in ms."""
    single = {
        label: found
        for label, found in loads.items()
        if found.get("at_once") == 1 and "seen" in found and found["first_token_ms"]["mean"] is not None
    }
    lines = []
    for label, found in single.items():
        engine = found["seen"]["engine"]
        first = found["first_token_ms"]["mean"]
        server, queue, prefill = (engine.get(f"{name}, ms") for name in ("server's first token", "queue", "prefill"))
        if server is None or queue is None or prefill is None:
            continue
        rows = {
            "at the client, from when it was to be sent": first,
            "of it, outside of the engine's own clock (connection, body, gateway if any, first event)": first - server,
            "of it, in the API server before the scheduler (decode, resize, hash, copy to the engine)": server
            - queue
            - prefill,
            "of it, waiting for a step": queue,
            "of it, the step itself (encoder, prefill, sampling)": prefill,
        }
        lines += [f"where {label}'s first token comes from, ms (means):", "", "| stage | ms |", "| --- | --- |"]
        lines += [*(f"| {stage} | {ms:.2f} |" for stage, ms in rows.items()), ""]
    return lines


def comparison(results: Results) -> str:
    """Every variant's main figure of every load, beside the first variant's."""
    if not any("seen" in found for loads in results.values() for found in loads.values()):
        return "nothing was measured"
    labels = sorted({label for loads in results.values() for label in loads if label != "start"})
    lines = [f"| variant | {' | '.join(labels)} |", f"|{' --- |' * (len(labels) + 1)}"]
    for name, loads in results.items():
        lines.append(f"| {name} | {' | '.join(_main(loads.get(label)) for label in labels)} |")
    return "\n".join(
        [
            *lines,
            "",
            "requests/s (steady where it could be told), tokens/s out; at one at a time: first token p50 and per token, ms",
        ]
    )


def _main(found: dict[str, Any] | None) -> str:
    if found is None:
        return ""
    if "failed" in found:
        return "failed"
    if found["at_once"] == 1:
        return f"{_either(found['first_token_ms'], 'p50')}, {_either(found['per_token_ms'], 'p50')}"
    rate = found["steady_requests_per_s"] or found["requests_per_s"]
    return f"{number(rate)}/s, {number(found['tokens_out_per_s'])}"


def _either(row: dict[str, Any], share: str) -> str:
    """A percentile, or the mean or the most where there are too few samples, marked."""
    if row[share] is not None:
        return number(row[share])
    return f"~{number(row['mean'])}" if share == "p50" else f"≤{number(row['most'])}"


def _profiles(loads: dict[str, Any]) -> list[str]:
    lines = []
    for label, found in loads.items():
        seen = found.get("seen", {})
        if seen.get("stacks"):
            lines += [f"{label}: what Python was doing (share of all samples of all threads):", ""]
            lines += [f"  {share:6.1%} {name}" for name, share in seen["stacks"]] + [""]
        if seen.get("kernels"):
            kernels = seen["kernels"]
            lines += [f"{label}: {kernels['busy_ms']:.1f} ms of GPU work within {kernels['span_ms']:.1f} ms", ""]
            lines += [f"  {one['ms']:9.2f} ms {one['count']:6d} × {one['name']}" for one in kernels["kernels"]] + [""]
            for kind, step in kernels.get("steps", {}).items():
                parts = ", ".join(f"{part} {step[part]:.1f}" for part in ("launched", "span", "busy") if part in step)
                lines += [f"  {step['count']:.0f} steps {kind} ({step.get('tokens', 0):.0f} tokens), ms: {parts}", ""]
            if idle := kernels.get("idle"):
                lines += [f"  {idle['ms']:.1f} ms with nothing to do, in gaps of 20 µs or more", ""]
                lines += [
                    f"  {one['ms']:9.2f} ms {one['count']:6d} × (at most {one['most']:.1f}) before {one['name']}"
                    for one in idle["before"]
                ] + [""]
    return lines
