"""Making a new log: keys first, then empty files, then the marker that makes the folder a log. Never overwrites."""

from __future__ import annotations

import secrets
import socket
import time

from gateway.ledger.errors import BadSettings, RolledBack, Unreadable
from gateway.ledger.format.checkpoint import TreeHead
from gateway.ledger.format.head_file import sign_stored
from gateway.ledger.format.merkle import EMPTY_ROOT
from gateway.ledger.format.note import NoteError, check_name
from gateway.ledger.format.printable import name_fault
from gateway.ledger.storage.files import make_folder, replace, write_once
from gateway.ledger.storage.keyring import Keyring
from gateway.ledger.storage.layout import LogLayout, marker_note
from gateway.ledger.storage.log import OpenSegment

MOST_ORIGIN_CHARS = 255


def new_origin() -> str:
    """A name that no other log has: the host's, and random letters."""
    host = "".join(letter if letter.isalnum() or letter in ".-" else "-" for letter in socket.gethostname().lower())
    return f"{host or 'localhost'}/vitrine/{secrets.token_hex(4)}"


def found(layout: LogLayout, keyring: Keyring, origin: str | None) -> str:
    """Make keys and log where there are none; the origin. A start that was cut short is finished.

    RolledBack if the keys know a log that is gone: a fresh log under the same name would be a second history.
    """
    if layout.marker.exists():
        raise BadSettings(f"{layout.folder} is a ledger already: nothing was changed")
    if keyring.anchor.exists():
        raise RolledBack(
            f"{keyring.folder} belongs to a log that is not in {layout.folder}: restore it from a backup, "
            f"or move both folders away to begin a new log"
        )
    fault = name_fault(origin, MOST_ORIGIN_CHARS) if origin else None
    if fault:
        raise BadSettings(f"{origin!r} can't name a log: {fault}")
    try:
        name = check_name(origin or new_origin())
    except NoteError as error:
        raise BadSettings(str(error)) from error
    if not keyring.exists():
        keyring.make(name)
    signer = keyring.signer()
    make_folder(layout.folder)
    make_folder(layout.segments)
    if any(path.stat().st_size for path in layout.segments.glob("*.jsonl*")):
        raise Unreadable(f"{layout.segments} has records, but {layout.marker} is missing: restore it from a backup")
    OpenSegment.create(layout, 1, 0).close()
    empty = TreeHead(signer.verifier.name, 0, EMPTY_ROOT, int(time.time()))
    replace(layout.file(1, "heads"), sign_stored(empty, signer))
    write_once(layout.marker, marker_note(signer.verifier.name, signer).encode(), mode=0o644)
    return signer.verifier.name
