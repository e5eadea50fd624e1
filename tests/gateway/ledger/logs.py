"""Logs made in this process, without a socket, for tests that look at files."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from gateway.ledger.format.note import Signer
from gateway.ledger.format.record import Value, encode
from gateway.ledger.format.record_id import RecordIds
from gateway.ledger.readers.verification import Report, verify
from gateway.ledger.service.recovery import Opened, open_log
from gateway.ledger.storage.keyring import Keyring
from gateway.ledger.storage.layout import LogLayout
from gateway.ledger.storage.log import Log
from gateway.ledger.storage.seal import seal_segment
from tests.support.ledger import make_log

START_MS = 1_795_000_000_000


@dataclass
class Hand:
    """A log and a hand that writes to it, with a clock that only moves when told."""

    layout: LogLayout
    keyring: Keyring
    now_ms: int = START_MS
    opened: Opened | None = None
    acknowledged: list[bytes] = field(default_factory=list)

    @classmethod
    def new(cls, home: Path) -> Hand:
        layout, keyring = make_log(home)
        hand = cls(layout, keyring)
        hand.open()
        return hand

    @property
    def signer(self) -> Signer:
        return self.keyring.signer()

    @property
    def log(self) -> Log:
        assert self.opened is not None
        return self.opened.log

    def open(self, *, compressed: bool = True) -> Opened:
        self.opened = open_log(self.layout, self.signer, [self.keyring.anchor], compressed=compressed)
        self.ids = RecordIds(lambda: self.now_ms)
        return self.opened

    def record(self, kind: str = "integrity", /, **fields: Value) -> bytes:
        self.now_ms += 1
        always: dict[str, Value] = {"boot": "", "id": self.ids.next(), "kind": kind, "time_ms": self.now_ms, "v": 1}
        line = encode(always | fields)
        self.log.append(line)
        return line

    def write(self, count: int = 1, kind: str = "integrity", /, **fields: Value) -> None:
        """Append, commit, and remember what is now promised."""
        lines = [self.record(kind, **fields) for _ in range(count)]
        self.log.commit()
        self.acknowledged += lines

    def sign(self) -> None:
        self.now_ms += 1000
        self.log.sign(self.now_ms // 1000)

    def rotate(self, *, compressed: bool = True, seal: bool = True) -> None:
        segment = self.log.segment
        self.write(1, "seal", segment=segment.number)
        self.sign()
        self.log.rotate()
        if seal:
            seal_segment(self.layout, segment.number, segment.first, self.signer, compressed=compressed)

    def close(self) -> None:
        self.log.close()
        self.opened = None

    def verify(self) -> Report:
        anchors = [path for path in [self.keyring.anchor] if path.exists()]
        return verify(self.layout, self.keyring.verifier(), anchors, lambda done, left: None)
