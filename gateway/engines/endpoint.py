"""Where an engine listens: a Unix socket of this host, or TCP on another, in clear or in TLS. Parses; opens nothing itself."""

import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

# Shorter than vLLM's own 5 s (VLLM_HTTP_TIMEOUT_KEEP_ALIVE): a request must not meet a connection that is being closed.
KEEP_ALIVE_S = 4.0


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

    @property
    def base(self) -> str:
        """What request URLs begin with."""
        return "http://engine" if self.path else self.origin

    def connector(self, tls: ssl.SSLContext | None) -> aiohttp.BaseConnector:
        """New pooled connections to it. ``tls`` is for https; None means the system's authorities."""
        if self.path:
            return aiohttp.UnixConnector(str(self.path), limit=0, keepalive_timeout=KEEP_ALIVE_S)
        return aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_S, ssl=tls or True)


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
    """The authorities that engines' certificates must come from, and our own certificate. Raises BadEndpoint."""
    if not (ca or certificate):
        return None
    try:
        context = ssl.create_default_context(cafile=ca)
        if certificate:
            context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise BadEndpoint(f"the certificates for engines can't be read ({error}); check the three files") from None
    return context
