"""The hop to one engine over its Unix socket; never retries, never reads what it carries.

vLLM stops generating when the connection of a request is closed, streaming or not: so an answer that is not read to its
end is closed, never returned to the pool.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from gateway.engines.queue import Bounds, Queue
from gateway.engines.state import State
from gateway.errors import EngineBroke, TimedOut, Unavailable

_HEADERS = {"content-type": "application/json", "accept-encoding": "identity"}
_READ_BUFFER_BYTES = 1 << 18


class Engine:
    """One engine: its newest state, its queue and its connections. Use on one event loop only."""

    def __init__(self, folder: Path, state: State, bounds: Bounds) -> None:
        self.folder, self.state = folder, state
        self.queue = Queue(bounds)
        self._session: aiohttp.ClientSession | None = None

    @property
    def name(self) -> str:
        return self.folder.name

    @asynccontextmanager
    async def post(
        self, path: str, body: bytes, *, silence_timeout_s: float, answer_timeout_s: float
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """POST a JSON body; the answer, whose body is still to be read. It is closed on leaving unless read to its end.

        The engine may stay silent for ``silence_timeout_s`` at any point and take ``answer_timeout_s`` in all. What goes
        wrong while the caller reads is translated here too.
        Raises Unavailable if the engine can't be reached, EngineBroke if it hung up, TimedOut if it said nothing in time.
        """
        try:
            async with self._open().post(
                "http://engine" + path,
                data=body,
                headers=_HEADERS,
                timeout=aiohttp.ClientTimeout(total=answer_timeout_s, sock_read=silence_timeout_s),
            ) as answer:
                yield answer
        except aiohttp.ClientConnectorError:
            raise Unavailable("the engine is not reachable; try again soon", retry_after_s=5) from None
        except TimeoutError:
            raise TimedOut("the engine took too long; try again, or ask for a shorter answer") from None
        except (aiohttp.ClientError, OSError):
            raise EngineBroke("the engine broke off; try again") from None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.UnixConnector(str(self.folder / "engine.sock"), limit=0),
                auto_decompress=False,
                read_bufsize=_READ_BUFFER_BYTES,
                skip_auto_headers=["User-Agent"],
            )
        return self._session
