"""A copy of a log that may be growing, and the way back. Never copies a secret, never overwrites a log.

The copy is taken in the order in which the writer makes things durable, backwards: heads, then hashes, then lines. So
whatever a copied head covers is in the copy.
"""

from __future__ import annotations

import os
from pathlib import Path

from gateway.ledger.errors import BadSettings, RolledBack
from gateway.ledger.format.head_file import split_notes
from gateway.ledger.format.merkle import HASH_BYTES
from gateway.ledger.format.note import Verifier
from gateway.ledger.readers.verification import Progress, Report, verify
from gateway.ledger.storage.anchor import read_anchor
from gateway.ledger.storage.files import make_folder, sync_folder, write_once
from gateway.ledger.storage.keyring import Keyring
from gateway.ledger.storage.layout import LogLayout

_KINDS = ("seal", "heads", "hashes", "jsonl.zst", "jsonl")


def back_up(layout: LogLayout, verifier: Verifier, to: Path, progress: Progress) -> Report:
    """Copy the log into a new folder and verify the copy; what the copy holds."""
    if to.exists() and any(to.iterdir()):
        raise BadSettings(f"{to} is not empty: a backup goes into a folder of its own")
    copy = LogLayout(to)
    _copy_all(layout, copy)
    return verify(copy, verifier, [], progress)


def restore(source: Path, layout: LogLayout, keyring: Keyring, progress: Progress) -> Report:
    """Verify a backup and put it in place of a log that is gone.

    RolledBack if the keys know a newer head than the backup: going on from there would sign a second history.
    """
    if layout.folder.exists() and any(layout.folder.iterdir()):
        raise BadSettings(f"{layout.folder} is not empty: move it away first, nothing was changed")
    verifier = keyring.verifier()
    report = verify(LogLayout(source), verifier, [], progress)
    known = read_anchor(keyring.anchor, verifier)
    if known is not None and known.size > report.records:
        raise RolledBack(
            f"the backup has {report.records} records, but {known.size} were signed: look for a newer backup; without "
            f"one, keep this to read and begin a new log (docs/audit.md, exit code 11)"
        )
    _copy_all(LogLayout(source), layout)
    return report


def _copy_all(source: LogLayout, copy: LogLayout) -> None:
    make_folder(copy.folder)
    make_folder(copy.segments)
    nodes = source.nodes.read_bytes() if source.nodes.exists() else b""
    first = done = 0
    # A segment that was sealed while we copied is followed by one that was not there when we looked.
    while done < (last := source.numbers()[-1]) and (not done or copy.file(done, "seal").exists()):
        for number in range(done + 1, last + 1):
            _copy_segment(source, copy, number)
            first += _add_heads(source, copy, number, first)
            for torn in source.segments.glob(f"{number:08d}.torn-*"):
                _copy(torn, copy.segments / torn.name)
        done = last
    write_once(copy.nodes, nodes)
    sync_folder(copy.segments)
    _copy(source.marker, copy.marker)  # last: without it the folder is no log yet


def _copy_segment(source: LogLayout, copy: LogLayout, number: int) -> None:
    for kind in _KINDS:
        _copy(source.file(number, kind), copy.file(number, kind))
    if source.file(number, "seal").exists() and not copy.file(number, "seal").exists():
        # Sealed while we copied: heads may have come, and the plain lines may be gone. From now on nothing in it changes.
        for kind in _KINDS:
            copy.file(number, kind).unlink(missing_ok=True)
            _copy(source.file(number, kind), copy.file(number, kind))


def _add_heads(source: LogLayout, copy: LogLayout, number: int, first: int) -> int:
    """Heads that came while the lines were copied and cover no more than these: else records of a minute would have none. Returns
    how many records the copy of the segment has."""
    heads, hashes = (copy.file(number, kind) for kind in ("heads", "hashes"))
    records = hashes.stat().st_size // HASH_BYTES if hashes.exists() else 0
    if copy.file(number, "seal").exists() or not heads.exists() or not records:
        return records
    known = len(split_notes(heads.read_bytes())[0])
    fresh = split_notes(source.file(number, "heads").read_bytes())[0][known:]
    fitting = [note for note in fresh if int(note.split("\n")[1]) <= first + records]
    if known:
        with heads.open("r+b") as file:
            file.truncate(len("".join(split_notes(heads.read_bytes())[0]).encode()))
            file.seek(0, os.SEEK_END)
            file.write("".join(fitting).encode())
            file.flush()
            os.fsync(file.fileno())
    return records


def _copy(source: Path, to: Path) -> None:
    """One file, durable; missing ones stay missing."""
    try:
        data = source.read_bytes()
    except FileNotFoundError:
        return
    descriptor = os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
