"""Turns what is asked into records: ids, digests, limits, roll-ups. Appends to the log, never commits it.

Every answer given here holds only after the commit that follows; the server keeps it until then.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from gateway.ledger.client.messages import (
    Abandon,
    Admit,
    Boot,
    Complete,
    Deny,
    Fact,
    Fault,
    Integrity,
    KeyEvent,
    Limit,
    LimitExceeded,
    LimitsAsk,
    LimitsLeft,
    LostRecords,
    Receipt,
    Refusal,
    TextDigest,
)
from gateway.ledger.client.statistics import LedgerCounters
from gateway.ledger.format.digest import Digester, RecordDigests
from gateway.ledger.format.record import MOST_NAME_CHARS, VERSION, Value, cap, encode
from gateway.ledger.format.record_id import RecordIds, is_identity
from gateway.ledger.service.open_exchanges import OpenExchange, OpenExchanges
from gateway.ledger.service.rate_limits import RateLimits, Reservation
from gateway.ledger.service.refusal_rollup import RefusalWindows
from gateway.ledger.storage.log import Log

NOT_RECORDED = -1


@dataclass(frozen=True)
class LedgerClock:
    """Wall time is data in records; limits run on the monotonic clock. Both in ms."""

    wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    monotonic_ms: Callable[[], int] = lambda: time.monotonic_ns() // 1_000_000


class RecordWriter:
    """Owned by the writer's one thread. `sender` is a connection's number; 0 is the ledger itself."""

    def __init__(
        self,
        log: Log,
        ids: RecordIds,
        digester: Digester,
        exchanges: OpenExchanges,
        limits: RateLimits,
        clock: LedgerClock,
        mode: str,
        tally: LedgerCounters,
    ) -> None:
        self.log = log
        self.exchanges = exchanges
        self.limits = limits
        self.floods = RefusalWindows()
        self._tally = tally
        self._ids = ids
        self._digester = digester
        self._clock = clock
        self._off = mode == "off"
        self._buffered = mode == "buffered"
        self._boots: dict[int, str] = {}
        # Ordered, since a plain dict finds its oldest entry in time that grows with how many have gone before.
        self._abandonable: OrderedDict[tuple[int, int], str] = OrderedDict()

    @property
    def boot_id(self) -> str:
        return self._boots.get(0, "")

    def own(self, kind: str, fields: dict[str, Value]) -> Receipt:
        """A record of the log's own life (recovery, seal, prune, shutdown, and its own boot)."""
        identity = self._ids.next()
        receipt = self._append(kind, identity, 0, fields)
        if kind == "boot":
            self._boots[0] = identity
        return receipt

    def admit(self, ask: Admit, sender: int, n: int) -> Receipt | Refusal | Fault:
        if ask.late and not self._buffered:
            return Fault("late admits are for mode buffered alone: no exchange begins without the ledger here")
        now_ms = self._clock.monotonic_ms()
        known = self.exchanges.get(ask.late) if ask.late else None
        if known is not None:
            return Receipt(known.id, known.admitted, b"", self.log.origin)
        held: Reservation | LimitExceeded | None = None
        if ask.late:
            left = self.limits.left(ask.limits, now_ms)
        else:
            held, left = self.limits.admit(ask.limits, ask.tokens, len(ask.images), now_ms)
        if isinstance(held, LimitExceeded):
            reason = f"limit {held.limit} of {held.scope}"
            deny = Deny(reason, 429, ask.ip, ask.peer, ask.route, ask.request, ask.key, ask.tenant)
            refused = self.deny(deny, sender)
            return Refusal(refused.id, held.limit, held.scope, held.value, held.remaining, held.reset_ms, left)
        wall_ms = self._clock.wall_ms()
        identity = ask.late if ask.late and is_identity(ask.late) else self._ids.next()
        digests = self._digester.open(identity, wall_ms)
        if self._off:
            receipt = Receipt(identity, NOT_RECORDED, b"", self.log.origin, left)
        else:
            recorded = self._append("admit", identity, sender, _admit_fields(ask, digests), wall_ms)
            receipt = Receipt(identity, recorded.index, recorded.leaf, recorded.origin, left)
        exchange = OpenExchange(identity, ask.key, digests.epoch, receipt.index, held=held, sender=sender)
        self.exchanges.admit(exchange)
        self._abandonable[sender, n] = identity
        if len(self._abandonable) > 4096:
            self._abandonable.popitem(last=False)
        return receipt

    def complete(self, ask: Complete, sender: int) -> Receipt | Fault:
        if not is_identity(ask.id):
            return Fault(f"{cap(ask.id, 64)!r} is not the id of an exchange")
        known = self.exchanges.get(ask.id)
        if known is not None and known.ended is not None:
            return self._with_left(Receipt(ask.id, known.ended, known.ended_leaf, self.log.origin), ask.limits)
        exchange = known or OpenExchange(ask.id, "", "", NOT_RECORDED)
        if exchange.held is not None:
            now_ms = self._clock.monotonic_ms()
            self.limits.end(exchange.held, ask.outcome, ask.prompt_tokens, ask.answer_tokens, now_ms)
        if self._off:
            receipt = Receipt(ask.id, NOT_RECORDED, b"", self.log.origin)
        else:
            # An exchange from before this process knows its epoch from the log, or gets today's.
            wall_ms = self._clock.wall_ms()
            digests = (
                self._digester.reopen(ask.id, exchange.epoch, wall_ms)
                if exchange.epoch
                else self._digester.open(ask.id, wall_ms)
            )
            receipt = self._append("complete", ask.id, sender, _complete_fields(ask, digests), wall_ms)
        if known is not None:
            self.exchanges.end(exchange, receipt.index, receipt.leaf)
        return self._with_left(receipt, ask.limits)

    def abandon(self, ask: Abandon, sender: int) -> Receipt | Fault:
        """The asker stopped waiting for an admit: the exchange ends as refused and gives everything back."""
        identity = self._abandonable.pop((sender, ask.of), None)
        if identity is None:
            return Fault("no such admit")
        return self.complete(Complete(identity, "refused", 503), sender)

    def deny(self, ask: Deny, sender: int) -> Receipt:
        """One record, or one more in the roll-up of this address and minute (then `index` is -1)."""
        wall_ms = self._clock.wall_ms()
        identity = self._ids.next()
        rolled = self.floods.count(ask.ip, ask.reason, identity, wall_ms, ask.key)
        if rolled is not None or self._off:
            return self._with_left(Receipt(rolled or identity, NOT_RECORDED, b"", self.log.origin), ask.limits)
        fields: dict[str, Value] = {
            "ip": cap(ask.ip),
            "key": None if ask.key is None else cap(ask.key),
            "peer": cap(ask.peer),
            "reason": cap(ask.reason),
            "request": cap(ask.request),
            "route": cap(ask.route),
            "status": ask.status,
            "tenant": None if ask.tenant is None else cap(ask.tenant),
        }
        return self._with_left(self._append("deny", identity, sender, fields, wall_ms), ask.limits)

    def limits_left(self, ask: LimitsAsk, sender: int) -> LimitsLeft:
        return LimitsLeft(self.limits.left(ask.limits, self._clock.monotonic_ms()))

    def roll_up(self, *, everything: bool = False) -> None:
        """Write the roll-ups whose minute is over."""
        for address, flood in self.floods.due(self._clock.wall_ms(), everything=everything):
            reasons: dict[str, Value] = {cap(reason): count for reason, count in flood.reasons.most_common(32)}
            fields: dict[str, Value] = {
                "count": flood.rolled,
                "from_ms": flood.from_ms,
                "ip": cap(address),
                "reason": "flood",
                "reasons": reasons,
                "to_ms": flood.to_ms,
            }
            if flood.keys:
                fields["keys"] = {cap(key, MOST_NAME_CHARS): count for key, count in flood.keys.items()}
            if not self._off:
                self._append("deny", flood.identity, 0, fields)

    def key_event(self, ask: KeyEvent, sender: int) -> Receipt:
        fields: dict[str, Value] = {
            "by": cap(ask.by),
            "event": ask.event,
            "facts": _facts(ask.facts),
            "key": cap(ask.key),
        }
        return self._append("key", self._ids.next(), sender, fields)

    def integrity(self, ask: Integrity, sender: int) -> Receipt:
        fields: dict[str, Value] = {
            "by": cap(ask.by),
            "facts": _facts(ask.facts),
            "new": cap(ask.new),
            "old": cap(ask.old),
            "what": cap(ask.what),
        }
        return self._append("integrity", self._ids.next(), sender, fields)

    def boot(self, ask: Boot, sender: int) -> Receipt:
        identity = self._ids.next()
        outbound: list[Value] = [cap(destination) for destination in ask.outbound]
        fields: dict[str, Value] = {"facts": _facts(ask.facts), "outbound": outbound, "room": cap(ask.room)}
        receipt = self._append("boot", identity, 0, fields)
        self._boots[sender] = identity
        return receipt

    def lost(self, ask: LostRecords, sender: int) -> Receipt:
        fields: dict[str, Value] = {"count": ask.count, "from_ms": ask.from_ms, "to_ms": ask.to_ms, "why": cap(ask.why)}
        return self._append("gap", self._ids.next(), sender, fields)

    def forget_epoch(self) -> None:
        """An epoch was shredded: no record is made with its secret any more."""
        self._digester.forget()

    def gone(self, sender: int) -> int:
        """A connection ended: its exchanges stop counting as running. A worker that comes back may still end them."""
        found = self.exchanges.of_sender(sender)
        for exchange in found:
            if exchange.held is not None:
                self.limits.release(exchange.held)
            exchange.sender = None
        self._boots.pop(sender, None)
        for name in [name for name in self._abandonable if name[0] == sender]:
            del self._abandonable[name]
        return len(found)

    def _with_left(self, receipt: Receipt, limits: tuple[Limit, ...]) -> Receipt:
        if not limits:
            return receipt
        left = self.limits.left(limits, self._clock.monotonic_ms())
        return Receipt(receipt.id, receipt.index, receipt.leaf, receipt.origin, left)

    def _append(
        self, kind: str, identity: str, sender: int, fields: dict[str, Value], wall_ms: int | None = None
    ) -> Receipt:
        fields["boot"] = self._boots.get(sender) or self.boot_id
        fields["id"] = identity
        fields["kind"] = kind
        fields["time_ms"] = self._clock.wall_ms() if wall_ms is None else wall_ms
        fields["v"] = VERSION
        index, leaf = self.log.append(encode(fields))
        self._tally.appended[kind] += 1
        return Receipt(identity, index, leaf, self.log.origin)


def _facts(facts: dict[str, Fact]) -> Value:
    return {
        cap(name, MOST_NAME_CHARS): cap(value) if isinstance(value, str) else value for name, value in facts.items()
    }


def _text(text: TextDigest | None, digests: RecordDigests) -> Value:
    return None if text is None else {"chars": text.chars, "digest": digests.of(text.sha256)}


def _admit_fields(ask: Admit, digests: RecordDigests) -> dict[str, Value]:
    images: list[Value] = [
        {
            "bytes": image.bytes,
            "digest": digests.of(image.sha256),
            "height": image.height,
            "type": cap(image.type, MOST_NAME_CHARS),
            "width": image.width,
        }
        for image in ask.images
    ]
    fields: dict[str, Value] = {
        "conversation": _text(ask.conversation, digests),
        "epoch": digests.epoch,
        "fields": {cap(name, MOST_NAME_CHARS): _text(text, digests) for name, text in ask.fields.items()},
        "images": images,
        "ip": cap(ask.ip),
        "key": cap(ask.key),
        "model": cap(ask.model),
        "params": _facts(ask.params),
        "peer": cap(ask.peer),
        "prompt": _text(ask.prompt, digests),
        "request": cap(ask.request),
        "route": cap(ask.route),
        "stream": ask.stream,
        "tenant": cap(ask.tenant),
        "tokens": ask.tokens,
    }
    if ask.late:
        fields["late_ms"] = ask.late_ms
    return fields


def _complete_fields(ask: Complete, digests: RecordDigests) -> dict[str, Value]:
    return {
        "answer": _text(ask.answer, digests),
        "answer_tokens": ask.answer_tokens,
        "engine": None if ask.engine is None else cap(ask.engine),
        "epoch": digests.epoch,
        "finish": None if ask.finish is None else cap(ask.finish),
        "outcome": ask.outcome,
        "prompt_tokens": ask.prompt_tokens,
        "status": ask.status,
        "total_ms": ask.total_ms,
        "ttft_ms": ask.ttft_ms,
    }
