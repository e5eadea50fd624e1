"""Until when an engine's certificate is good, from a handshake of its own; sends nothing and reads nothing else."""

import asyncio
import contextlib
import ssl
from urllib.parse import urlsplit

from gateway.engines.endpoint import Endpoint


async def ends_at_s(endpoint: Endpoint, tls: ssl.SSLContext | None, timeout_s: float) -> float | None:
    """Unix seconds; None without TLS, or if no handshake succeeds in time."""
    parts = urlsplit(endpoint.origin)
    if parts.scheme != "https":
        return None
    try:
        async with asyncio.timeout(timeout_s):
            _, writer = await asyncio.open_connection(
                parts.hostname, parts.port, ssl=tls or ssl.create_default_context()
            )
    except (OSError, TimeoutError):
        return None
    try:
        certificate = writer.get_extra_info("peercert") or {}
        return float(ssl.cert_time_to_seconds(str(certificate["notAfter"]))) if "notAfter" in certificate else None
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            writer.transport.abort()
