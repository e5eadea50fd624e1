"""Names of a log folder's files and how the folder tells what it is. Never opens a log for writing.

ledger                    a signed note: this folder is the log ORIGIN, format 1
nodes                     the root of each full run of 256 leaves, 32 bytes each (derived, checked against heads)
segments/NNNNNNNN.jsonl   records, one a line (.jsonl.zst once sealed)
         NNNNNNNN.hashes  leaf hashes, 32 bytes a record
         NNNNNNNN.heads   every signed head made while the segment was open
         NNNNNNNN.seal    a signed note: counts and digests of a segment that will not change any more
         NNNNNNNN.torn-N  bytes that a crash left behind record N, cut off and kept
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from gateway.ledger.errors import Tampered, Unreadable
from gateway.ledger.format.note import NoteError, Signing, Verifier, open_note, sign_note

FORMAT = 1
_SEGMENT_FILE = re.compile(r"([0-9]{8})\.(jsonl|jsonl\.zst|hashes|heads|seal|torn-[0-9]+)(\.new)?")


@dataclass(frozen=True)
class LogLayout:
    """Paths of the log in `folder`."""

    folder: Path

    @property
    def marker(self) -> Path:
        return self.folder / "ledger"

    @property
    def nodes(self) -> Path:
        return self.folder / "nodes"

    @property
    def segments(self) -> Path:
        return self.folder / "segments"

    def file(self, segment: int, kind: str) -> Path:
        return self.segments / f"{segment:08d}.{kind}"

    def numbers(self) -> list[int]:
        """Segments that have any file, ascending; Unreadable if the folder holds something that is no part of a log."""
        found = set()
        try:
            names = sorted(path.name for path in self.segments.iterdir())
        except OSError as error:
            raise Unreadable(f"cannot read {self.segments}: {error.strerror}") from error
        for name in names:
            match = _SEGMENT_FILE.fullmatch(name)
            if match is None:
                raise Unreadable(f"{self.segments / name} is no part of a ledger: move it away, then try again")
            found.add(int(match[1]))
        return sorted(found)


def marker_note(origin: str, signer: Signing) -> str:
    return sign_note(f"vitrine ledger\nformat {FORMAT}\norigin {origin}\n", signer)


def read_origin(layout: LogLayout, verifier: Verifier) -> str:
    """Check that the folder is a log of this version, signed by this key; give its origin."""
    path = layout.marker
    try:
        note = path.read_bytes().decode()
    except FileNotFoundError as error:
        raise Unreadable(f"{layout.folder} is not a ledger: it has no file {path.name!r}") from error
    except OSError as error:
        raise Unreadable(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise Tampered(f"{path} is not the text that was signed") from error
    lines = note.split("\n")
    if lines[0] != "vitrine ledger" and "vitrine" not in lines[0]:
        raise Unreadable(f"{layout.folder} is not a ledger: {path} does not say so")
    if len(lines) > 1 and re.fullmatch(r"format [0-9]+", lines[1]) and int(lines[1][7:]) > FORMAT:
        raise Unreadable(f"{layout.folder} is of format {lines[1][7:]}, this program knows {FORMAT}: use a newer one")
    try:
        text, _ = open_note(note, verifier)
    except NoteError as error:
        raise Tampered(f"{path} does not verify ({error}): is this the log's public key?") from error
    expected = f"vitrine ledger\nformat {FORMAT}\norigin {verifier.name}\n"
    if text != expected:
        raise Tampered(f"{path} was signed for another log")
    return verifier.name
