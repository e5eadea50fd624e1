"""One engine: what is known of it, its queue, its connections; never retries, never reads what these carry."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from gateway.engines import certificate_expiry, probe
from gateway.engines.connections import ConnectFailed, ConnectionBroken, EngineConnection, EngineConnections
from gateway.engines.endpoint import Endpoint
from gateway.engines.health import Health
from gateway.engines.queue import Queue, QueueBounds
from gateway.engines.shared_load import SharedLoad
from gateway.engines.state_file import EngineState
from gateway.front.errors import BadRequest, EngineBroke, TimedOut, Unreachable
from gateway.front.resolver import Resolver
from gateway.telemetry.catalogue import HealthState

_LATELY_S = 2.0
_LOOK_EVERY_S, _LOOK_AGAIN_S, _LOOK_TIMEOUT_S = 600.0, 10.0, 5.0


@dataclass(frozen=True)
class ProbePlan:
    """How engines are looked after: one that answered nobody for ``probe_every_s`` is asked for a token, which may take
    ``probe_timeout_s``; one that comes back gets its full share after ``slow_start_s``."""

    probe_every_s: float = 10.0
    probe_timeout_s: float = 30.0
    slow_start_s: float = 30.0


class Engine:
    """One engine: what is known of it, its queue and its connections. Use on one event loop only.

    ``state`` is what the supervisor of an engine of this host says, None for one of another host.
    """

    def __init__(
        self,
        name: str,
        endpoint: Endpoint,
        *,
        bounds: QueueBounds,
        load: SharedLoad,
        care: ProbePlan,
        resolver: Resolver,
        state: EngineState | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.name, self.endpoint, self.state = name, endpoint, state
        self.draining = False
        self.supervised = True  # a local engine's supervisor lives
        self.queue = Queue(name, bounds, load)
        if state is not None:
            self.queue.follow(state.max_num_seqs)
        self._care, self._tls, self._resolver = care, tls, resolver
        self._connections = EngineConnections(endpoint, tls, resolver)
        self.health = Health(
            proven=state is not None, probe_every_s=care.probe_every_s, slow_start_s=care.slow_start_s, now_s=_now_s()
        )
        self._models: list[probe.Model] = []
        self.certificate_ends_s: float | None = None  # Unix time
        self._next_look_s = 0.0

    @property
    def served_names(self) -> list[str]:
        return self.state.served_names if self.state else [model.id for model in self._models]

    @property
    def max_model_len(self) -> int | None:
        """The longest prompt and answer together, in tokens; None if it does not say."""
        if self.state:
            return self.state.max_model_len
        return self._models[0].max_model_len if self._models else None

    @property
    def demo(self) -> str:
        """What a model that is only for trying out knows; empty for any other."""
        return self.state.demo if self.state else ""

    @property
    def ready(self) -> bool:
        """Whether it may be asked. A suspect may, if nobody else can."""
        return self.unready == ""

    @property
    def unready(self) -> str:
        """Why it can't be asked now, or nothing."""
        if self.state and self.state.ready and not self.supervised:
            return "its supervisor has ended without a word; start it again"
        if self.state and not self.state.ready:
            return self.state.phase + (f", {self.state.message}" if self.state.message else "")
        if self.health.standing in (HealthState.UNPROVEN, HealthState.EJECTED):
            return f"{self.health.standing}, {self.health.why}"
        return "draining" if self.draining else ""

    @property
    def suspect(self) -> bool:
        """Whether it is asked only if no other can be."""
        return bool(self.silence) or self.health.standing is HealthState.SUSPECT

    @property
    def silence(self) -> str:
        """That it seems to hang, as its supervisor says, or nothing. It is still asked if no other engine can be."""
        if self.state is None or self.state.silent_since_s is None:
            return ""
        return f"it has made no token for {max(0.0, time.time() - self.state.silent_since_s):.0f} s"

    @property
    def answered_lately(self) -> bool:
        return _now_s() - self.health.answered_s < _LATELY_S

    async def fault_now(self, deadline_s: float) -> str:
        """Why it does not answer within ``deadline_s`` what it serves, or nothing. Never raises."""
        try:
            async with asyncio.timeout(deadline_s):
                await probe.models(self._connections, deadline_s)
        except (TimeoutError, probe.ProbeFailed):
            return f"did not answer within {deadline_s} s"
        return ""

    def follow(self, state: EngineState) -> None:
        """Take what its supervisor says now."""
        before, self.state = self.state, state
        self.queue.follow(state.max_num_seqs)
        if state.ready and before is not None and before.started_at_s != state.started_at_s:
            self.health.came_back(_now_s())

    def weight(self) -> float:
        """Its share of the load, from 0 to 1."""
        return self.health.weight(_now_s())

    def probe_is_due(self) -> bool:
        return (self.state is None or self.state.ready) and self.health.probe_is_due(_now_s())

    async def probe(self) -> bool:
        """Ask it what it serves and for one token, and remember whether it did. Never raises."""
        timeout_s = self._care.probe_timeout_s
        try:
            if self.state is None:
                self._models = await probe.models(self._connections, timeout_s)
            await probe.token(self._connections, self.served_names[0], timeout_s)
        except probe.ProbeFailed as error:
            self.health.probed(str(error), _now_s())
            return False
        self.health.probed("", _now_s())
        return True

    def certificate_is_due(self) -> bool:
        return self.endpoint.origin.startswith("https:") and _now_s() >= self._next_look_s

    async def look_at_certificate(self) -> None:
        """Remember until when its certificate is good. Never raises."""
        found = await certificate_expiry.ends_at_s(self.endpoint, self._tls, _LOOK_TIMEOUT_S, self._resolver)
        self.certificate_ends_s = found or self.certificate_ends_s
        self._next_look_s = _now_s() + (_LOOK_EVERY_S if found else _LOOK_AGAIN_S)

    @asynccontextmanager
    async def post(
        self, path: str, body: bytes, *, silence_timeout_s: float, answer_timeout_s: float
    ) -> AsyncIterator[EngineConnection]:
        """POST a JSON body; the answer, whose body is still to be read. It is cut on leaving unless read to its end.

        The engine may stay silent for ``silence_timeout_s`` at any point and take ``answer_timeout_s`` in all. What goes
        wrong while the caller reads is translated here too, and the engine's health learns how it went.
        Raises Unreachable if nobody takes the connection, EngineBroke if it hung up, TimedOut if it said nothing in time.
        """
        try:
            answer = await self._connections.ask(
                "POST", path, body, silence_s=silence_timeout_s, answer_s=answer_timeout_s
            )
            try:
                await answer.head()
                self.health.answered_s = _now_s()
                yield answer
            finally:
                answer.release()
        except ConnectFailed:
            self.health.failed("nobody listens there", _now_s(), unreachable=True)
            raise Unreachable("the engine is not reachable; try again soon", retry_after_s=5) from None
        except TimeoutError:
            self.health.failed("it took too long", _now_s())
            raise TimedOut("the engine took too long; try again, or ask for a shorter answer") from None
        except (ConnectionBroken, OSError):
            self.health.failed("it broke off", _now_s())
            raise EngineBroke("the engine broke off; try again") from None
        except EngineBroke as error:
            self.health.failed(error.message, _now_s())
            raise
        except BadRequest:
            self.health.succeeded(_now_s())
            raise
        self.health.succeeded(_now_s())

    def close(self) -> None:
        self._connections.close()


def _now_s() -> float:
    return asyncio.get_running_loop().time()
