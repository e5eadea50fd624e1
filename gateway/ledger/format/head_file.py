"""The file of signed heads of a segment: notes one after the other. Never forgives a byte before the torn end.

Each note has six lines, the last two our Ed25519 signature and our timestamped cosignature, so that a stored head has
one spelling. A crash may leave a beginning of a note at the end of the last file; anything else there was changed.
"""

from __future__ import annotations

import re

from gateway.ledger.errors import Tampered
from gateway.ledger.format.checkpoint import TreeHead, parse_text, sign_head
from gateway.ledger.format.note import COSIGNATURE, ED25519, NoteError, Signing, Verifier, cosigned_message, parse_note

LINES = 6
_FORMS = (r"[0-9]{1,19}", r"[A-Za-z0-9+/]{43}=", r"", r"[A-Za-z0-9+/]{91}=", r"[A-Za-z0-9+/]{102}==")
_BEGUN = {
    "": r"",
    _FORMS[0]: r"[0-9]{0,19}",
    _FORMS[1]: r"[A-Za-z0-9+/]{0,43}|[A-Za-z0-9+/]{43}=",
    _FORMS[3]: r"[A-Za-z0-9+/]{0,91}|[A-Za-z0-9+/]{91}=",
    _FORMS[4]: r"[A-Za-z0-9+/]{0,102}|[A-Za-z0-9+/]{102}={1,2}",
}


def sign_stored(head: TreeHead, signer: Signing) -> bytes:
    return sign_head(head, signer).encode()


def open_stored(note: str, verifier: Verifier) -> TreeHead:
    """One stored head, both signatures verified; NoteError otherwise."""
    text, lines = parse_note(note)
    kinds = [(verifier.name, verifier.key_id(kind)) for kind in (ED25519, COSIGNATURE)]
    if [(line.name, line.key_id) for line in lines] != kinds or text.count("\n") != 3:
        raise NoteError("a stored head carries exactly our two signatures")
    time_s = int.from_bytes(lines[1].signature[:8], "big")
    verifier.check(text.encode(), lines[0].signature)
    verifier.check(cosigned_message(text, time_s), lines[1].signature[8:])
    head = parse_text(text)
    if head.origin != verifier.name:
        raise NoteError("a head of another log")
    return TreeHead(head.origin, head.size, head.root, time_s)


def split_notes(data: bytes) -> tuple[list[str], bytes]:
    """The whole notes in a file of heads, and the bytes that follow the last whole one."""
    lines = data.split(b"\n")
    whole = (len(lines) - 1) // LINES
    try:
        notes = ["".join(line.decode() + "\n" for line in lines[at * LINES : (at + 1) * LINES]) for at in range(whole)]
    except UnicodeDecodeError as error:
        raise Tampered("a head is not the text that was signed") from error
    return notes, b"\n".join(lines[whole * LINES :])


def is_beginning(rest: bytes, verifier: Verifier) -> bool:
    """Whether `rest` can be what a crash left of a note: a true beginning of one, shorter than a whole one."""
    for cut in (b"\xe2\x80", b"\xe2"):  # a crash within the em dash of a signature line
        if rest.endswith(b"\n" + cut):
            rest = rest[: -len(cut)]
    try:
        *whole, last = rest.decode().split("\n")
    except UnicodeDecodeError:
        return False
    dash = f"— {verifier.name} "
    forms = [(verifier.name, ""), *(("", form) for form in _FORMS[:3]), *((dash, form) for form in _FORMS[3:])]
    if len(whole) >= LINES:
        return False
    for line, (start, form) in zip(whole, forms, strict=False):
        if not re.fullmatch(re.escape(start) + form, line):
            return False
    start, form = forms[len(whole)]
    if len(last) <= len(start):
        return start.startswith(last)
    return last.startswith(start) and re.fullmatch(_BEGUN[form], last[len(start) :]) is not None


def read_heads(data: bytes, verifier: Verifier, *, last: bool) -> tuple[list[TreeHead], int]:
    """All heads in a file, verified, and the number of torn bytes at its end (allowed only in the `last` file)."""
    notes, rest = split_notes(data)
    try:
        heads = [open_stored(note, verifier) for note in notes]
    except (NoteError, ValueError) as error:
        raise Tampered(f"a stored head does not verify: {error}") from error
    if rest and not (last and is_beginning(rest, verifier)):
        raise Tampered("there are bytes behind the last stored head that are no part of a head")
    return heads, len(rest)


def last_head(data: bytes, verifier: Verifier) -> tuple[TreeHead | None, int]:
    """Only the last head of a growing file, verified, and the torn bytes behind it."""
    notes, rest = split_notes(data)
    if rest and not is_beginning(rest, verifier):
        raise Tampered("there are bytes behind the last stored head that are no part of a head")
    if not notes:
        return None, len(rest)
    try:
        return open_stored(notes[-1], verifier), len(rest)
    except (NoteError, ValueError) as error:
        raise Tampered(f"the last stored head does not verify: {error}") from error
