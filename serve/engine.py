"""One run of one engine process: start it, pass its lines on, stop it; decides nothing about restarting.

The process leads a session of its own, so that a signal to its group reaches every process that vLLM makes and
Ctrl-C in the terminal reaches none of them. Those that leave the group are found as this process's children: it adopts orphans.
"""

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

from serve.profile import Profile
from serve.settings import EngineSettings

# What an engine may inherit. VLLM_* is left out on purpose: only the profile says how vLLM runs.
_INHERITED = ("PATH", "HOME", "USER", "LANG", "TMPDIR", "TZ", "LD_LIBRARY_PATH", "CC", "CXX")
_INHERITED_PREFIXES = ("LC_", "CUDA_", "NVIDIA_", "NCCL_", "OMP_", "OPENBLAS_", "KMP_")

_NO_NETWORK = {
    "VLLM_HOST_IP": "127.0.0.1",
    "GLOO_SOCKET_IFNAME": "lo",
    "NCCL_SOCKET_IFNAME": "lo",
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_PLUGINS": "",
}
_LINE_LIMIT_BYTES = 1 << 20
KILL_GRACE_S = 10.0
_LOOK_S = 0.05
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def printable(line: str) -> str:
    """The line without colours, and with all else that could steer a terminal escaped: a request's words may stand in it."""
    plain = _COLOUR.sub("", line)
    return "".join(letter if letter.isprintable() or letter == "\t" else ascii(letter)[1:-1] for letter in plain)


def environment(profile: Profile, home: Path, ours: Mapping[str, str]) -> dict[str, str]:
    """The engine's whole environment: what it may inherit from ``ours``, no way out, private caches, the profile's own."""
    kept = {name: value for name, value in ours.items() if name in _INHERITED or name.startswith(_INHERITED_PREFIXES)}
    cache = home.absolute() / "cache"
    caches = {
        "VLLM_CACHE_ROOT": str(cache / "vllm"),
        "XDG_CACHE_HOME": str(cache),
        "TRITON_CACHE_DIR": str(cache / "triton"),
        "TORCHINDUCTOR_CACHE_DIR": str(cache / "inductor"),
        "VLLM_CONFIG_ROOT": str(cache / "vllm"),
    }
    return {**kept, **_NO_NETWORK, **caches, "PYTHONUNBUFFERED": "1", **profile.environment}


def command(profile: Profile, settings: EngineSettings) -> list[str]:
    """The engine's command line."""
    return [
        sys.executable,
        "-m",
        "serve.launcher",
        settings.isolation,
        str(os.getpid()),
        profile.model,
        "--uds",
        str(settings.socket),
        "--served-model-name",
        *profile.served_names,
        "--shutdown-timeout",
        str(settings.drain_timeout_s),
        "--no-enable-log-requests",
        "--disable-uvicorn-access-log",
        *profile.arguments(),
    ]


class EngineProcess:
    """A started engine process. ``last_lines`` are its newest lines of output, for the error that explains its end."""

    def __init__(self, process: asyncio.subprocess.Process, echo: Callable[[str], None]) -> None:
        self._process = process
        self._echo = echo
        self.last_lines: deque[str] = deque(maxlen=40)
        self._reader = asyncio.create_task(self._pass_on())

    @classmethod
    async def start(cls, profile: Profile, settings: EngineSettings, echo: Callable[[str], None]) -> "EngineProcess":
        """Start the process. ``echo`` is handed every line of its output."""
        process = await asyncio.create_subprocess_exec(
            *command(profile, settings),
            env=environment(profile, settings.home, os.environ),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            limit=_LINE_LIMIT_BYTES,
        )
        return cls(process, echo)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_status(self) -> int | None:
        return self._process.returncode

    async def ended(self) -> int:
        """Wait for the process to end; its exit status, negative for a signal.

        asyncio's own ``wait`` returns once the output has ended too, which children of a killed engine hold open
        (CPython issue 119710). The status is there at once.
        """
        while (status := self._process.returncode) is None:  # noqa: ASYNC110 - asyncio has no event for this alone
            await asyncio.sleep(_LOOK_S)
        return status

    async def stop(self, drain_s: float, grace_s: float = KILL_GRACE_S, at_once: asyncio.Event | None = None) -> None:
        """SIGTERM to the leader, which lets running requests finish for ``drain_s``; ``grace_s`` after that, or with
        ``at_once``, SIGKILL to all of its processes."""
        if self._process.returncode is None:
            self._process.terminate()
            waits = [asyncio.create_task(self.ended())]
            if at_once is not None:
                waits.append(asyncio.create_task(at_once.wait()))
            done, _ = await asyncio.wait(waits, timeout=drain_s + grace_s, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()
            if not done:
                self._echo(f"WARNING not gone {drain_s + grace_s:.0f} s after SIGTERM, killing it")
        await self.kill(grace_s)

    async def kill(self, grace_s: float = KILL_GRACE_S) -> None:
        """SIGKILL to every process of the group and to those that left it; wait for their output to end, ``grace_s`` at most."""
        with contextlib.suppress(ProcessLookupError):  # all of them are gone
            os.killpg(self._process.pid, signal.SIGKILL)
        await self.ended()
        try:
            async with asyncio.timeout(grace_s):
                while left := psutil.Process().children(recursive=True):
                    await self._end(left)
                await self._reader
        except TimeoutError:
            self._echo("WARNING a process of the engine cannot be killed and holds the engine's output open")

    async def _end(self, orphans: list[psutil.Process]) -> None:
        """Kill processes that were handed to this one when their parents ended, and take leave of them."""
        for orphan in orphans:
            with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
                if orphan.status() != psutil.STATUS_ZOMBIE and os.getpgid(orphan.pid) != self._process.pid:
                    self._echo(f"killing process {orphan.pid}, which left the engine's group")
                orphan.kill()
            with contextlib.suppress(ChildProcessError):
                os.waitpid(orphan.pid, os.WNOHANG)  # noqa: ASYNC222 - it does not wait
        await asyncio.sleep(_LOOK_S)

    async def _pass_on(self) -> None:
        assert self._process.stdout is not None
        while True:
            try:
                raw = await self._process.stdout.readline()
            except ValueError:  # a line over the limit; the reader has dropped it
                continue
            if not raw:
                return
            line = printable(raw.decode(errors="replace").rsplit("\r", 1)[-1].rstrip())
            if line:
                self.last_lines.append(line)
                self._echo(line)
