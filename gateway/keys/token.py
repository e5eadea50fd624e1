"""The form of an API key: ``vt_``, 256 random bits, a checksum; pure, knows no store.

The prefix lets secret scanners recognise a leaked key; the checksum lets a typing mistake be told from a wrong key
without asking anybody.
"""

import hashlib
import secrets
import zlib

PREFIX = "vt_"
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SECRET_LENGTH = 43  # 62**43 > 2**256
_CHECKSUM_LENGTH = 6  # 62**6 > 2**32
LENGTH = len(PREFIX) + _SECRET_LENGTH + _CHECKSUM_LENGTH


def make() -> str:
    """A new key of ``LENGTH`` characters."""
    secret = PREFIX + _base62(secrets.randbits(256), _SECRET_LENGTH)
    return secret + _checksum(secret)


def well_formed(key: str) -> bool:
    """Whether this has a key's prefix, length and checksum."""
    return len(key) == LENGTH and key.startswith(PREFIX) and key.isascii() and key[-6:] == _checksum(key[:-6])


def digest(key: str) -> bytes:
    """What the store keeps of a key: SHA-256. No salt and no stretching are needed for 256 random bits."""
    return hashlib.sha256(key.encode()).digest()


def _checksum(text: str) -> str:
    return _base62(zlib.crc32(text.encode()), _CHECKSUM_LENGTH)


def _base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
