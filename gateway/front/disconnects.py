"""Notices that a client left while we work for it, and stops that work; sends nothing.

The connection says so itself: a task that awaits ``receive()`` for each exchange would do, and costs each exchange a task.
"""

import asyncio
from types import TracebackType

from gateway.front.request_state import ConnectionView


class ClientLeft(Exception):
    """The client closed its connection before its answer was whole."""


class DisconnectGuard:
    """``with DisconnectGuard(connection)``: the block is cancelled when the client leaves and ends with ClientLeft; or by ``stop``.

    Enter it after the body was read. Set ``over`` before the last send: from then on leaving is the usual end.
    """

    def __init__(self, connection: ConnectionView) -> None:
        self._connection = connection
        self._why: Exception | None = None
        self.over = False

    def __enter__(self) -> "DisconnectGuard":
        if self._connection.left:
            raise ClientLeft
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._connection.on_left = self._left
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.on_left = None
        if self._why is not None and isinstance(error, asyncio.CancelledError) and self._task.uncancel() == 0:
            raise self._why from None

    def stop(self, why: Exception) -> None:
        """Cancel the block, which ends with ``why``."""
        if not self.over and self._why is None:
            self._why = why
            self._task.cancel()

    def _left(self) -> None:
        self.stop(ClientLeft())
