"""What is seen from outside while a load runs: the engine's metrics, the card, each process's CPU, stacks, GPU kernels."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from loadtest.cores import tree
from loadtest.gpu import trace
from loadtest.gpu.http import get

_HISTOGRAMS = {
    "server's first token": "vllm:time_to_first_token_seconds",
    "queue": "vllm:request_queue_time_seconds",
    "prefill": "vllm:request_prefill_time_seconds",
    "decode": "vllm:request_decode_time_seconds",
    "between tokens": "vllm:inter_token_latency_seconds",
    "whole request": "vllm:e2e_request_latency_seconds",
}
_COUNTERS = {
    "prompt tokens": "vllm:prompt_tokens_total",
    "answer tokens": "vllm:generation_tokens_total",
    "preemptions": "vllm:num_preemptions_total",
    "prefix queries": "vllm:prefix_cache_queries_total",
    "prefix hits": "vllm:prefix_cache_hits_total",
    "picture cache queries": "vllm:mm_cache_queries_total",
    "picture cache hits": "vllm:mm_cache_hits_total",
    "drafted": "vllm:spec_decode_num_draft_tokens_total",
    "accepted": "vllm:spec_decode_num_accepted_tokens_total",
    "steps": "vllm:iteration_tokens_total_count",
}
_SMI = ("utilization.gpu", "utilization.memory", "memory.used", "power.draw", "clocks.sm")


def metrics(sockets: list[Path]) -> dict[str, float]:
    """Every series of the engines' metrics, labels and engines summed; without those that do not answer."""
    found: dict[str, float] = defaultdict(float)
    for socket in sockets:
        with contextlib.suppress(OSError):
            for line in get(socket, "/metrics")[1].splitlines():
                if line.startswith("vllm:"):
                    name, _, value = line.rpartition(" ")
                    found[name.partition("{")[0]] += float(value)
    return dict(found)


def delta(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    """Mean milliseconds of each histogram, and what each counter grew by, between two readings."""

    def grew(name: str) -> float:
        return after.get(name, 0.0) - before.get(name, 0.0)

    found = {}
    for label, name in _HISTOGRAMS.items():
        count = grew(f"{name}_count")
        if count:
            found[f"{label}, ms"] = grew(f"{name}_sum") / count * 1000
    for label, name in _COUNTERS.items():
        if grew(name):
            found[label] = grew(name)
    if steps := grew("vllm:iteration_tokens_total_count"):
        found["tokens a step"] = grew("vllm:iteration_tokens_total_sum") / steps
    return found


class Card:
    """Samples nvidia-smi twice a second, if there is one: the cards that CUDA_VISIBLE_DEVICES names, or all."""

    def __init__(self, log: Path) -> None:
        self._log, self._process = log, None
        if shutil.which("nvidia-smi"):
            words = ["nvidia-smi", f"--query-gpu={','.join(_SMI)}", "--format=csv,noheader,nounits", "-lms", "500"]
            if cards := os.environ.get("CUDA_VISIBLE_DEVICES"):
                words += ["-i", cards]
            self._process = subprocess.Popen(words, stdout=log.open("wb"), stderr=subprocess.DEVNULL)

    def seen(self, offset: int = 0) -> dict[str, float]:
        """Means since a byte of its log."""
        columns: dict[str, list[float]] = {name: [] for name in _SMI}
        if self._log.exists():
            for line in self._log.read_bytes()[offset:].decode(errors="replace").splitlines():
                with contextlib.suppress(ValueError):
                    for name, value in zip(_SMI, [float(field) for field in line.split(",")], strict=True):
                        columns[name].append(value)
        return {name: sum(values) / len(values) for name, values in columns.items() if values}

    @property
    def offset(self) -> int:
        return self._log.stat().st_size if self._log.exists() else 0

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)


def cpu(pids: dict[str, int]) -> dict[str, float]:
    """CPU seconds so far of every process below some, by what each calls itself."""
    tick_s = 1 / os.sysconf("SC_CLK_TCK")
    found: dict[str, float] = defaultdict(float)
    for label, pid in pids.items():
        for one in tree(pid):
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
                found[f"{label}: {_title(one)}"] += (int(fields[11]) + int(fields[12])) * tick_s
    return dict(found)


def _title(pid: int) -> str:
    words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    named = re.match(r"VLLM::\S+", words)
    return named[0] if named else re.sub(r"\S*/", "", words)[:40]


class Watched:
    """What is seen during one load: ``begin`` once it is under way (more calls do nothing), ``end`` when it is over.

    ``stacks`` is where py-spy's samples go, ``traces`` where vLLM's profiler writes; None for not.
    """

    def __init__(self, sockets: list[Path], pids: dict[str, int], card: Card, for_s: float) -> None:
        self._sockets, self._pids, self._card, self._for_s = sockets, pids, card, for_s
        self.stacks: Path | None = None
        self.traces: Path | None = None
        self._began_s = 0.0
        self._spy: subprocess.Popen[bytes] | None = None

    def begin(self) -> None:
        if self._began_s:
            return
        self._before, self._cpu, self._offset = metrics(self._sockets), cpu(self._pids), self._card.offset
        self._began_s, self._began_at_s = time.monotonic(), time.time()
        if self.stacks is not None:
            self._spy = _spy(next(iter(self._pids.values())), min(8.0, self._for_s / 2), self.stacks)
        if self.traces is not None:
            self._profile("start", 60)

    def end(self) -> dict[str, Any]:
        """Empty if the load never began."""
        if not self._began_s:
            return {}
        took_s = time.monotonic() - self._began_s
        used = {name: (spent - self._cpu.get(name, 0.0)) / took_s for name, spent in cpu(self._pids).items()}
        seen: dict[str, Any] = {
            "engine": delta(self._before, metrics(self._sockets)),
            "card": self._card.seen(self._offset),
            "cpu_cores": {name: round(cores, 2) for name, cores in used.items() if cores > 0.02},
        }
        if self.traces is not None:
            self._profile("stop", 120)
            seen["kernels"] = trace.summary(self.traces, self._began_at_s)
        if self._spy is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._spy.wait(20)
            self._spy.kill()
            self._spy.wait(10)
        if self.stacks is not None:
            seen["stacks"] = top_stacks(self.stacks)
        return seen

    def _profile(self, verb: str, timeout_s: float) -> None:
        for socket in self._sockets:
            with contextlib.suppress(OSError):
                get(socket, f"/{verb}_profile", method="POST", timeout_s=timeout_s)


def _spy(pid: int, seconds: float, out: Path) -> "subprocess.Popen[bytes] | None":
    """py-spy's samples of a process and its children, threads apart, collapsed; None if there is no py-spy."""
    places = [
        Path(sys.executable).parent,
        *(Path(path) / "bin" for path in os.environ.get("PYTHONPATH", "").split(os.pathsep)),
    ]
    program = shutil.which("py-spy") or next(
        (str(path / "py-spy") for path in places if (path / "py-spy").exists()), None
    )
    if program is None:
        return None
    words = [
        program,
        "record",
        "-p",
        str(pid),
        "--subprocesses",
        "-t",
        "-r",
        "200",
        "-d",
        str(max(1, int(seconds))),
        "-f",
        "raw",
        "-o",
        str(out),
        "--nonblocking",
    ]
    with out.with_suffix(".err").open("wb") as errors:
        return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors)


def top_stacks(path: Path, most: int = 12) -> list[tuple[str, float]]:
    """The functions on top of the stacks, with their share of all samples of their thread's kind."""
    if not path.exists():
        return []
    counts: dict[str, int] = defaultdict(int)
    for line in path.read_text(errors="replace").splitlines():
        frames, _, count = line.rpartition(" ")
        if frames and count.isdigit():
            counts[re.sub(r"\S*/", "", frames.split(";")[-1])] += int(count)
    whole = sum(counts.values()) or 1
    return [(name, count / whole) for name, count in sorted(counts.items(), key=lambda item: -item[1])[:most]]
