"""The asyncio client of the ledger for gateway workers: many calls at once, a deadline on each, comes back by itself.

An answer means durable. No answer in time is LedgerUnavailable, and the caller fails closed; the ledger is then told to
void the late admit. Contents never pass here: messages.py has only digests and sizes.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
import socket
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypeVar

import msgspec

from gateway.ledger.client.call import LedgerCall
from gateway.ledger.client.messages import (
    MOST_PACKET_BYTES,
    Abandon,
    Admit,
    Ask,
    Boot,
    Complete,
    Deny,
    Integrity,
    KeyEvent,
    Limit,
    LimitRemaining,
    LimitsAsk,
    LimitsLeft,
    LostRecords,
    ProofReply,
    Prune,
    Pruned,
    Question,
    Receipt,
    ReceiptAsk,
    Refusal,
    Say,
    Shred,
    Status,
    StatusAsk,
    decode_answer,
    encode,
    pack,
)
from gateway.ledger.errors import LedgerRefused, LedgerUnavailable
from gateway.ledger.format.record_id import RecordIds

BUFFER_BYTES = 4 << 20
FIRST_PAUSE_S = 0.02
LONGEST_PAUSE_S = 1.0
MOST_HELD = 10_000

T = TypeVar("T", bound=Say)
What = Literal["admit", "complete", "deny", "other"]
CALLS: tuple[What, ...] = ("admit", "complete", "deny", "other")
_CALLS: dict[type, What] = {Admit: "admit", Complete: "complete", Deny: "deny"}


@dataclass(frozen=True)
class Deadlines:
    """Seconds until a call gives up.

    A late admit waits for the CPU, not for the disk: beside 16 busy processes on two cores the slowest of 212 took 84 ms, and the
    slowest commit 8 ms (30 November 2026). So a second separates a slow scheduler from a ledger that hangs.
    """

    admit_s: float = 1.0
    complete_s: float = 2.0
    other_s: float = 2.0


class LedgerClient:
    """One connection of one worker, owned by its event loop. Made by `connect`, ended by `aclose`."""

    def __init__(
        self, path: Path, deadlines: Deadlines, *, buffered: bool, on_failure: Callable[[What], None] = lambda _: None
    ) -> None:
        self._path = path
        self._deadlines = deadlines
        self._buffered = buffered
        self._on_failure = on_failure
        self._numbers = itertools.count(1)
        self._calls: dict[int, LedgerCall[Any]] = {}  # that are not over
        self._lines: list[bytes] = []  # asked in this turn of the loop: they go in one packet
        self._together = 0  # how many went last: those who asked together are answered together, and ask again
        self._unsent: deque[bytes] = deque()
        self._blocked = False
        self._socket: socket.socket | None = None
        self._boot: Boot | None = None
        self._held: deque[Admit | Complete] = deque()
        self._lost: LostRecords | None = None
        self._ids = RecordIds(lambda: time.time_ns() // 1_000_000)
        self._up = asyncio.Event()
        self._down = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._replaying: asyncio.Task[None] | None = None

    @classmethod
    async def connect(
        cls,
        path: Path,
        deadlines: Deadlines | None = None,
        *,
        buffered: bool = False,
        boot: Boot | None = None,
        wait_s: float = 5.0,
        on_failure: Callable[[What], None] = lambda _: None,
    ) -> LedgerClient:
        """Connect to the ledger's socket; LedgerUnavailable if it does not answer within `wait_s`.

        With `wait_s` 0 the client is given at once and connects when it can. `boot` introduces this worker, after every
        reconnect again. `buffered`: exchanges go on without the ledger; what could not be kept becomes a gap record.
        `on_failure` is called for each call that got no durable answer in time.
        """
        client = cls(path, deadlines or Deadlines(), buffered=buffered, on_failure=on_failure)
        client._boot = boot
        client._keeper = asyncio.create_task(client._keep_connected(), name="ledger-client")
        if wait_s:
            try:
                async with asyncio.timeout(wait_s):
                    await client._up.wait()
            except TimeoutError as error:
                await client.aclose()
                raise LedgerUnavailable(f"no ledger answers on {path}: is `gateway.ledger serve` running?") from error
        return client

    async def __aenter__(self) -> LedgerClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    @property
    def connected(self) -> bool:
        return self._up.is_set()

    def admission(self, ask: Admit) -> LedgerCall[Receipt | Refusal]:
        """Ask whether this exchange may begin. A Receipt means its record is durable; a Refusal names the limit."""
        return self._begin(ask, self._deadlines.admit_s, (Receipt, Refusal))

    async def admit(self, ask: Admit) -> Receipt | Refusal:
        """`admission`, and its answer."""
        return await self.admission(ask).wait()

    async def complete(self, ask: Complete) -> Receipt:
        """Record how an exchange ended. Survives a restart of the ledger within its deadline: it is asked again."""
        give_up = time.monotonic() + self._deadlines.complete_s
        while True:
            try:
                return await self._begin(ask, give_up - time.monotonic(), (Receipt,)).wait()
            except LedgerRefused:
                raise
            except LedgerUnavailable:
                if time.monotonic() < give_up and await self._wait_up(give_up - time.monotonic()):
                    continue
                if not self._buffered:
                    raise
                self._hold(ask)
                return Receipt(ask.id, -1, b"", "")

    async def deny(self, ask: Deny) -> Receipt:
        """Record a refusal; `index` is -1 if it went into a roll-up."""
        return await self._begin(ask, self._deadlines.other_s, (Receipt,)).wait()

    async def key_event(self, ask: KeyEvent) -> Receipt:
        return await self._begin(ask, self._deadlines.other_s, (Receipt,)).wait()

    async def integrity(self, ask: Integrity) -> Receipt:
        return await self._begin(ask, self._deadlines.other_s, (Receipt,)).wait()

    async def receipt(self, record_id: str, caller_key_id: str, *, auditor: bool = False) -> ProofReply:
        """The proofs of an exchange: found, not_yet, not_found or not_yours."""
        ask = ReceiptAsk(record_id, caller_key_id, auditor)
        return await self._begin(ask, self._deadlines.other_s, (ProofReply,)).wait()

    async def limits_left(self, limits: tuple[Limit, ...]) -> tuple[LimitRemaining, ...]:
        """What is left of these limits now; of no limits without asking."""
        if not limits:
            return ()
        return (await self._begin(LimitsAsk(limits), self._deadlines.other_s, (LimitsLeft,)).wait()).left

    async def status(self) -> Status:
        return await self._begin(StatusAsk(), self._deadlines.other_s, (Status,)).wait()

    async def prune(self, before_ms: int, by: str) -> Pruned:
        return await self._begin(Prune(before_ms, by), 60.0, (Pruned,)).wait()

    async def shred(self, epoch: str, by: str) -> Receipt:
        return await self._begin(Shred(epoch, by), 60.0, (Receipt,)).wait()

    async def aclose(self) -> None:
        """Drop the connection; calls in flight fail."""
        for task in (self._keeper, self._replaying):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        self._disconnect("the client was closed")

    # One call

    def _begin(self, ask: Ask, deadline_s: float, kinds: tuple[type[T], ...]) -> LedgerCall[T]:
        call = LedgerCall(next(self._numbers), ask, kinds)
        if self._socket is None:
            self._fail(call, f"the ledger on {self._path} is away")
            return call
        line = encode(Question(call.n, ask))
        if len(line) > MOST_PACKET_BYTES:
            call.settle(LedgerRefused(f"a message of {len(line)} bytes is too large for the ledger"))
            return call
        alone = not self._calls and self._together <= 1
        self._calls[call.n] = call
        call.timer = asyncio.get_running_loop().call_later(max(0.0, deadline_s), self._give_up, call, deadline_s)
        self._send(line, at_once=alone)
        return call

    def _give_up(self, call: LedgerCall[Any], deadline_s: float) -> None:
        # A loop that was late runs its timers before it reads: the answer may lie in the socket since long.
        self._receive()
        if call.over:
            return
        self._fail(call, f"no durable answer from the ledger within {deadline_s * 1000:.0f} ms")

    def _fail(self, call: LedgerCall[Any], why: str) -> None:
        self._calls.pop(call.n, None)
        ask = call.ask
        self._on_failure(_CALLS.get(type(ask), "other"))
        if isinstance(ask, Admit) and not ask.late:
            # The ledger may still have admitted it: void that, or the exchange would count as running for ever.
            self._send_soon(Question(next(self._numbers), Abandon(call.n)))
            if self._buffered:
                identity = self._ids.next()
                self._hold(msgspec.structs.replace(ask, late=identity, late_ms=time.time_ns() // 1_000_000))
                call.settle(Receipt(identity, -1, b"", ""))
                return
        call.settle(LedgerUnavailable(why))

    def _send(self, line: bytes, *, at_once: bool = False) -> None:
        """At once for who is alone; else in one packet with what else this turn of the loop asks, and in one sync."""
        self._lines.append(line)
        if len(self._lines) == 1:
            if at_once:
                self._send_lines()
            else:
                asyncio.get_running_loop().call_soon(self._send_lines)

    def _send_lines(self) -> None:
        lines, self._lines = self._lines, []
        self._together = len(lines)
        self._unsent.extend(pack(lines))
        if not self._blocked:
            self._flush()

    def _send_soon(self, question: Question) -> None:
        if self._socket is not None:
            self._send(encode(question))

    def _flush(self) -> None:
        """Send what waits; what the socket does not take now goes when it can."""
        ours = self._socket
        if ours is None:
            return
        loop = asyncio.get_running_loop()
        try:
            while self._unsent:
                ours.send(self._unsent[0])
                self._unsent.popleft()
        except BlockingIOError:
            self._blocked = True
            loop.add_writer(ours.fileno(), self._flush)
            return
        except OSError as error:
            self._disconnect(str(error))
            return
        if self._blocked:
            self._blocked = False
            loop.remove_writer(ours.fileno())

    def _receive(self) -> None:
        ours = self._socket
        for _ in range(256):
            if ours is None:
                return
            try:
                packet = ours.recv(MOST_PACKET_BYTES + 1)
            except BlockingIOError:
                return
            except OSError as error:
                self._disconnect(str(error))
                return
            if not packet:
                self._disconnect("the ledger closed the connection")
                return
            for line in packet.split(b"\n"):
                answer = decode_answer(line)
                call = self._calls.pop(answer.n, None)
                if call is not None:
                    call.settle(answer.say)
            if not self._calls:
                return  # nothing else is waited for

    # The connection

    async def _keep_connected(self) -> None:
        pause_s = FIRST_PAUSE_S
        while True:
            if self._open():
                pause_s = FIRST_PAUSE_S
                await self._down.wait()
            else:
                # The jitter keeps a host's workers from coming back all at once.
                await asyncio.sleep(pause_s * (0.5 + secrets.randbelow(1000) / 1000))
                pause_s = min(LONGEST_PAUSE_S, pause_s * 2)

    def _open(self) -> bool:
        ours = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        try:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
            ours.connect(str(self._path))
        except OSError:
            ours.close()
            return False
        self._socket = ours
        self._down.clear()
        asyncio.get_running_loop().add_reader(ours.fileno(), self._receive)
        if self._boot is not None:
            self._send_soon(Question(next(self._numbers), self._boot))
        self._up.set()
        if (self._held or self._lost) and (self._replaying is None or self._replaying.done()):
            self._replaying = asyncio.create_task(self._replay(), name="ledger-replay")
        return self._socket is not None

    def _disconnect(self, why: str) -> None:
        ours, self._socket = self._socket, None
        self._up.clear()
        if ours is not None:
            loop = asyncio.get_running_loop()
            loop.remove_reader(ours.fileno())
            loop.remove_writer(ours.fileno())
            ours.close()
        self._lines.clear()
        self._unsent.clear()
        self._blocked = False
        for call in list(self._calls.values()):
            self._fail(call, f"the ledger on {self._path} went away: {why}")
        self._down.set()

    async def _wait_up(self, within_s: float) -> bool:
        try:
            async with asyncio.timeout(max(0.0, within_s)):
                await self._up.wait()
        except TimeoutError:
            return False
        return True

    # Buffered mode

    def _hold(self, ask: Admit | Complete) -> None:
        """Keep a record for when the ledger is back; over the bound it is lost, and the loss is counted."""
        if len(self._held) < MOST_HELD:
            self._held.append(ask)
            return
        now_ms = time.time_ns() // 1_000_000
        before = self._lost
        self._lost = LostRecords(
            count=1 if before is None else before.count + 1,
            from_ms=now_ms if before is None else before.from_ms,
            to_ms=now_ms,
            why="the ledger was away and the buffer was full",
        )

    async def _replay(self) -> None:
        """Hand over what was held, one by one, each kept until it is durable."""
        while self._held and self._socket is not None:
            try:
                await self._begin(self._held[0], self._deadlines.other_s, (Receipt, Refusal)).wait()
            except LedgerRefused:
                pass  # it will not take this one, ever
            except LedgerUnavailable:
                continue
            self._held.popleft()
        lost = self._lost
        if lost is not None and self._socket is not None:
            with contextlib.suppress(LedgerUnavailable):
                await self._begin(lost, self._deadlines.other_s, (Receipt,)).wait()
                self._lost = None
