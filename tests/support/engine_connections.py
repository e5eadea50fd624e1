"""Connections to an engine for a test that asks without a gateway."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.engines.connections import EngineConnections
from gateway.engines.endpoint import Endpoint
from gateway.front.resolver import Resolver


@asynccontextmanager
async def engine_connections(
    endpoint: Endpoint, tls: ssl.SSLContext | None = None, resolver: Resolver | None = None
) -> AsyncIterator[EngineConnections]:
    """Cut all connections at the end, and give the event loop the turn in which it closes their sockets.

    A loop that ends before leaves them to the garbage collector, whose warning fails another test.
    """
    connections = EngineConnections(endpoint, tls, resolver or Resolver())
    try:
        yield connections
    finally:
        connections.close()
        await asyncio.sleep(0)
