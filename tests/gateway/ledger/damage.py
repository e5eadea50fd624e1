"""What somebody does to a log who owns its disk but not its signing key: lines appended with their hashes, heads taken away."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gateway.ledger.format.head_file import split_notes
from gateway.ledger.format.merkle import HASH_BYTES, leaf_hash
from gateway.ledger.format.record import Value, decode, encode
from gateway.ledger.readers.verification import Report, verify
from gateway.ledger.service.recovery import open_log
from gateway.ledger.storage.keyring import Keyring
from gateway.ledger.storage.layout import LogLayout
from gateway.ledger.storage.seal import stored_file

FORGED_ID = "01ffffff-ffff-7fff-bfff-ffffffffff%02x"


@dataclass
class Disk:
    """A log whose ledger does not run."""

    home: Path

    def __post_init__(self) -> None:
        self.layout, self.keyring = LogLayout(self.home / "ledger"), Keyring(self.home / "ledger-keys")
        self.number = self.layout.numbers()[-1]
        self._forged = 0

    def copy(self, home: Path) -> Disk:
        shutil.copytree(self.home, home, ignore=shutil.ignore_patterns("run"))
        return Disk(home)

    def verify(self, *, anchored: bool = False) -> Report:
        anchors = [self.keyring.anchor] if anchored else []
        return verify(self.layout, self.keyring.verifier(), anchors, lambda done, left: None)

    def start(self) -> None:
        """As the ledger opens it, without its own anchor: the thief has put an old one there."""
        opened = open_log(self.layout, self.keyring.signer(), [], compressed=True)
        opened.log.close()

    def lines(self) -> list[bytes]:
        return self.layout.file(self.number, "jsonl").read_bytes().split(b"\n")[:-1]

    def records(self) -> list[dict[str, Value]]:
        return [decode(line) for line in self.lines()]

    def append(self, kind: str, **fields: Value) -> None:
        """A forged record with its hash, in the form that the ledger writes."""
        last = self.records()[-1]
        self._forged += 1
        always: dict[str, Value] = {"boot": last["boot"], "time_ms": last["time_ms"], "v": 1}
        line = encode(always | {"id": FORGED_ID % self._forged, "kind": kind} | fields)
        with self.layout.file(self.number, "jsonl").open("ab") as file:
            file.write(line + b"\n")
        with self.layout.file(self.number, "hashes").open("ab") as file:
            file.write(leaf_hash(line))

    def forge_prune(self, segment: int = 1) -> None:
        """Delete a sealed segment, and a record that says that it was meant so."""
        path = stored_file(self.layout, segment)
        assert path is not None
        path.unlink()
        self.append("prune", before_ms=1, by="retention", first=0, records=1, segment=segment)

    def cut(self, records: int) -> None:
        """Take lines and hashes away from the end."""
        path = self.layout.file(self.number, "jsonl")
        path.write_bytes(b"".join(line + b"\n" for line in self.lines()[:-records]))
        hashes = self.layout.file(self.number, "hashes")
        hashes.write_bytes(hashes.read_bytes()[: -records * HASH_BYTES])

    def heads(self) -> list[str]:
        return split_notes(self.layout.file(self.number, "heads").read_bytes())[0]

    def change_heads(self, change: Callable[[list[str]], list[str]]) -> None:
        self.layout.file(self.number, "heads").write_text("".join(change(self.heads())))
