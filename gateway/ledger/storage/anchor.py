"""Heads kept elsewhere: what another place knows of the log, the log must still be. Never holds a key.

An anchor is a file with one checkpoint. The writer keeps one beside its keys; more can lie on other hosts or on storage
that is written once. An anchor is written only after its head is durable in the log, so it is never ahead of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from gateway.ledger.errors import RolledBack, Tampered, Unreadable
from gateway.ledger.format.checkpoint import TreeHead, open_head
from gateway.ledger.format.note import NoteError, Verifier
from gateway.ledger.storage.files import replace


def read_anchor(path: Path, verifier: Verifier) -> TreeHead | None:
    """The head that an anchor knows; None if there is no such file."""
    try:
        return open_head(path.read_bytes().decode(), verifier)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Unreadable(f"cannot read the anchor {path}: {error.strerror}") from error
    except (NoteError, ValueError) as error:
        raise Tampered(f"the anchor {path} does not verify: {error}") from error


def check_head(head: TreeHead, known_as: str, signed: int, root_at: Callable[[int], bytes]) -> None:
    """Check that a log whose last head is over `signed` records, and whose roots `root_at` gives, continues `head`."""
    if head.size > signed:
        raise RolledBack(f"{known_as} knows {head.size} records, the log's own heads {signed}: it was rolled back")
    if root_at(head.size) != head.root:
        raise Tampered(f"{known_as} knows another history of the first {head.size} records")


def check_anchors(
    anchors: Sequence[Path], verifier: Verifier, signed: int, root_at: Callable[[int], bytes]
) -> list[TreeHead]:
    """Check the log against every anchor that exists; the heads that were found."""
    found = []
    for path in anchors:
        head = read_anchor(path, verifier)
        if head is not None:
            check_head(head, f"the anchor {path}", signed, root_at)
            found.append(head)
    return found


def write_anchor(path: Path, checkpoint: str) -> None:
    """Put a checkpoint in place of the one before, durably."""
    replace(path, checkpoint.encode(), mode=0o644)
