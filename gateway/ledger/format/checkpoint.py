"""Signed tree heads (C2SP tlog-checkpoint): origin, size, root. Never extension lines, never a file."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.ledger.format.merkle import HASH_BYTES
from gateway.ledger.format.note import NoteError, Signing, Verifier, b64, open_note, sign_note, unb64


@dataclass(frozen=True)
class TreeHead:
    """One head of the tree; `time_s` (Unix seconds) is what its cosignature says, None without one."""

    origin: str
    size: int
    root: bytes
    time_s: int | None = None

    def text(self) -> str:
        return f"{self.origin}\n{self.size}\n{b64(self.root)}\n"


def sign_head(head: TreeHead, signer: Signing) -> str:
    """The head as a checkpoint; timestamped when `head.time_s` is set."""
    return sign_note(head.text(), signer, head.time_s)


def parse_text(text: str) -> TreeHead:
    """Read a checkpoint's text (its first three lines; extension lines are allowed and ignored)."""
    lines = text.split("\n")
    if len(lines) < 4 or lines[-1] or not all(lines[:-1]):
        raise NoteError("a checkpoint has at least three lines, none of them empty")
    origin, size, root = lines[0], lines[1], unb64(lines[2])
    if not (size.isascii() and size.isdigit()) or (size[0] == "0" and size != "0"):
        raise NoteError("a checkpoint's size is a plain decimal number")
    if len(root) != HASH_BYTES:
        raise NoteError("a checkpoint's root is 32 bytes")
    return TreeHead(origin, int(size), root)


def open_head(note: str, verifier: Verifier) -> TreeHead:
    """Read and verify one checkpoint of the log that `verifier` names."""
    text, time_s = open_note(note, verifier)
    head = parse_text(text)
    if head.origin != verifier.name:
        raise NoteError(f"a checkpoint of {head.origin}, not of {verifier.name}")
    return TreeHead(head.origin, head.size, head.root, time_s)
