"""All engines that there are and the choice of one for a request; starts and stops none.

Engines of this host are announced by their supervisors (``run/engine-N/state.json``), those of others by a setting or by
the roster, a file that is watched: so they come, drain and go without a restart.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import structlog

from gateway.engines import roster
from gateway.engines.affinity import Policy, choose_and_say
from gateway.engines.endpoint import Endpoint, parse
from gateway.engines.engine import Engine, ProbePlan
from gateway.engines.pool_observer import NoObserver, PoolObserver
from gateway.engines.queue import QueueBounds
from gateway.engines.shared_load import SharedLoad
from gateway.engines.state_file import EngineState, read, supervised
from gateway.front.errors import NotFound, Unavailable
from gateway.front.resolver import Resolver
from gateway.telemetry.catalogue import RoutingReason

WATCH_INTERVAL_S = 0.25


@dataclass(frozen=True)
class PoolPlan:
    """What a pool is made of. ``home`` has the state files and the roster; ``listed`` are engines that a setting names."""

    home: Path
    bounds: QueueBounds
    load: SharedLoad
    policy: Policy = Policy.AFFINITY
    care: ProbePlan = field(default_factory=ProbePlan)
    listed: Mapping[str, roster.RosterEntry] = field(default_factory=dict)
    tls: ssl.SSLContext | None = None


class Pool:
    """All engines that one worker knows. ``watch`` keeps them current. One event loop owns it."""

    def __init__(self, plan: PoolPlan, notes: PoolObserver | None = None) -> None:
        self._plan, self._notes = plan, notes or NoObserver()
        self._run, self._roster_path = plan.home / "run", plan.home / roster.FILE
        self.engines: dict[str, Engine] = {}
        self._versions: dict[Path, int] = {}
        self._roster: dict[str, roster.RosterEntry] = {}
        self._leaving: set[Engine] = set()
        self._probes: dict[Engine, asyncio.Task[bool]] = {}
        self._looks: dict[Engine, asyncio.Task[None]] = {}
        self._turn = 0
        self._resolver = Resolver()
        self._said: dict[
            str, str
        ] = {}  # why each engine gets no requests, as it was last said; nothing if it gets some

    def outbound(self) -> tuple[str, ...]:
        """Where requests may go beyond this host, as far as is known now."""
        self._read_roster()
        remote = roster.remote(self._plan.listed, self._roster)
        return tuple(sorted(url for url in remote.values() if not url.startswith("unix:")))

    async def watch(self) -> None:
        """Follow the files and look after the engines until cancelled; then close all connections."""
        try:
            while True:
                self.refresh()
                self._look_after()
                self._say_changes()
                await self._let_go()
                await asyncio.sleep(WATCH_INTERVAL_S)
        finally:
            for task in [*self._probes.values(), *self._looks.values()]:
                task.cancel()
            for engine in [*self.engines.values(), *self._leaving]:
                engine.close()

    def refresh(self) -> None:
        """Read each file that has changed; take in who is new, send off who is gone."""
        for path in self._run.glob("engine-*/state.json"):
            if self._changed(path):
                state = read(path)
                if state is not None:
                    self._follow(path.parent, state)
            if path.parent.name in self.engines:
                self.engines[path.parent.name].supervised = supervised(path.parent)
        if self._changed(self._roster_path):
            self._read_roster()
        remote = roster.remote(self._plan.listed, self._roster)
        for name, url in remote.items():
            self._take_in(name, parse(url))
        for name, engine in list(self.engines.items()):
            if engine.state is None and name not in remote:
                self._leaving.add(self.engines.pop(name))
            engine.draining = name in self._roster and self._roster[name].draining
            if not engine.ready or name not in self.engines:
                engine.queue.evict()

    def served(self) -> dict[str, Engine]:
        """Each name under which an engine serves, ready or not, with the first such engine."""
        found: dict[str, Engine] = {}
        for _, engine in sorted(self.engines.items()):
            for name in engine.served_names:
                found.setdefault(name, engine)
        return found

    def waiting_for(self) -> list[str]:
        """Why nothing can be asked yet, one line an engine; empty as soon as one engine is ready and makes tokens."""
        if any(engine.ready and not engine.silence for engine in self.engines.values()):
            return []
        if not self.engines:
            return ["no engine has been started"]
        return [f"{name}: {engine.unready or engine.silence}" for name, engine in sorted(self.engines.items())]

    async def ask_all(self, deadline_s: float) -> list[str]:
        """Ask whether any engine that is ready answers within ``deadline_s``; why not, one line an engine, empty if one does.

        One that has just answered somebody is not asked: it may be too busy to answer at once.
        """
        ready = [engine for engine in self.engines.values() if engine.ready and not engine.silence]
        if any(engine.answered_lately for engine in ready):
            return []
        faults = await asyncio.gather(*(engine.fault_now(deadline_s) for engine in ready))
        if "" in faults:
            return []
        return [f"{engine.name}: {fault}" for engine, fault in zip(ready, faults, strict=True)]

    def pick(self, model: str, key: bytes, tokens: int, *, but: Collection[str] = ()) -> Engine:
        """The engine for a request of ``tokens`` that belongs with others of the same ``key``; none of those in ``but``.

        Raises NotFound or Unavailable.
        """
        serving = [engine for engine in self.engines.values() if model in engine.served_names]
        if not serving and self.engines and any(engine.served_names for engine in self.engines.values()):
            known = ", ".join(self.served())
            raise NotFound(f"the model {model!r} is not served here; use one of {known}", code="model_not_found")
        ready = [engine for engine in serving if engine.ready and engine.name not in but]
        if not ready:
            waiting = "; ".join(f"{engine.name}: {engine.unready}" for engine in serving) or "; ".join(
                self.waiting_for()
            )
            raise Unavailable(f"no engine is ready ({waiting}); try again soon", retry_after_s=5)
        trusted = [engine for engine in ready if not engine.suspect] or ready
        if len(trusted) == 1:
            self._notes.chosen(trusted[0].name, RoutingReason.ONLY)
            return trusted[0]
        loads = {engine.name: engine.queue.load_tokens for engine in trusted}
        weights = {engine.name: engine.weight() for engine in trusted}
        self._turn += 1
        name, why = choose_and_say(self._plan.policy, key, loads, weights, tokens, turn=self._turn)
        self._notes.chosen(name, why)
        return self.engines[name]

    @property
    def bounds(self) -> QueueBounds:
        """What may work at one engine, of all workers, and what may wait for it in one."""
        return self._plan.bounds

    def close_queues(self) -> None:
        """Refuse all who wait for an engine and all who come."""
        for engine in [*self.engines.values(), *self._leaving]:
            engine.queue.close()

    def _changed(self, path: Path) -> bool:
        try:
            version = path.stat().st_mtime_ns
        except OSError:
            version = 0
        if self._versions.get(path, 0) == version:
            return False
        self._versions[path] = version
        return True

    def _follow(self, folder: Path, state: EngineState) -> None:
        engine = self.engines.get(folder.name)
        if engine is None:
            self._add(folder.name, Endpoint(path=folder / "engine.sock"), state)
        else:
            engine.follow(state)

    def _take_in(self, name: str, endpoint: Endpoint) -> None:
        known = self.engines.get(name)
        if known is not None and known.endpoint != endpoint:
            self._leaving.add(self.engines.pop(name))
            known.queue.evict()
        if name not in self.engines:
            self._add(name, endpoint, None)

    def _add(self, name: str, endpoint: Endpoint, state: EngineState | None) -> None:
        plan = self._plan
        self.engines[name] = Engine(
            name,
            endpoint,
            bounds=plan.bounds,
            load=plan.load,
            care=plan.care,
            resolver=self._resolver,
            state=state,
            tls=plan.tls,
        )

    def _read_roster(self) -> None:
        try:
            self._roster = roster.read(self._roster_path)
        except roster.BadRoster as error:
            # The engines that are there go on: a slip in the file must not stop the gateway.
            structlog.get_logger().error("the roster of engines was not taken over", why=str(error))

    def _look_after(self) -> None:
        for engine in self.engines.values():
            if engine not in self._probes and engine.probe_is_due():
                task = self._probes[engine] = asyncio.create_task(engine.probe())
                task.add_done_callback(partial(self._probed, engine))
            if engine not in self._looks and engine.certificate_is_due():
                look = self._looks[engine] = asyncio.create_task(engine.look_at_certificate())
                look.add_done_callback(partial(self._looked, engine))

    def _probed(self, engine: Engine, probe: "asyncio.Task[bool]") -> None:
        self._probes.pop(engine, None)
        if not probe.cancelled() and probe.exception() is None:
            self._notes.probed(engine.name, ok=probe.result())

    def _looked(self, engine: Engine, _: "asyncio.Task[None]") -> None:
        self._looks.pop(engine, None)

    def _say_changes(self) -> None:
        """A line for each engine that gets no requests any more, or gets them again."""
        log = structlog.get_logger()
        for name, engine in self.engines.items():
            why = engine.unready or engine.silence
            before = self._said.get(name)
            self._said[name] = why
            if why and not before:
                log.warning("the engine gets no requests", engine=name, why=why)
            elif before and not why:
                log.info("the engine gets requests again", engine=name, before=before)
        for name in self._said.keys() - self.engines.keys():
            del self._said[name]

    async def _let_go(self) -> None:
        for engine in [engine for engine in self._leaving if not engine.queue.exchanges]:
            self._leaving.discard(engine)
            probe = self._probes.get(engine)
            if probe is not None:
                probe.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await probe
            engine.close()
