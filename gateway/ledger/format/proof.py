"""Self-contained proofs that one record is in the log (C2SP tlog-proof v1). Pure; never looks into a log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.ledger.format.checkpoint import TreeHead, open_head
from gateway.ledger.format.merkle import HASH_BYTES, ProofError, check_inclusion
from gateway.ledger.format.note import NoteError, Verifier, b64, unb64

HEADER = "c2sp.org/tlog-proof@v1"
MOST_STEPS = 64


@dataclass(frozen=True)
class InclusionProof:
    """`extra` is not authenticated by the proof: here it carries the record's bytes, whose hash is the leaf."""

    index: int
    path: tuple[bytes, ...]
    checkpoint: str
    extra: bytes | None = None


def format_proof(proof: InclusionProof) -> str:
    lines = [HEADER]
    if proof.extra is not None:
        lines.append(f"extra {b64(proof.extra)}")
    lines.append(f"index {proof.index}")
    lines.extend(b64(step) for step in proof.path)
    return "\n".join(lines) + "\n\n" + proof.checkpoint


def parse_proof(text: str) -> InclusionProof:
    """Strict: what `format_proof` writes and nothing else."""
    head, blank, checkpoint = text.partition("\n\n")
    lines = head.split("\n")
    if not blank or lines.pop(0) != HEADER:
        raise NoteError(f"not a proof: the first line must be {HEADER}")
    extra = None
    if lines and lines[0].startswith("extra "):
        extra = unb64(lines.pop(0).removeprefix("extra "))
    if not lines or not lines[0].startswith("index "):
        raise NoteError("a proof has an index line")
    number = lines.pop(0).removeprefix("index ")
    if not (number.isascii() and number.isdigit()) or (number[0] == "0" and number != "0"):
        raise NoteError("a proof's index is a plain decimal number")
    path = tuple(unb64(line) for line in lines)
    if len(path) > MOST_STEPS or any(len(step) != HASH_BYTES for step in path):
        raise NoteError("a proof's steps are hashes of 32 bytes")
    return InclusionProof(int(number), path, checkpoint, extra)


def check_proof(proof: InclusionProof, leaf: bytes, verifier: Verifier) -> TreeHead:
    """The signed head that covers `leaf` (32 bytes); NoteError or ProofError if it does not."""
    head = open_head(proof.checkpoint, verifier)
    steps: Sequence[bytes] = proof.path
    check_inclusion(proof.index, head.size, leaf, steps, head.root)
    return head


__all__ = ["HEADER", "InclusionProof", "ProofError", "check_proof", "format_proof", "parse_proof"]
