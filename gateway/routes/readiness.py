"""Whether a question can be answered now, asked of those who would have to answer: the ledger and an engine; changes nothing.

A process that hangs keeps its connections. So readiness is an answer that came in time, not a connection that is open.
"""

import asyncio
from collections.abc import Callable

from gateway.engines.pool import Pool
from gateway.ledger.client.async_client import LedgerClient
from gateway.ledger.errors import LedgerUnavailable

# HAProxy, as deploy/haproxy has it, waits a second. An answer that says why must come before.
DEADLINE_S = 0.8


class Readiness:
    """One worker's. However many ask at once, ledger and engines are asked once."""

    def __init__(self, pool: Pool, ledger: LedgerClient, seen: Callable[[], list[str]]) -> None:
        """``seen`` is what is known without asking anybody."""
        self._pool, self._ledger, self._seen = pool, ledger, seen
        self._asking: asyncio.Task[list[str]] | None = None

    async def waiting_for(self) -> list[str]:
        """Why nothing can be answered now, a line for each reason; empty when all is ready. Takes `DEADLINE_S` at most."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())
        return await asyncio.shield(self._asking)

    async def _ask(self) -> list[str]:
        seen = self._seen()
        if seen:
            return seen
        ledger, engines = await asyncio.gather(self._ask_ledger(), self._pool.ask_all(DEADLINE_S))
        return [*ledger, *engines]

    async def _ask_ledger(self) -> list[str]:
        try:
            async with asyncio.timeout(DEADLINE_S):
                status = await self._ledger.status()
        except (TimeoutError, LedgerUnavailable):
            return [f"ledger: did not answer within {DEADLINE_S} s"]
        return ["ledger: its disk is full, nothing new is admitted"] if status.full else []
