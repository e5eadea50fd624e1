"""The engines of one variant: started by the house's own launcher on Unix sockets, waited for, told of, stopped."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from loadtest.cores import tree
from loadtest.errors import LoadTestError
from loadtest.gpu.http import get
from loadtest.gpu.variants import Campaign, Variant

TOP = Path(__file__).parents[2]
_STOP_S = 20.0
_TAIL = 40


class GpuEngine:
    """A running one. ``started_s`` is how long it took to be ready; ``log`` all that it said."""

    def __init__(self, process: "subprocess.Popen[bytes]", socket: Path, log: Path, started_s: float) -> None:
        self.process, self.socket, self.log, self.started_s = process, socket, log, started_s

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def tail(self) -> list[str]:
        return self.log.read_text(errors="replace").splitlines()[-_TAIL:]


@contextlib.contextmanager
def running(
    campaign: Campaign, variant: Variant, model: Path, home: Path, log: Path, isolation: str, within_s: float
) -> Iterator[list[GpuEngine]]:
    """All that the variant wants, started together. ``log`` is the first one's; the others' have their number in the name.

    Raises LoadTestError with the last lines of its output if one is not ready in time or ends before.
    """
    before = time.monotonic()
    with contextlib.ExitStack() as stack:
        engines = []
        for number in range(variant.engines):
            own = log if number == 0 else log.with_suffix(f".{number}{log.suffix}")
            process, socket = stack.enter_context(_started(campaign, variant, model, home, own, isolation, number))
            engines.append(GpuEngine(process, socket, own, 0.0))
        for number, engine in enumerate(engines):
            _await(engine.process, engine.socket, engine.log, before + min(within_s, campaign.start_s))
            engine.started_s = time.monotonic() - before
            _tell(engine.socket.parent, campaign, number)
        yield engines


@contextlib.contextmanager
def _started(
    campaign: Campaign, variant: Variant, model: Path, home: Path, log: Path, isolation: str, number: int
) -> Iterator[tuple["subprocess.Popen[bytes]", Path]]:
    folder = home / "run" / f"engine-{number}"
    folder.mkdir(parents=True, exist_ok=True)
    for left_over in folder.iterdir():
        left_over.unlink()
    socket = folder / "engine.sock"
    words = [
        sys.executable,
        "-m",
        "serve.launcher",
        isolation,
        str(os.getpid()),
        str(model),
        "--uds",
        str(socket),
        "--served-model-name",
        campaign.served_name,
        "--no-enable-log-requests",
        "--disable-uvicorn-access-log",
        *campaign.arguments(variant),
    ]
    with log.open("wb") as file:
        file.write(f"{' '.join(words)}\n".encode())
        file.flush()
        process = subprocess.Popen(
            words,
            env=_environment(campaign, variant, home, number),
            cwd=TOP,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process, socket
    finally:
        (folder / "state.json").unlink(missing_ok=True)
        _stop(process)


def _environment(campaign: Campaign, variant: Variant, home: Path, number: int) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("VITRINE_")}
    if variant.engines > 1:
        named = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        cards = named.split(",") if named else [str(card) for card in range(variant.engines)]
        if len(cards) < variant.engines:
            raise LoadTestError(f"{variant.engines} engines want a GPU each; CUDA_VISIBLE_DEVICES names {len(cards)}")
        kept["CUDA_VISIBLE_DEVICES"] = cards[number]
    # One for all variants: what was compiled for one is there for the next. Not for all engines: they would write it at once.
    cache = home.parent / ("cache" if number == 0 else f"cache-{number}")
    return {
        **kept,
        "PYTHONUNBUFFERED": "1",
        "VLLM_CACHE_ROOT": str(cache / "vllm"),
        "TRITON_CACHE_DIR": str(cache / "triton"),
        "TORCHINDUCTOR_CACHE_DIR": str(cache / "inductor"),
        "VLLM_HOST_IP": "127.0.0.1",
        "GLOO_SOCKET_IFNAME": "lo",
        "NCCL_SOCKET_IFNAME": "lo",
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_PLUGINS": "",
        **campaign.environment,
        **variant.environment,
    }


def _await(process: "subprocess.Popen[bytes]", socket: Path, log: Path, end: float) -> None:
    while True:
        if process.poll() is not None:
            raise LoadTestError(f"the engine ended with {process.returncode}: {_why(log)}")
        with contextlib.suppress(OSError):
            if get(socket, "/health")[0] == 200:
                return
        if time.monotonic() > end:
            raise LoadTestError(f"the engine was not ready in time: {_why(log)}")
        time.sleep(0.5)  # between two looks


def _why(log: Path) -> str:
    """The last error that it named, and what follows on it."""
    lines = log.read_text(errors="replace").splitlines()
    faults = [number for number, line in enumerate(lines) if re.search(r"\b\w*Error: ", line) and "ulimit" not in line]
    start = faults[-1] if faults else len(lines) - 3
    return " | ".join(line.strip() for line in lines[max(0, start) : start + 3])[:500]


def _tell(folder: Path, campaign: Campaign, number: int) -> None:
    """The state file, as a supervisor writes it: the gateway looks for nothing else."""
    state = {
        "schema": 1,
        "number": number,
        "phase": "ready",
        "message": "",
        "profile": "loadtest",
        "served_names": [campaign.served_name],
        "supervisor_pid": 0,
        "manifest_root": "",
        "flags_digest": "",
        "ready_since_s": time.time(),
        "started_at_s": time.time(),
        "max_model_len": campaign.max_model_len,
    }
    (folder / "state.tmp").write_text(json.dumps(state))
    (folder / "state.tmp").replace(folder / "state.json")


def _stop(process: "subprocess.Popen[bytes]") -> None:
    members = tree(process.pid)
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # its group: it leads a session of its own
    process.wait(_STOP_S)
    # The card's memory is free only when the last of them is gone.
    end = time.monotonic() + _STOP_S
    while any(Path(f"/proc/{pid}/fd").exists() and pid != process.pid for pid in members) and time.monotonic() < end:
        time.sleep(0.1)  # between two looks
