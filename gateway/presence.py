"""Notices that a client left while we work for it, and stops that work; sends nothing.

Under uvicorn ``send()`` to an absent client does not raise: only ``receive()`` tells that it left.
"""

import asyncio
from types import TracebackType

from starlette.types import Receive


class ClientLeft(Exception):
    """The client closed its connection before its answer was whole."""


class Presence:
    """``async with Presence(receive)``: the block is cancelled when the client leaves and ends with ClientLeft; or by ``stop``.

    Enter it after the body was read. Set ``over`` before the last send: from then on leaving is the usual end.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._why: Exception | None = None
        self.over = False

    async def __aenter__(self) -> "Presence":
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._watch = asyncio.create_task(self._wait())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watch.cancel()
        if self._why is not None and isinstance(error, asyncio.CancelledError) and self._task.uncancel() == 0:
            raise self._why from None

    def stop(self, why: Exception) -> None:
        """Cancel the block, which ends with ``why``."""
        if not self.over and self._why is None:
            self._why = why
            self._task.cancel()

    async def _wait(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.stop(ClientLeft())
