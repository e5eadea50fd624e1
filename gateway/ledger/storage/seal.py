"""Sealing a closed segment: its digests in a signed note, its lines compressed. Never touches an open segment.

The order matters: the compressed file is durable and read back before the note names it, and the note is durable before
the plain lines are removed. A crash in between is finished by doing it all again.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from gateway.ledger.errors import Tampered
from gateway.ledger.format.merkle import HASH_BYTES, leaf_hash
from gateway.ledger.format.note import NoteError, Signing, Verifier, open_note, sign_note
from gateway.ledger.format.record import decode_header
from gateway.ledger.storage.files import replace, sync_folder
from gateway.ledger.storage.layout import LogLayout

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MOST_SEGMENT_BYTES = 4 << 30


@dataclass(frozen=True)
class Seal:
    """What is fixed about a segment: counts in records and bytes, SHA-256 in hexadecimal, times in Unix ms."""

    origin: str
    segment: int
    first: int
    records: int
    bytes: int
    lines: str
    hashes: str
    heads: str
    stored: str
    from_ms: int
    to_ms: int

    def text(self) -> str:
        fields = [f"{name} {getattr(self, name)}" for name in _FIELDS]
        return "vitrine seal\n" + "\n".join(fields) + "\n"


_FIELDS = ("origin", "segment", "first", "records", "bytes", "lines", "hashes", "heads", "stored", "from_ms", "to_ms")


def parse_seal(note: bytes, verifier: Verifier) -> Seal:
    """Read and verify a seal; Tampered if it is not exactly what was signed."""
    try:
        text, _ = open_note(note.decode(), verifier)
        lines = text.split("\n")
        found = dict(line.split(" ", 1) for line in lines[1:-1])
        numbers = {name: int(found[name]) for name in ("segment", "first", "records", "bytes", "from_ms", "to_ms")}
        fields: dict[str, Any] = {**found, **numbers}
        seal = Seal(**fields)
    except (NoteError, ValueError, KeyError, TypeError) as error:
        raise Tampered(f"a seal does not verify: {error}") from error
    if seal.text() != text or sign_lines(note) != 1:
        raise Tampered("a seal is not in the form that we write")
    return seal


def sign_lines(note: bytes) -> int:
    return note.rpartition(b"\n\n")[2].count(b"\n")


def read_seal(layout: LogLayout, number: int, verifier: Verifier) -> Seal | None:
    """The seal of a segment, or None while it has none."""
    path = layout.file(number, "seal")
    if not path.exists():
        return None
    seal = parse_seal(path.read_bytes(), verifier)
    if seal.segment != number:
        raise Tampered(f"{path} is the seal of segment {seal.segment}")
    return seal


def compress(data: bytes) -> bytes:
    return zstd.compress(data, options={zstd.CompressionParameter.checksum_flag: 1})


def decompress(data: bytes, expected_bytes: int) -> bytes:
    """At most the bytes that the seal promises, so that no file can fill the memory."""
    decompressor = zstd.ZstdDecompressor()
    try:
        plain = decompressor.decompress(data, max_length=expected_bytes + 1)
    except zstd.ZstdError as error:
        raise Tampered(f"a compressed segment cannot be read: {error}") from error
    if len(plain) != expected_bytes or not decompressor.eof or decompressor.unused_data:
        raise Tampered("a compressed segment does not hold what its seal says")
    return plain


def seal_segment(layout: LogLayout, number: int, first: int, signer: Signing, *, compressed: bool) -> Seal:
    """Seal a closed segment, or finish doing so. Reads the whole segment; safe to run beside the writer."""
    plain_path = layout.file(number, "jsonl")
    plain = plain_path.read_bytes()
    hashes = layout.file(number, "hashes").read_bytes()
    lines = plain.split(b"\n")[:-1]
    if b"".join(leaf_hash(line) for line in lines) != hashes:
        raise Tampered(f"{plain_path} does not fit its hashes: it will not be sealed")
    stored = compress(plain) if compressed else plain
    if compressed:
        path = layout.file(number, "jsonl.zst")
        replace(path, stored)
        stored = path.read_bytes()
        if decompress(stored, len(plain)) != plain:
            raise Tampered(f"{path} did not come back as it was written")
    seal = Seal(
        origin=signer.verifier.name,
        segment=number,
        first=first,
        records=len(hashes) // HASH_BYTES,
        bytes=len(plain),
        lines=sha256(plain).hexdigest(),
        hashes=sha256(hashes).hexdigest(),
        heads=sha256(layout.file(number, "heads").read_bytes()).hexdigest(),
        stored=sha256(stored).hexdigest(),
        from_ms=decode_header(lines[0]).time_ms,
        to_ms=decode_header(lines[-1]).time_ms,
    )
    replace(layout.file(number, "seal"), sign_note(seal.text(), signer).encode())
    if compressed:
        plain_path.unlink()
        sync_folder(layout.segments)
    return seal


def finish_removal(layout: LogLayout, number: int) -> None:
    """After a crash between the seal and the removal of the plain lines."""
    plain, packed = layout.file(number, "jsonl"), layout.file(number, "jsonl.zst")
    if plain.exists() and packed.exists():
        plain.unlink()
        sync_folder(layout.segments)


def stored_file(layout: LogLayout, number: int) -> Path | None:
    """The file that has the segment's lines, or None if it was pruned."""
    for kind in ("jsonl", "jsonl.zst"):
        path = layout.file(number, kind)
        if path.exists():
            return path
    return None
