"""Keyed digests of contents: HMAC(record key, SHA-256(content)). Never sees a content, only its SHA-256.

    root key ──HKDF-Extract(salt = the epoch's secret)──► epoch key ──HKDF-Expand(info = the record's id)──► record key

Both steps are RFC 5869 with SHA-256; a record key is one HMAC, a digest a second. Without the epoch's secret the root
key gives nothing: deleting the secret shreds that epoch's digests.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable

from gateway.ledger.errors import BadSettings

PLAIN = "plain"  # the epoch of a record whose digests are bare SHA-256
_INFO = b"vitrine record key v1 "

EpochSecret = Callable[[str], bytes]


def epoch_key(root: bytes, secret: bytes) -> bytes:
    """HKDF-Extract: 32 bytes from the root key and the epoch's own secret."""
    return hmac.digest(secret, root, "sha256")


def record_key(epoch: bytes, identity: str) -> bytes:
    """HKDF-Expand to one block: the 32 bytes that open the digests of one record and of no other."""
    return hmac.digest(epoch, _info(identity), "sha256")


def _info(identity: str) -> bytes:
    return _INFO + identity.encode("ascii") + b"\x01"


def keyed(record: bytes, content_sha256: bytes) -> str:
    """The digest as the log shows it, 64 hexadecimal characters."""
    return hmac.digest(record, content_sha256, "sha256").hex()


class Digester:
    """Gives each new record its epoch and its way to digest."""

    def __init__(
        self,
        root: bytes | None,
        secret_of: EpochSecret,
        epoch_of: Callable[[int], str],
        name_of: Callable[[str], str] = str,
        old_secret_of: EpochSecret | None = None,
    ) -> None:
        """`root` None means plain SHA-256; `epoch_of` maps Unix milliseconds to a month or day, `name_of` that to the name of an
        epoch that was not shredded. `secret_of` may make a secret, `old_secret_of` never does."""
        self._root = root
        self._secret_of = secret_of
        self._epoch_of = epoch_of
        self._name_of = name_of
        self._old_secret_of = old_secret_of or secret_of
        self._span = ""  # the month or day that `_epoch` is for
        self._epoch = PLAIN
        self._keyed = hmac.new(b"", digestmod="sha256")  # with the epoch's key; a copy costs a third of a new one

    def open(self, identity: str, time_ms: int) -> RecordDigests:
        """Digests for the record `identity` made at `time_ms`."""
        if self._root is None:
            return RecordDigests(PLAIN, None)
        span = self._epoch_of(time_ms)
        if span != self._span:
            epoch = self._name_of(span)
            self._keyed = hmac.new(epoch_key(self._root, self._secret_of(epoch)), digestmod="sha256")
            self._span, self._epoch = span, epoch
        return RecordDigests(self._epoch, self._record_key(identity))

    def forget(self) -> None:
        """The newest epoch was shredded, or may have been: the next record gets a name and a secret that are looked up anew."""
        self._span, self._epoch = "", PLAIN
        self._keyed = hmac.new(b"", digestmod="sha256")

    def reopen(self, identity: str, epoch: str, time_ms: int = 0) -> RecordDigests:
        """Digests for a later record of the same exchange: the same key, also when an epoch has ended meanwhile. Where it was
        shredded the record gets the newest epoch, as one of `time_ms`."""
        if epoch == PLAIN or self._root is None:
            return RecordDigests(PLAIN, None)
        if epoch == self._epoch:
            return RecordDigests(epoch, self._record_key(identity))
        try:
            secret = self._old_secret_of(epoch)
        except BadSettings:
            return self.open(identity, time_ms)
        return RecordDigests(epoch, record_key(epoch_key(self._root, secret), identity))

    def _record_key(self, identity: str) -> bytes:
        """`record_key` with the newest epoch's key."""
        copy = self._keyed.copy()
        copy.update(_info(identity))
        return copy.digest()


class RecordDigests:
    """The digests of one record."""

    __slots__ = ("_key", "epoch")

    def __init__(self, epoch: str, key: bytes | None) -> None:
        self.epoch = epoch
        self._key = key

    def of(self, content_sha256: bytes) -> str:
        return content_sha256.hex() if self._key is None else keyed(self._key, content_sha256)
