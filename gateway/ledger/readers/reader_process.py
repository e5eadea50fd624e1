"""A process in which an auditor reads the log and has it checked, so that who serves and who writes never wait for it.

Its first line on standard input names the log (ReaderStart). Each further line is a question (ReaderQuestion), each line that
it prints an answer. It ends when its input does. Reads only.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import msgspec

from gateway.ledger.errors import EXIT_OK, BadSettings, LedgerError
from gateway.ledger.format.digest import epoch_key
from gateway.ledger.format.note import b64
from gateway.ledger.readers.browse import RecordQuery, browse
from gateway.ledger.readers.reader import LogReader
from gateway.ledger.readers.verification import Report, verify
from gateway.ledger.storage.keyring import Keyring
from gateway.ledger.storage.layout import LogLayout

PAGE_S = 4.0
FIRST_CHECK_S = 3.0  # a question about the head waits so long for a check that runs
REST = 10  # a check that took a second is good for ten: the log is checked a tenth of the time at most
SHORTEST_REST_S = 5.0
_POLITE = 10


class ReaderStart(msgspec.Struct, frozen=True):
    """Where the log, its keys and the heads kept elsewhere are."""

    folder: str
    keys: str
    anchors: tuple[str, ...] = ()


class ReaderQuestion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A page of records, or with ``head`` how the log is."""

    head: bool = False
    query: RecordQuery | None = None


class LogReaderProcess:
    """One log and what is known of it."""

    def __init__(self, errand: ReaderStart) -> None:
        self._layout, self._keyring = LogLayout(Path(errand.folder)), Keyring(Path(errand.keys))
        self._anchors = [self._keyring.anchor, *map(Path, errand.anchors)]
        self._reader: LogReader | None = None
        self._checker = threading.Thread()  # never started: none has run
        self._checked: dict[str, Any] | None = None
        self._good_until_s = 0.0
        self._progress = 0

    def answer(self, ask: ReaderQuestion) -> dict[str, Any]:
        try:
            return self._head() if ask.head else self._page(ask.query or RecordQuery())
        except LedgerError as error:
            return {"is": "fault", "text": str(error), "exit_code": error.exit_code}

    def _page(self, query: RecordQuery) -> dict[str, Any]:
        keys = self._epoch_keys() if query.image else {}
        page = browse(self._fresh_reader(), query, keys, PAGE_S)
        return {"is": "page", **vars(page)}

    def _fresh_reader(self) -> LogReader:
        if self._reader is None:
            self._reader = LogReader(self._layout, self._keyring.verifier())
        else:
            self._reader.refresh()
        return self._reader

    def _epoch_keys(self) -> dict[str, bytes]:
        try:
            root = self._keyring.root()
            return {epoch: epoch_key(root, self._keyring.secret(epoch)) for epoch in self._keyring.epochs()}
        except OSError as error:
            raise BadSettings(f"pictures can't be looked for without the log's secrets: {error}") from None

    def _head(self) -> dict[str, Any]:
        if not self._checker.is_alive() and time.monotonic() >= self._good_until_s:
            self._checker = threading.Thread(target=self._check, daemon=True)
            self._checker.start()
            self._checker.join(FIRST_CHECK_S)
        reader = self._fresh_reader()
        head, note = reader.head()
        return {
            "is": "head",
            "origin": reader.origin,
            "records": reader.size,
            "checking": self._checker.is_alive(),
            "checking_at_record": self._progress,
            "head": {"size": head.size, "root": b64(head.root), "signed_ms": (head.time_s or 0) * 1000, "note": note},
            "public_key": self._keyring.verifier().format(),
            "checked": self._checked,
        }

    def _check(self) -> None:
        began_s, at_ms = time.monotonic(), time.time_ns() // 1_000_000
        try:
            report = verify(self._layout, self._keyring.verifier(), self._anchors, self._tell)
            found = {**_told(report), "good": report.exit_code == EXIT_OK, "exit_code": report.exit_code}
        except LedgerError as error:
            found = {"good": False, "exit_code": error.exit_code, "fault": str(error)}
        took_s = time.monotonic() - began_s
        self._checked = {"at_ms": at_ms, "took_ms": round(took_s * 1000), **found}
        self._good_until_s = time.monotonic() + max(SHORTEST_REST_S, took_s * REST)

    def _tell(self, done: int, _: int) -> None:
        self._progress = done


def _told(report: Report) -> dict[str, Any]:
    return {**vars(report), "kinds": dict(report.kinds)}


def main() -> None:
    os.nice(_POLITE)
    room = LogReaderProcess(msgspec.json.decode(sys.stdin.buffer.readline(), type=ReaderStart))
    decode_ask, encode = msgspec.json.Decoder(ReaderQuestion).decode, msgspec.json.Encoder().encode
    for line in sys.stdin.buffer:
        sys.stdout.buffer.write(encode(room.answer(decode_ask(line))) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
