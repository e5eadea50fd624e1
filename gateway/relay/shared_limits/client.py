"""Asks the shared limits, with a deadline on every word; while they don't answer, each host's own limits hold alone.

One script does all (limits.lua). Nothing is sent but digests of ids, counts and the limits themselves. What can't be settled
during an outage is settled after it; a gateway that dies frees its places by the end of their leases.
"""

import asyncio
import contextlib
import hashlib
import ssl
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from types import TracebackType
from typing import Any

import structlog
from prometheus_client import Counter
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import Connection, SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError

from gateway.front.resolver import Resolver
from gateway.ledger.client.messages import Limit, LimitExceeded, LimitRemaining
from gateway.relay.shared_limits.address import RedisAddress

MINUTE_MS = 60_000
LEASE_S = 30.0
RENEW_EVERY_S = 5.0
LOOK_EVERY_S = 0.25
CONNECTIONS = 8  # each is free again within a round trip; opening one in TLS costs milliseconds
OPEN_S = 5.0  # for the connections that are opened before anybody waits for them
MOST_UNSETTLED = 10_000
_PREFIX = "vitrine:limits:1"
_SET_OURS = "set VITRINE_SHARED_LIMITS_CERT and VITRINE_SHARED_LIMITS_KEY"
_LIMITS = ("requests_per_min", "tokens_per_min", "tokens_per_day", "images_per_min", "concurrent")
_WINDOWS = ("minute", "minute-tokens", "pictures", "picture-counts", "day", "day-tokens", "running")


@dataclass(frozen=True)
class SharedVerdict:
    """What the shared limits say of an exchange: ``over`` None if it may run; ``left`` of every limit that is set."""

    over: LimitExceeded | None
    left: tuple[LimitRemaining, ...]


@dataclass(frozen=True)
class _Held:
    """What an exchange took, or may have taken when no answer came."""

    exchange: str
    tenant: str
    bounds: tuple[Limit, ...]

    def subjects(self) -> list[str]:
        """Key prefixes. All of a tenant's have one hash tag, so that a cluster keeps them together."""
        return [f"{_PREFIX}:{{{_digest(self.tenant)}}}:{bound.scope}:{_digest(bound.subject)}" for bound in self.bounds]

    def keys(self) -> list[str]:
        own = f"{_PREFIX}:{{{_digest(self.tenant)}}}:exchange:{self.exchange}"
        return [own, *(f"{subject}:{window}" for subject in self.subjects() for window in _WINDOWS)]

    def values(self) -> list[int]:
        found = (getattr(bound, name) for bound in self.bounds for name in _LIMITS)
        return [-1 if value is None else value for value in found]


class SharedLimits:
    """One worker's words with the shared limits. Use on one event loop; ``async with`` keeps leases and looks for a recovery."""

    def __init__(
        self,
        address: RedisAddress,
        timeout_s: float,
        failures: Counter,
        *,
        tls: ssl.SSLContext | None = None,
        minute_ms: int = MINUTE_MS,
        lease_s: float = LEASE_S,
    ) -> None:
        self.address, self._timeout_s, self._failures = address, timeout_s, failures
        self._minute_ms, self._lease_ms = minute_ms, round(lease_s * 1000)
        self._renew_every_s = min(RENEW_EVERY_S, lease_s / 3)
        self._pool = _pool(address, tls)
        self._redis = Redis(connection_pool=self._pool)
        self._script = resources.files("gateway.relay.shared_limits").joinpath("limits.lua").read_text(encoding="utf-8")
        self._digest = hashlib.sha1(self._script.encode(), usedforsecurity=False).hexdigest()  # as Redis names a script
        self._answers = True
        self._running: dict[str, _Held] = {}
        self._unsettled: deque[tuple[_Held, int, bool]] = deque(maxlen=MOST_UNSETTLED)
        self._tasks: list[asyncio.Task[Any]] = []

    async def __aenter__(self) -> "SharedLimits":
        # Before the first question: what is wrong with address or certificate is said at the start.
        self._tasks = [
            asyncio.create_task(self._open()),
            asyncio.create_task(self._look()),
            asyncio.create_task(self._renew()),
        ]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(RedisError, OSError, TimeoutError):
            async with asyncio.timeout(1):
                await self._redis.aclose()
                await self._pool.aclose()

    async def take(
        self, exchange: str, tenant: str, bounds: tuple[Limit, ...], tokens: int, images: int
    ) -> SharedVerdict | None:
        """Take everything from every subject, or nothing and name the limit. None: no answer, the host's limits hold alone."""
        if not self._answers:
            self._failures.inc()
            return None
        held = _Held(exchange, tenant, bounds)
        said = await self._ask(held, "take", tokens, images)
        if said is None:
            # Perhaps it was taken all the same, later: then it is given back at the exchange's end.
            self._running[exchange] = held
            return None
        over = None
        if said[0]:
            self._running[exchange] = held
        else:
            number, limit, *counts = said[1:6]
            over = LimitExceeded(_LIMITS[limit - 1], bounds[number - 1].scope, *counts)
        return SharedVerdict(over, _left(said, bounds))

    async def settle(self, exchange: str, tokens: int | None, *, refused: bool) -> tuple[LimitRemaining, ...] | None:
        """End an exchange: it used ``tokens``, or what it reserved if None, or nothing if ``refused``; what is left then."""
        held = self._running.pop(exchange, None)
        if held is None:
            return None
        really = -1 if tokens is None else tokens
        said = await self._ask(held, "settle", really, int(refused)) if self._answers else None
        if said is None:
            self._unsettled.append((held, really, refused))
            return None
        return _left(said, held.bounds)

    async def _ask(self, held: _Held, verb: str, first: int, second: int) -> list[int] | None:
        words: list[str | int] = [verb, held.exchange, self._minute_ms, self._lease_ms, first, second, *held.values()]
        return await self._call(held.keys(), words)

    async def _call(
        self, keys: Sequence[str], words: Sequence[str | int], within_s: float | None = None
    ) -> list[int] | None:
        """The script's answer; None if there is none in time."""
        try:
            async with asyncio.timeout(within_s or self._timeout_s):
                try:
                    said: list[int] = await self._redis.evalsha(self._digest, len(keys), *keys, *words)
                except NoScriptError:
                    # With its text: to load it first and ask again would fail where others flush the scripts in between.
                    said = await self._redis.eval(self._script, len(keys), *keys, *words)
        except (RedisError, OSError, TimeoutError) as error:
            self._failures.inc()
            if self._answers:
                self._answers = False
                structlog.get_logger().warning(
                    "the shared limits do not answer; each host's own limits hold alone until they do",
                    at=self.address.shown,
                    reason=_reason(error, self.address.tls),
                )
            return None
        return said

    async def _open(self) -> bool:
        """Open all connections, while nobody waits for an answer; whether the server answers on each."""
        if not await self._works(OPEN_S):
            return False
        return all(await asyncio.gather(*(self._works(OPEN_S) for _ in range(CONNECTIONS))))

    async def _works(self, within_s: float) -> bool:
        # The script, since a server that answers a ping may still refuse to write (a replica, no memory).
        words = ("renew", "", self._minute_ms, self._lease_ms)
        return await self._call([f"{_PREFIX}:look"], words, within_s) is not None

    async def _look(self) -> None:
        """During an outage, look for its end; then settle what has waited."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            if self._answers:
                continue
            # Then once more in time: a slow server would be asked and given up again and again.
            if not (await self._open() and await self._works(self._timeout_s)):
                continue
            self._answers = True
            structlog.get_logger().info("the shared limits answer again", at=self.address.shown)
            for held, really, refused in self._take_unsettled():
                if not self._answers or await self._ask(held, "settle", really, int(refused)) is None:
                    self._unsettled.append((held, really, refused))

    def _take_unsettled(self) -> list[tuple[_Held, int, bool]]:
        found = list(self._unsettled)
        self._unsettled.clear()
        return found

    async def _renew(self) -> None:
        """Say that the running exchanges still run, one call for each subject."""
        while True:
            await asyncio.sleep(self._renew_every_s)
            running: dict[str, list[str]] = {}
            for held in self._running.values():
                for subject in held.subjects():
                    running.setdefault(f"{subject}:running", []).append(held.exchange)
            for key, exchanges in running.items():
                if self._answers:
                    await self._call([key], ["renew", "", self._minute_ms, self._lease_ms, *exchanges])


def _left(said: list[int], bounds: tuple[Limit, ...]) -> tuple[LimitRemaining, ...]:
    found = []
    for at in range(6, len(said), 5):
        number, limit, value, remaining, reset_ms = said[at : at + 5]
        found.append(LimitRemaining(_LIMITS[limit - 1], bounds[number - 1].scope, value, remaining, reset_ms))
    return tuple(found)


def _pool(address: RedisAddress, tls: ssl.SSLContext | None) -> BlockingConnectionPool:
    options: dict[str, Any] = dict(parse_url(address.url))
    if "connection_class" not in options or address.tls:
        options |= {"connection_class": _TCPConnection, "resolver": Resolver()}
    if address.tls:
        options |= {"connection_class": _TLSConnection, "context": tls or ssl.create_default_context()}
    return BlockingConnectionPool(
        **options,
        max_connections=CONNECTIONS,
        timeout=OPEN_S,
        # Each word has a deadline of its own (_call).
        socket_timeout=OPEN_S,
        socket_connect_timeout=OPEN_S,
        retry=Retry(NoBackoff(), 0),
        client_name="vitrine",
    )


class _TCPConnection(Connection):
    """To the addresses that a resolver of ours finds: the library would ask the event loop, whose lookups are few."""

    def __init__(self, *, resolver: Resolver, **options: Any) -> None:
        super().__init__(**options)
        self._resolver, self._address = resolver, ""

    async def _connect(self) -> None:
        failed = OSError()
        async with asyncio.timeout(self.socket_connect_timeout):
            for address in await self._resolver.look_up(self.host):
                self._address = address
                try:
                    await super()._connect()  # type: ignore[no-untyped-call]  # the library has no types here
                    return
                except OSError as error:
                    failed = error
        raise failed

    def _connection_arguments(self) -> Mapping[str, Any]:
        return {**super()._connection_arguments(), "host": self._address}


class _TLSConnection(_TCPConnection, SSLConnection):
    """With a context that was made once: the library's own reads all of the system's authorities for each connection, 60 ms."""

    def __init__(self, *, context: ssl.SSLContext, **options: Any) -> None:
        super().__init__(**options)
        self.ssl_context.context = context

    def _connection_arguments(self) -> Mapping[str, Any]:
        return {**super()._connection_arguments(), "server_hostname": self.host}


def _reason(error: BaseException, tls: bool) -> str:
    """What went wrong, for the operator, without the address."""
    chain: list[BaseException] = []
    found: BaseException | None = error
    while found is not None:
        chain.append(found)
        found = found.__cause__ or found.__context__
    refusal = next((one for one in chain if isinstance(one, ssl.SSLError)), None)
    if isinstance(refusal, ssl.SSLCertVerificationError):
        return f"its certificate was not accepted ({refusal.verify_message}); check VITRINE_SHARED_LIMITS_CA and the host's name"
    if "CERTIFICATE_REQUIRED" in str(refusal):
        return f"it wants a certificate of ours; {_SET_OURS}"
    if refusal is not None:
        return f"no TLS with it ({refusal.reason or refusal})"
    if tls and any(isinstance(one, ConnectionResetError) for one in chain):
        # In TLS 1.3 it says what it wants after the handshake; what we wrote meanwhile may reset the connection before that.
        return f"it reset the connection; if it wants a certificate of ours, {_SET_OURS}"
    return type(error).__name__


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:32]
