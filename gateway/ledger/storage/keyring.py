"""The ledger's secrets on disk, in a folder apart from the log. The only module that reads or writes a private key.

signing.pem   Ed25519 private key of the log (PKCS 8)        public.key   its public key, NAME+HASH+KEY
root.key      32 random bytes; with an epoch's secret it opens that epoch's digests
epochs/NAME   32 random bytes each; an empty file where an epoch was shredded, so that no secret gets this name again
head          every head that the writer signed: the local anchor
"""

from __future__ import annotations

import os
import re
import secrets
import stat
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from gateway.ledger.errors import BadSettings
from gateway.ledger.format.digest import PLAIN
from gateway.ledger.format.note import NoteError, Signer, Verifier
from gateway.ledger.storage.files import make_folder, write_once

SECRET_BYTES = 32
_EPOCH = re.compile(r"[0-9]{4}-[0-9]{2}(-[0-9]{2})?(\.[0-9]{1,4})?")


class Keyring:
    """Keys of one log; `folder` is `ledger-keys/`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def anchor(self) -> Path:
        return self.folder / "head"

    def exists(self) -> bool:
        return (self.folder / "signing.pem").exists()

    def make(self, origin: str) -> None:
        """Make all keys of a new log named `origin`; never overwrites one."""
        make_folder(self.folder)
        make_folder(self.folder / "epochs")
        private = Ed25519PrivateKey.generate()
        pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        write_once(self.folder / "root.key", secrets.token_bytes(SECRET_BYTES))
        write_once(self.folder / "public.key", (Signer(origin, private).verifier.format() + "\n").encode(), mode=0o644)
        write_once(self.folder / "signing.pem", pem)

    def verifier(self) -> Verifier:
        return read_verifier(self.folder / "public.key")

    def signer(self) -> Signer:
        """The private key, checked against the public one beside it."""
        path = self.folder / "signing.pem"
        try:
            private = load_pem_private_key(_read_private(path), password=None)
        except ValueError as error:
            raise BadSettings(
                f"{path} is not an unencrypted Ed25519 key in PEM: restore it from your backup"
            ) from error
        if not isinstance(private, Ed25519PrivateKey):
            raise BadSettings(f"{path} is not an Ed25519 key: restore it from your backup")
        public = self.verifier()
        signer = Signer(public.name, private)
        if signer.verifier != public:
            raise BadSettings(f"{path} and public.key are not a pair: restore both from the same backup")
        return signer

    def root(self) -> bytes:
        path = self.folder / "root.key"
        key = _read_private(path)
        if len(key) != SECRET_BYTES:
            raise BadSettings(f"{path} must hold {SECRET_BYTES} bytes, not {len(key)}: restore it from your backup")
        return key

    def has(self, epoch: str) -> bool:
        """Whether there is a secret that opens this epoch's digests."""
        return epoch in self.epochs()

    def current(self, epoch: str) -> str:
        """The name for new digests in a month or day: `2026-11.2` where the secret `2026-11` was shredded meanwhile."""
        name, turn = epoch, 1
        while self._epoch_path(name).exists() and not self.has(name):
            turn += 1
            name = f"{epoch}.{turn}"
        return name

    def secret(self, epoch: str) -> bytes:
        """The secret of an existing epoch; BadSettings if it was shredded or is missing."""
        if self._epoch_path(epoch).exists() and not self.has(epoch):
            raise BadSettings(f"the secret of epoch {epoch} was shredded: its digests can't be opened any more")
        secret = _read_private(self._epoch_path(epoch))
        if len(secret) != SECRET_BYTES:
            raise BadSettings(f"the secret of epoch {epoch} must hold {SECRET_BYTES} bytes")
        return secret

    def secret_or_new(self, epoch: str) -> bytes:
        """The secret of an epoch, made and synced on first use (before any digest made with it is)."""
        path = self._epoch_path(epoch)
        if not path.exists():
            write_once(path, secrets.token_bytes(SECRET_BYTES))
        return self.secret(epoch)

    def epochs(self) -> list[str]:
        found = [path for path in (self.folder / "epochs").iterdir() if _EPOCH.fullmatch(path.name)]
        return sorted(path.name for path in found if not _is_shredded(path))

    def shred(self, epoch: str) -> None:
        """Overwrite an epoch's secret: nobody can tie a content to that epoch's digests any more. The empty file stays."""
        path = self._epoch_path(epoch)
        if not self.has(epoch):
            raise BadSettings(f"there is no epoch {epoch}: `epochs` lists those that are left")
        with path.open("r+b") as secret:
            secret.write(bytes(SECRET_BYTES))
            secret.flush()
            os.fsync(secret.fileno())
            secret.truncate(0)
            os.fsync(secret.fileno())

    def _epoch_path(self, epoch: str) -> Path:
        if epoch == PLAIN or not _EPOCH.fullmatch(epoch):
            raise BadSettings(f"{epoch!r} is not the name of an epoch (YYYY-MM)")
        return self.folder / "epochs" / epoch


def read_verifier(source: Path | str) -> Verifier:
    """A public key from a file, or from its text NAME+HASH+KEY."""
    try:
        text = source.read_text("ascii") if isinstance(source, Path) else source
        return Verifier.parse(text)
    except OSError as error:
        raise BadSettings(f"cannot read the public key {source}: {error.strerror}; give it with --key") from error
    except (NoteError, UnicodeDecodeError) as error:
        raise BadSettings(f"{source} is not a public key of a ledger: {error}") from error


def _is_shredded(path: Path) -> bool:
    """Empty, or zeros where a crash came in between."""
    size = path.stat().st_size
    return size == 0 or (size == SECRET_BYTES and not any(_read_private(path)))


def _read_private(path: Path) -> bytes:
    try:
        found = path.stat()
        if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise BadSettings(
                f"{path} can be read or written by others (mode {stat.S_IMODE(found.st_mode):04o}): "
                f"chmod 600 it, and think about who could have read it"
            )
        if found.st_uid != os.geteuid() and os.geteuid() != 0:
            raise BadSettings(f"{path} belongs to another user: chown it to the one that runs the ledger")
        return path.read_bytes()
    except OSError as error:
        raise BadSettings(f"cannot read {path}: {error.strerror}") from error
