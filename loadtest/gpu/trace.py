"""What vLLM's torch profiler wrote: the card's time by kernel, and of each step how long it was launched and how long it ran."""

import bisect
import contextlib
import gzip
import json
import re
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

_WORK = ("kernel", "gpu_memcpy", "gpu_memset")
# vLLM's annotation of a step: how many prompts are in it, of how many tokens, and how many answers go on.
_STEP = re.compile(r"execute_context_(\d+)\((\d+)\)_generation_(\d+)\(")

Event = dict[str, Any]


def summary(folder: Path, since_s: float = 0.0, within_s: float = 60.0, most: int = 25) -> dict[str, Any]:
    """Of the traces of one card in a folder that were written since then: GPU time by kernel, in ms, the time from the first
    kernel to the last, the steps, and when the card did nothing."""
    end = time.monotonic() + within_s
    while not (paths := _written(folder, since_s)) and time.monotonic() < end:
        time.sleep(0.5)  # the profiler writes when it is told to stop, and takes a while
    sums: dict[str, float] = defaultdict(float)
    counts: dict[str, int] = defaultdict(int)
    work: list[tuple[float, float, str]] = []
    events: list[Event] = []
    for path in paths:
        with contextlib.suppress(OSError, ValueError, EOFError):
            raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
            events += [event for event in json.loads(raw).get("traceEvents", []) if "dur" in event]
    for event in events:
        if event.get("cat") in _WORK:
            name = event["name"][:90]
            sums[name] += event["dur"] / 1000
            counts[name] += 1
            work.append((event["ts"], event["dur"], name))
    work.sort()
    ranked = sorted(sums.items(), key=lambda item: -item[1])[:most]
    return {
        "busy_ms": sum(sums.values()),
        "span_ms": (max(start + length for start, length, _ in work) - work[0][0]) / 1000 if work else 0.0,
        "kernels": [{"name": name, "ms": spent, "count": counts[name]} for name, spent in ranked],
        "steps": _steps(events, work),
        "idle": _idle(work),
    }


def _written(folder: Path, since_s: float) -> list[Path]:
    found = [(path, path.stat()) for path in folder.rglob("*.json*")]
    return [path for path, stat in found if stat.st_size > 0 and stat.st_mtime >= since_s]


def _idle(work: list[tuple[float, float, str]], least_us: float = 20.0) -> dict[str, Any]:
    """How long the card did nothing for ``least_us`` or more, in ms, and before which kernels, those with most of it first."""
    by: dict[str, list[float]] = defaultdict(list)
    end = work[0][0] if work else 0.0
    for start, length, name in work:
        if start - end >= least_us:
            by[name].append((start - end) / 1000)
        end = max(end, start + length)
    ranked = sorted(by.items(), key=lambda item: -sum(item[1]))
    return {
        "ms": sum(sum(gaps) for gaps in by.values()),
        "before": [{"name": name, "ms": sum(gaps), "count": len(gaps), "most": max(gaps)} for name, gaps in ranked[:8]],
    }


def _steps(events: list[Event], work: list[tuple[float, float, str]]) -> dict[str, dict[str, float]]:
    """Means of the steps with prompts and of those with none, in ms: ``launched`` by the processor, ``span`` of it on the card,
    ``busy`` the kernels within that span."""
    starts = [start for start, _, _ in work]
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for event in events:
        named = _STEP.match(event.get("name", ""))
        if named is None:
            continue
        of = found["with prompts" if int(named[1]) else "answers alone"]
        if event.get("cat") == "user_annotation":
            of["launched"].append(event["dur"] / 1000)
            of["tokens"].append(int(named[2]) + int(named[3]))
        elif event.get("cat") == "gpu_user_annotation":
            first, last = (bisect.bisect_left(starts, at) for at in (event["ts"], event["ts"] + event["dur"]))
            of["span"].append(event["dur"] / 1000)
            of["busy"].append(sum(length for _, length, _ in work[first:last]) / 1000)
    return {
        kind: {"count": len(of["launched"]), **{part: sum(values) / len(values) for part, values in of.items()}}
        for kind, of in found.items()
    }
