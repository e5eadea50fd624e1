#!/usr/bin/env python3
"""Check a receipt of an audit log: one file, for auditors; needs Python 3.9 and `cryptography`, nothing else.

    python verify_proof.py PROOF.tlog-proof --key KEYFILE_OR_TEXT [--record RECORD.json | --leaf BASE64]
    python verify_proof.py RECEIPT.json --key KEYFILE_OR_TEXT [--leaf BASE64]

A receipt is the JSON that GET /v1/audit/receipts/ID answers: all its proofs are checked, and that each is of this exchange. The key
in it is not believed: give the one that you had before.

It reads no other file, writes none and never opens a connection. Exit code 0: the record is in the log that the key's
owner signed. 10: it is not, or something was changed. 64: called wrongly.

What is checked, in this order (each step is one function below, to be read top to bottom):
1. the proof is in the format of C2SP tlog-proof v1;
2. its checkpoint carries an Ed25519 signature of the key given (C2SP signed-note, tlog-checkpoint);
3. the leaf hash is SHA-256(0x00 || record), where the record is the proof's `extra` line or the file given;
4. the path of RFC 6962 leads from that leaf to the signed root.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import sys
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


class ProofRefused(Exception):
    """The proof does not hold."""


def decode(text: str) -> bytes:
    """Base64, strictly: each value has one spelling."""
    data = base64.b64decode(text.encode("ascii"), validate=True)
    if base64.b64encode(data).decode("ascii") != text:
        raise ProofRefused("base64 that is not canonical")
    return data


def decimal(text: str) -> int:
    """A plain decimal number without leading zeroes."""
    if not (text.isascii() and text.isdigit()) or (len(text) > 1 and text[0] == "0"):
        raise ProofRefused("a number that is not plain decimal")
    return int(text)


def read_key(text: str) -> tuple[str, bytes, bytes]:
    """NAME+HASH+BASE64(0x01 || Ed25519 public key) -> (name, key id, public key)."""
    name, hexed, coded = text.strip().split("+", 2)
    key = decode(coded)
    key_id = hashlib.sha256(name.encode() + b"\n" + key).digest()[:4]
    if len(key) != 33 or key[0] != 1 or key_id.hex() != hexed:
        raise ProofRefused("not an Ed25519 public key of the form NAME+HASH+KEY")
    return name, key_id, key[1:]


def read_proof(text: str) -> tuple[bytes | None, int, list[bytes], str]:
    """-> (record or None, index, path, checkpoint)"""
    head, blank, checkpoint = text.partition("\n\n")
    lines = head.split("\n")
    if not blank or lines.pop(0) != "c2sp.org/tlog-proof@v1":
        raise ProofRefused("not a tlog-proof")
    record = None
    if lines and lines[0].startswith("extra "):
        record = decode(lines.pop(0)[len("extra ") :])
    if not lines or not lines[0].startswith("index "):
        raise ProofRefused("no index line")
    index = decimal(lines.pop(0)[len("index ") :])
    path = [decode(line) for line in lines]
    if any(len(step) != 32 for step in path):
        raise ProofRefused("a step that is not 32 bytes")
    return record, index, path, checkpoint


def read_checkpoint(note: str, key: tuple[str, bytes, bytes]) -> tuple[str, int, bytes]:
    """Verify the signature, then -> (origin, size, root)."""
    name, key_id, public = key
    body, blank, signatures = note.rpartition("\n\n")
    if not blank or not signatures.endswith("\n"):
        raise ProofRefused("not a signed note")
    text = body + "\n"
    for line in signatures[:-1].split("\n"):
        dash, signer, coded = line.split(" ", 2)
        signature = decode(coded)
        if dash == "\u2014" and signer == name and signature[:4] == key_id:
            Ed25519PublicKey.from_public_bytes(public).verify(signature[4:], text.encode())
            break
    else:
        raise ProofRefused("the checkpoint is not signed by this key")
    lines = body.split("\n")
    if len(lines) < 3 or lines[0] != name:
        raise ProofRefused("a checkpoint of another log")
    root = decode(lines[2])
    if len(root) != 32:
        raise ProofRefused("a root that is not 32 bytes")
    return lines[0], decimal(lines[1]), root


def root_from(leaf: bytes, index: int, size: int, path: list[bytes]) -> bytes:
    """Walk from the leaf to the root (RFC 9162 section 2.1.3.2, the same tree as RFC 6962)."""
    if not 0 <= index < size:
        raise ProofRefused("the index is outside the tree")
    position, last, found = index, size - 1, leaf
    for step in path:
        if last == 0:
            raise ProofRefused("the path is too long")
        if position & 1 or position == last:
            found = hashlib.sha256(b"\x01" + step + found).digest()
            while position and not position & 1:
                position >>= 1
                last >>= 1
        else:
            found = hashlib.sha256(b"\x01" + found + step).digest()
        position >>= 1
        last >>= 1
    if last != 0:
        raise ProofRefused("the path is too short")
    return found


def check(
    proof_text: str, key_text: str, record: bytes | None = None, leaf: bytes | None = None
) -> tuple[str, int, int, bytes | None]:
    """-> (origin, index, size, record or None); raises ProofRefused."""
    try:
        inside, index, path, note = read_proof(proof_text)
        origin, size, root = read_checkpoint(note, read_key(key_text))
    except (ValueError, InvalidSignature) as error:
        raise ProofRefused("malformed, or a signature that does not hold") from error
    record = inside if record is None else record
    hashed = leaf if record is None else hashlib.sha256(b"\x00" + record).digest()
    if hashed is None:
        raise ProofRefused("nothing to check: the proof has no extra line; give --record or --leaf")
    if leaf is not None and leaf != hashed:
        raise ProofRefused("the record is not the one of that leaf")
    if root_from(hashed, index, size, path) != root:
        raise ProofRefused("the path does not lead to the signed root")
    return origin, index, size, record


def check_receipt(text: str, key_text: str, leaf: bytes | None) -> list[tuple[str, int, int, bytes | None]]:
    """All proofs of a receipt, each as `check` gives it; one of them is of `leaf`, if that is given."""
    try:
        receipt = json.loads(text)
        proofs, identity = receipt["proofs"], receipt["id"]
        found = [check(proof, key_text) for proof in proofs]
    except (KeyError, TypeError, AttributeError) as error:
        raise ProofRefused("not a receipt with proofs: ask again when its state is found") from error
    records = [record for _, _, _, record in found if record is not None]
    if not found or any(json.loads(record).get("id") != identity for record in records):
        raise ProofRefused("the proofs are not of the exchange that the receipt names")
    if leaf is not None and leaf not in [hashlib.sha256(b"\x00" + record).digest() for record in records]:
        raise ProofRefused("no record of the receipt is the one of that leaf")
    return found


def shown(text: str) -> str:
    """The text with what could steer a terminal escaped; a record that Vitrine wrote stays what it is."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Check that a record is in a signed audit log.")
    parser.add_argument("proof", help="file with the proof or the receipt's JSON, or - for standard input")
    parser.add_argument("--key", required=True, help="the log's public key, NAME+HASH+KEY, or a file with it")
    parser.add_argument("--record", help="file with the record's exact bytes, if the proof does not carry them")
    parser.add_argument("--leaf", help="the leaf hash in base64, as the X-Audit-Leaf header gave it")
    try:
        given = parser.parse_args(arguments)
    except SystemExit as stop:
        return 64 if stop.code else 0
    try:
        proof = sys.stdin.read() if given.proof == "-" else Path(given.proof).read_bytes().decode()
        key = given.key if "+" in given.key and not Path(given.key).exists() else Path(given.key).read_text()
        record = Path(given.record).read_bytes().rstrip(b"\n") if given.record else None
        leaf = decode(given.leaf) if given.leaf else None
        whole = proof.lstrip().startswith("{")
        found = check_receipt(proof, key, leaf) if whole else [check(proof, key, record, leaf)]
    except OSError as error:
        print(f"cannot read: {shown(str(error))}", file=sys.stderr)
        return 64
    except (ProofRefused, ValueError) as error:
        print(f"REFUSED: {error}", file=sys.stderr)
        return 10
    for origin, index, size, record in found:
        print(f"OK: record {index} is in {shown(origin)} as signed at {size} records.")
        if record is not None:
            print(shown(record.decode("utf-8", "backslashreplace")))
    return 0


if __name__ == "__main__":
    sys.exit(main())
