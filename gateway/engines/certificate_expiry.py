"""Until when an engine's certificate is good, from a handshake of its own; sends nothing and reads nothing else."""

import asyncio
import ssl
from urllib.parse import urlsplit

from gateway.engines.endpoint import Endpoint
from gateway.front.resolver import Resolver


async def ends_at_s(
    endpoint: Endpoint, tls: ssl.SSLContext | None, timeout_s: float, resolver: Resolver
) -> float | None:
    """Unix seconds; None without TLS, or if no handshake succeeds in time."""
    parts = urlsplit(endpoint.origin)
    if parts.scheme != "https":
        return None
    try:
        async with asyncio.timeout(timeout_s):
            transport, _ = await resolver.connect(
                asyncio.Protocol, parts.hostname or "", parts.port or 0, tls or ssl.create_default_context()
            )
    except (OSError, TimeoutError):
        return None
    try:
        certificate = transport.get_extra_info("peercert") or {}
        return float(ssl.cert_time_to_seconds(str(certificate["notAfter"]))) if "notAfter" in certificate else None
    finally:
        transport.abort()
