"""Small Merkle trees with signed heads and their proofs, made by the definition in RFC 6962, not by the code under test."""

import base64
import hashlib
from collections.abc import Iterator

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

NAME = "tests/tree"


def root(leaves: list[bytes]) -> bytes:
    if len(leaves) == 1:
        return leaves[0]
    split = _split(len(leaves))
    return hashlib.sha256(b"\1" + root(leaves[:split]) + root(leaves[split:])).digest()


def path(leaves: list[bytes], index: int) -> list[bytes]:
    if len(leaves) == 1:
        return []
    split = _split(len(leaves))
    if index < split:
        return [*path(leaves[:split], index), root(leaves[split:])]
    return [*path(leaves[split:], index - split), root(leaves[:split])]


def _split(size: int) -> int:
    """The largest power of two below ``size``."""
    return 1 << ((size - 1).bit_length() - 1)


def proofs(signer: Ed25519PrivateKey, most: int) -> Iterator[tuple[str, str]]:
    """Each leaf's proof in each tree of up to ``most`` leaves, with the public key."""
    key = b"\1" + signer.public_key().public_bytes_raw()
    identity = hashlib.sha256(NAME.encode() + b"\n" + key).digest()[:4]
    public = f"{NAME}+{identity.hex()}+{_b64(key)}"
    records = [b'{"kind":"test","number":%d}' % number for number in range(most)]
    leaves = [hashlib.sha256(b"\0" + record).digest() for record in records]
    for size in range(1, most + 1):
        text = f"{NAME}\n{size}\n{_b64(root(leaves[:size]))}\n"
        note = f"{text}\n\u2014 {NAME} {_b64(identity + signer.sign(text.encode()))}\n"
        for index in range(size):
            steps = "".join(f"{_b64(step)}\n" for step in path(leaves[:size], index))
            yield f"c2sp.org/tlog-proof@v1\nextra {_b64(records[index])}\nindex {index}\n{steps}\n{note}", public


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()
