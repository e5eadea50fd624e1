"""Where an engine listens: a Unix socket of this host, or TCP on another, in clear or in TLS. Parses; opens nothing itself."""

import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

TLS_SETTINGS = "VITRINE_ENGINES_CA, VITRINE_ENGINES_CERT, VITRINE_ENGINES_KEY"


class BadEndpoint(ValueError):
    """Not an address of an engine; the text says what is."""


@dataclass(frozen=True)
class Endpoint:
    """``path`` of a Unix socket, or the ``origin`` of a TCP address (``https://gpu-1:8000``); one of the two."""

    path: Path | None = None
    origin: str = ""

    @property
    def url(self) -> str:
        return f"unix:{self.path}" if self.path else self.origin


def parse(text: str) -> Endpoint:
    """``unix:/path``, ``http://host:port`` or ``https://host:port``. Raises BadEndpoint."""
    if text.startswith("unix:/"):
        return Endpoint(path=Path(text.removeprefix("unix:")))
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port
    except ValueError:
        good = False
    if not good or parts.username or parts.path.strip("/") or parts.query or parts.fragment:
        raise BadEndpoint(f"{text!r} is no engine's address; write unix:/path, http://host:port or https://host:port")
    return Endpoint(origin=f"{parts.scheme}://{parts.netloc}")


def tls_context(ca: Path | None, certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    """The authorities that the others' certificates must come from, and our own certificate. Raises BadEndpoint."""
    if not (ca or certificate):
        return None
    try:
        context = ssl.create_default_context(cafile=ca)
        if certificate:
            context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise BadEndpoint(f"the certificates can't be read ({error}); check the three files") from None
    return context
