"""Signed notes (C2SP signed-note v1) with Ed25519: text that says who signed it. Never reads a key file.

Two signature types of the specification are used: 0x01 signs the text; 0x04, a cosignature, signs the text together
with a time (C2SP tlog-cosignature v1), which is how a head tells when it was made without a line of its own.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

ED25519 = 0x01
COSIGNATURE = 0x04
MOST_SIGNATURES = 16


class NoteError(ValueError):
    """Not a note, or not signed by the key."""


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def unb64(text: str) -> bytes:
    """Strict: one text for one value, so that no flipped padding bit goes unseen."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise NoteError("not base64") from error
    if b64(data) != text:
        raise NoteError("not canonical base64")
    return data


def check_name(name: str) -> str:
    if not name or "+" in name or not name.isprintable() or any(letter.isspace() for letter in name):
        raise NoteError(f"{name!r} cannot name a key: no spaces, no plus signs, no control characters")
    return name


def key_id(name: str, kind: int, public: bytes) -> bytes:
    """First four bytes of SHA-256(name, newline, signature type, public key)."""
    return sha256(name.encode() + b"\n" + bytes([kind]) + public).digest()[:4]


@dataclass(frozen=True)
class Verifier:
    """A public key with its name; its text form is Go's `name+hash+key`."""

    name: str
    public: bytes

    @classmethod
    def parse(cls, text: str) -> Verifier:
        parts = text.strip().split("+", 2)
        if len(parts) != 3:
            raise NoteError("a public key reads NAME+HASH+KEY")
        name, hexed, coded = parts
        key = unb64(coded)
        if len(key) != 33 or key[0] != ED25519:
            raise NoteError("not an Ed25519 public key")
        if key_id(check_name(name), ED25519, key[1:]).hex() != hexed:
            raise NoteError("the key's hash does not fit its name and bytes")
        return cls(name, key[1:])

    def format(self) -> str:
        return f"{self.name}+{self.key_id(ED25519).hex()}+{b64(bytes([ED25519]) + self.public)}"

    def key_id(self, kind: int) -> bytes:
        return key_id(self.name, kind, self.public)

    def check(self, message: bytes, signature: bytes) -> None:
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except (InvalidSignature, ValueError) as error:
            raise NoteError("the signature does not hold") from error


class Signing(Protocol):
    """Who can sign: a file today, a hardware module tomorrow."""

    @property
    def verifier(self) -> Verifier: ...

    def sign(self, message: bytes) -> bytes: ...


class Signer:
    """An Ed25519 private key with its name."""

    def __init__(self, name: str, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.verifier = Verifier(check_name(name), private.public_key().public_bytes_raw())

    def sign(self, message: bytes) -> bytes:
        return self._private.sign(message)


def cosigned_message(text: str, time_s: int) -> bytes:
    return f"cosignature/v1\ntime {time_s}\n{text}".encode()


def sign_note(text: str, signer: Signing, time_s: int | None = None) -> str:
    """Sign `text` (which ends in a newline); with `time_s` (Unix seconds) a timestamped cosignature follows."""
    if not text.endswith("\n"):
        raise NoteError("a note's text ends in a newline")
    who = signer.verifier
    lines = [_line(who.name, who.key_id(ED25519), signer.sign(text.encode()))]
    if time_s is not None:
        cosignature = time_s.to_bytes(8, "big") + signer.sign(cosigned_message(text, time_s))
        lines.append(_line(who.name, who.key_id(COSIGNATURE), cosignature))
    return text + "\n" + "".join(lines)


def _line(name: str, key: bytes, signature: bytes) -> str:
    return f"— {name} {b64(key + signature)}\n"


@dataclass(frozen=True)
class SignatureLine:
    name: str
    key_id: bytes
    signature: bytes


def parse_note(note: str) -> tuple[str, list[SignatureLine]]:
    """Split a note into its text (with the final newline) and its signature lines. Strict; verifies nothing."""
    if any(ord(letter) < 0x20 and letter != "\n" for letter in note):
        raise NoteError("a note has no control characters")
    body, blank, tail = note.rpartition("\n\n")
    if not blank or not tail.endswith("\n"):
        raise NoteError("a note is a text, an empty line and signatures")
    lines = tail[:-1].split("\n")
    if not 1 <= len(lines) <= MOST_SIGNATURES:
        raise NoteError(f"a note has 1 to {MOST_SIGNATURES} signatures")
    return body + "\n", [_parse_line(line) for line in lines]


def _parse_line(line: str) -> SignatureLine:
    dash, _, rest = line.partition(" ")
    name, _, coded = rest.partition(" ")
    signature = unb64(coded)
    if dash != "—" or len(signature) < 5:
        raise NoteError("not a signature line")
    return SignatureLine(check_name(name), signature[:4], signature[4:])


def open_note(note: str, verifier: Verifier) -> tuple[str, int | None]:
    """The text of a note and the time of its cosignature (None without one), if `verifier` signed it.

    Signatures of others are ignored, as the specification asks; one of ours that does not hold spoils the note.
    """
    text, lines = parse_note(note)
    plain, time_s = False, None
    for line in lines:
        if line.name != verifier.name:
            continue
        if line.key_id == verifier.key_id(ED25519):
            verifier.check(text.encode(), line.signature)
            plain = True
        elif line.key_id == verifier.key_id(COSIGNATURE):
            time_s = int.from_bytes(line.signature[:8], "big")
            verifier.check(cosigned_message(text, time_s), line.signature[8:])
    if not plain:
        raise NoteError(f"not signed by {verifier.name} with key {verifier.key_id(ED25519).hex()}")
    return text, time_s
