"""The life of one engine, told in order: start, load, serve, end, again or not; never speaks to a user's request.

An engine is ready when ``/health`` answers and one real token about a picture came. One that dies after it served is
started again, ever later; one that keeps dying, or never served, is given up.
"""

import asyncio
import contextlib
import fcntl
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from serve import model_manifest, probe
from serve.engine import KILL_GRACE_S, EngineProcess
from serve.errors import NeverServed, ServeError
from serve.isolation import adopt_orphans, prove
from serve.profile import Profile
from serve.settings import EngineSettings
from serve.state import Phase, State, StateFile
from serve.vital_signs import VitalSigns

DEATH_NOTICE_S = 1.0
_LEAST_LOOK_S = 0.01
_LOCK_TRIES = 10


@dataclass(frozen=True)
class Pace:
    """How often and how long a supervisor looks: at a loading engine every ``probe_s``, at a serving one every ``health_s``
    for ``health_deadline_s``; it kills one that lives ``kill_grace_s`` after its time to drain, and waits as long for a killed
    one's output. ``progress_s``: between two lines about loading."""

    probe_s: float = 0.5
    health_s: float = 5.0
    health_deadline_s: float = probe.HEALTH_DEADLINE_S
    kill_grace_s: float = KILL_GRACE_S
    progress_s: float = 10.0


class Backoff:
    """How long to wait before the next start: 1 s doubling to 60 s; from the start again after ``settled_s`` of service.

    ``next`` returns None after ``allowed`` short lives in a row: a restart loop would only hide the fault.
    """

    def __init__(
        self, *, first_s: float = 1.0, most_s: float = 60.0, settled_s: float = 300.0, allowed: int = 6
    ) -> None:
        self._first_s, self._most_s, self._settled_s, self._allowed = first_s, most_s, settled_s, allowed
        self._short_lives = 0

    def next(self, served_s: float) -> float | None:
        """Seconds to wait after a life that served for ``served_s``."""
        self._short_lives = 1 if served_s >= self._settled_s else self._short_lives + 1
        if self._short_lives > self._allowed:
            return None
        return min(self._most_s, self._first_s * 2.0 ** (self._short_lives - 1))


class Supervisor:
    """Starts and guards one engine until it is asked to stop or the engine can't be kept alive."""

    def __init__(
        self,
        profile: Profile,
        settings: EngineSettings,
        echo: Callable[[str], None],
        backoff: Backoff | None = None,
        pace: Pace | None = None,
    ) -> None:
        self._profile, self._settings, self._echo = profile, settings, echo
        self._backoff, self._pace = backoff or Backoff(), pace or Pace()
        self._stop, self._at_once = asyncio.Event(), asyncio.Event()
        self._stop_signal = "SIGTERM"
        self._served = False
        self._why = ""
        state = State(
            settings.number,
            profile.name,
            profile.model,
            list(profile.served_names),
            profile.digest(),
            os.getpid(),
            demo=profile.demo,
            max_num_seqs=profile.max_num_seqs,
        )
        self._state = StateFile(settings.folder / "state.json", state)

    async def run(self) -> None:
        """Live until asked to stop (SIGTERM, SIGINT). Raises NeverServed or ServeError when the engine can't be kept."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._ask_to_stop, number)
        _private_folder(self._settings.folder)
        _private_folder(self._settings.home / "cache")
        adopt_orphans()
        with _only_one(self._settings.folder / "lock", self._settings.number):
            try:
                await self._lives()
            except ServeError as error:
                self._state.write(
                    phase=Phase.FAILED, pid=0, message=str(error), ready_since_s=None, silent_since_s=None
                )
                raise
            self._state.write(phase=Phase.STOPPED, pid=0, message="", ready_since_s=None, silent_since_s=None)
        if not self._served:
            raise NeverServed(
                f"stopped by {self._stop_signal} before the engine was ready; start it again when you like"
            )

    def _ask_to_stop(self, number: signal.Signals) -> None:
        if self._stop.is_set():
            self._at_once.set()  # a second signal means now
        self._stop_signal = number.name
        self._stop.set()

    async def _lives(self) -> None:
        while not self._stop.is_set():
            served_s = await self._life()
            if self._stop.is_set():
                return
            delay_s = self._backoff.next(served_s)
            if delay_s is None:
                raise ServeError(
                    "the engine keeps dying soon after its start; its last lines above say why, mend that first"
                )
            # The state first: who reads the line finds no "ready" of the engine that ended.
            self._state.write(
                phase=Phase.RESTARTING,
                pid=0,
                message=self._why,
                ready_since_s=None,
                silent_since_s=None,
                restarts=self._state.state.restarts + 1,
            )
            self._echo(f"starting again in {delay_s:.0f} s")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), delay_s)

    async def _life(self) -> float:
        """One engine process from start to end; the seconds for which it served."""
        self._why = ""
        self._settings.socket.unlink(missing_ok=True)  # vLLM does not remove a stale one, and can't bind over it
        self._echo(f"starting vLLM with profile {self._profile.name}")
        started = time.monotonic()
        engine = await EngineProcess.start(self._profile, self._settings, self._echo)
        self._state.write(phase=Phase.LOADING, pid=engine.pid, started_at_s=time.time(), message="loading the model")
        stop = asyncio.create_task(self._stop.wait())
        end = asyncio.create_task(engine.ended())
        try:
            ready = await self._load(engine, stop, end)
            if not ready:
                return 0.0
            since = time.monotonic()
            self._echo(f"ready after {since - started:.0f} s")
            await self._guard(engine, stop, end)
            return time.monotonic() - since
        finally:
            stop.cancel()
            await self._finish(engine)
            end.cancel()
            self._settings.socket.unlink(missing_ok=True)

    async def _load(self, engine: EngineProcess, stop: asyncio.Task[bool], end: asyncio.Task[int]) -> bool:
        """Wait until the engine is ready. False if asked to stop, or if it died and may be tried again."""
        ready = asyncio.create_task(self._become_ready(engine))
        try:
            done, _ = await asyncio.wait(
                {ready, stop, end}, timeout=self._settings.load_timeout_s, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            ready.cancel()
            await asyncio.wait({ready})
        if stop in done:
            return False
        if not ready.cancelled() and ready.exception() is None:
            return True
        fault = await self._load_fault(ready, end)
        if not self._served:
            raise NeverServed(fault)
        self._echo(f"WARNING {fault}")
        return False

    async def _load_fault(self, ready: asyncio.Task[None], end: asyncio.Task[int]) -> str:
        # An engine that dies closes its socket first: what the probe met is then not the reason.
        await asyncio.wait({end}, timeout=0 if ready.cancelled() else DEATH_NOTICE_S)
        if end.done():
            return f"the engine ended with status {end.result()} while loading; its last lines above say why"
        if ready.cancelled():
            return f"the engine was not ready after {self._settings.load_timeout_s:.0f} s; raise VITRINE_ENGINE_LOAD_TIMEOUT_S"
        error = ready.exception()
        if isinstance(error, ServeError):
            return str(error)
        if isinstance(error, OSError):
            return f"{error.filename or 'the engine'}: {error.strerror or error}; mend that and start it again"
        assert error is not None
        raise error

    async def _become_ready(self, engine: EngineProcess) -> None:
        stopped = threading.Event()
        cache = self._settings.home / "cache" / "manifests.json"
        root = asyncio.create_task(
            asyncio.to_thread(model_manifest.root, Path(self._profile.model), cache, stopped.is_set)
        )
        try:
            await self._probe_until_ready(engine, root)
        finally:
            # A thread cannot be cancelled, and the process would not end before it.
            stopped.set()
            await asyncio.wait({root})
            if not root.cancelled():
                root.exception()  # seen: what mattered of it was raised above

    async def _probe_until_ready(self, engine: EngineProcess, root: asyncio.Task[str]) -> None:
        started = progress = time.monotonic()
        while not await probe.healthy(self._settings.socket):
            if time.monotonic() - progress >= self._pace.progress_s:
                progress = time.monotonic()
                self._echo(f"loading the model, {progress - started:.0f} s so far")
            await asyncio.sleep(self._pace.probe_s)
        self._echo("warming up: asking for one token about a picture")
        fault = await probe.fault(self._settings.socket, self._profile.served_names[0])
        if fault:
            raise NeverServed(
                f"the engine is up but does not answer about a picture ({fault}); the model or its flags are wrong"
            )
        proof = prove(engine.pid)
        if proof.isolated:
            self._echo(f"isolated: network namespace {proof.inode} with {', '.join(proof.interfaces)} alone")
        manifest_root, max_model_len = await root, await probe.context_tokens(self._settings.socket)
        # With the word of it, not after: who reads that may ask us to stop in the same moment, and is then served to the end.
        self._served = True
        self._state.write(
            phase=Phase.READY,
            message="",
            ready_since_s=time.time(),
            namespace=proof,
            manifest_root=manifest_root,
            max_model_len=max_model_len,
        )

    async def _guard(self, engine: EngineProcess, stop: asyncio.Task[bool], end: asyncio.Task[int]) -> None:
        """Return when the engine has ended, hangs, or is to stop. Meanwhile say what the kernel says of its network.

        Where ``end`` or ``stop`` comes while it looks, the next round sees it.
        """
        signs = VitalSigns(
            self._settings.socket,
            self._profile.served_names[0],
            self._settings.hang_timeout_s,
            self._pace.health_deadline_s,
        )
        try:
            while not signs.hung:
                wait_s = min(self._pace.health_s, max(_LEAST_LOOK_S, signs.next_look_s))
                done, _ = await asyncio.wait({stop, end}, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
                if end in done:
                    self._echo(f"WARNING the engine ended with status {end.result()}")
                if done:
                    return
                self._look_at_network(engine.pid)
                look = asyncio.create_task(signs.look())
                await asyncio.wait({look, stop, end}, return_when=asyncio.FIRST_COMPLETED)
                look.cancel()
                self._tell_silence(signs)
            self._why = f"it made no token for {signs.silent_s:.0f} s and was killed"
            self._echo(f"WARNING the engine hangs: {self._why} (VITRINE_ENGINE_HANG_TIMEOUT_S)")
            self._state.write(hangs=self._state.state.hangs + 1)
        finally:
            signs.close()

    def _tell_silence(self, signs: VitalSigns) -> None:
        since_s = self._state.state.silent_since_s
        if signs.silent and since_s is None:
            self._echo(
                f"WARNING the engine has made no token for {signs.silent_s:.0f} s, although it was asked for one"
            )
            self._state.write(silent_since_s=time.time() - signs.silent_s)
        elif not signs.silent and since_s is not None:
            self._echo("the engine makes tokens again")
            self._state.write(silent_since_s=None)

    def _look_at_network(self, pid: int) -> None:
        before = self._state.state.namespace
        try:
            proof = prove(pid)
        except OSError:
            return  # it ends in this moment, and that is seen in the next
        if proof == before:
            return
        if before is not None and proof.no_routes > before.no_routes and proof.isolated:
            more = proof.no_routes - before.no_routes
            self._echo(f"WARNING {more} packets of the engine tried to leave its network and found no way out")
        self._state.write(namespace=proof)

    async def _finish(self, engine: EngineProcess) -> None:
        asked = self._stop.is_set()
        if asked and engine.exit_status is None and self._served:
            self._state.write(phase=Phase.STOPPING, message="letting running requests finish")
            self._echo(f"stopping: running requests have {self._settings.drain_timeout_s} s to finish")
            await engine.stop(self._settings.drain_timeout_s, self._pace.kill_grace_s, self._at_once)
        else:
            await engine.kill(self._pace.kill_grace_s)


def _private_folder(folder: Path) -> None:
    """Make ``folder`` and what is missing above it, for this user alone; what was there before, above ``home``'s own
    folders, keeps its mode: an operator may have named a folder of others as the home."""
    try:
        for part in reversed((folder, *folder.parents)):
            part.mkdir(exist_ok=True, mode=0o700)
        for part in (folder, folder.parent):
            if part.name in ("run", "cache") or part is folder:
                part.chmod(0o700)
    except OSError as error:
        raise ServeError(f"{folder} cannot be made ({error.strerror}); set VITRINE_HOME elsewhere") from None


@contextlib.contextmanager
def _only_one(lock: Path, number: int) -> Iterator[None]:
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            _lock(descriptor)
        except BlockingIOError:
            raise ServeError(
                f"engine-{number} is already running here; stop it, or choose another number with --engine"
            ) from None
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    """Take the lock that says that this supervisor lives. Raises BlockingIOError if another one holds it."""
    for left in reversed(range(_LOCK_TRIES)):
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not left:
                raise
            time.sleep(0.01)  # a gateway takes it for a moment, to see whether anybody has it
    return None
