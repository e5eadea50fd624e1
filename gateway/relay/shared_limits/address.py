"""Where the shared limits are kept: the address as the operator writes it, and what of it may be shown; connects to nothing."""

from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

_FORMS = "redis://HOST:PORT/0, rediss://HOST:PORT/0 or unix:///PATH"


class BadRedisAddress(ValueError):
    """An address that can't be used. Its text never has the address: it may hold a password."""


@dataclass(frozen=True)
class RedisAddress:
    """``shown`` is the address without name and password: for logs and the audit log."""

    url: str
    shown: str

    @property
    def tls(self) -> bool:
        return self.url.startswith("rediss://")

    @classmethod
    def read(cls, url: str) -> "RedisAddress":
        """Raises BadRedisAddress."""
        if not url.startswith(("redis://", "rediss://", "unix://")):
            raise BadRedisAddress(f"the address must be {_FORMS}")
        # Only where there is an address: who has none waits for redis at no start.
        from redis.asyncio.connection import parse_url

        try:
            parts = urlsplit(url)
            parse_url(url)
            port, options = parts.port, parse_qs(parts.query, keep_blank_values=True)
        except ValueError:
            raise BadRedisAddress(f"the address can't be read; write {_FORMS}") from None
        if options.keys() - {"db"}:
            # The library would take any: one that turns the check of certificates off, or a word that it fails at later.
            raise BadRedisAddress("the address may have no option but ?db=; files for TLS have settings of their own")
        if parts.scheme == "unix":
            if not parts.path.startswith("/") or parts.hostname:
                raise BadRedisAddress("a Unix socket is written unix:///PATH")
            return cls(url, f"unix://{parts.path}")
        if not parts.hostname:
            raise BadRedisAddress(f"the address names no host; write {_FORMS}")
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        return cls(url, f"{parts.scheme}://{host}:{port or 6379}")
