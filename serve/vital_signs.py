"""Whether a serving engine still works, by what it counts and by a token of its own; kills nothing.

An engine whose core hangs goes on answering ``/health``: only tokens show it. One that is busy moves its counters, so it is
not asked; one that is idle is asked for a token. A busy engine may let that token wait, and is not hung.
"""

import asyncio
import time
from pathlib import Path

from serve import probe


class VitalSigns:
    """Of one engine from its being ready on. Make one for each life; ``close`` it."""

    def __init__(self, socket: Path, model: str, hang_s: float, deadline_s: float) -> None:
        """Hung after ``hang_s`` without a sign of life, never if that is 0; a look waits ``deadline_s`` at most."""
        self._socket, self._model, self._hang_s, self._deadline_s = socket, model, hang_s, deadline_s
        self._seen_s = time.monotonic()
        self._counted: float | None = None
        self._asked: asyncio.Task[str] | None = None
        self._asked_s = 0.0

    @property
    def silent_s(self) -> float:
        """How long ago the last sign of life was."""
        return time.monotonic() - self._seen_s

    @property
    def silent(self) -> bool:
        """Whether a token was asked for and has not come for as long as one look may take."""
        return self._asked is not None and time.monotonic() - self._asked_s > self._deadline_s

    @property
    def hung(self) -> bool:
        return 0 < self._hang_s <= self.silent_s

    @property
    def next_look_s(self) -> float:
        """When to look again at the latest, so that a hang is not seen late."""
        return max(0.0, self._hang_s - self.silent_s) if self._hang_s else self._deadline_s

    async def look(self) -> None:
        """Look once. Never raises."""
        counted = await probe.tokens_counted(self._socket, self._deadline_s)
        if counted is not None and counted != self._counted:
            # The first number shows nothing yet, but the engine has just become ready.
            self._counted = counted
            self._lives()
        elif self._asked is not None and self._asked.done():
            fault, self._asked = self._asked.result(), None
            if not fault:
                self._lives()
        elif self._asked is None and self.silent_s >= self._hang_s / 2:
            self._asked_s = time.monotonic()
            patience_s = self._hang_s or probe.ANSWER_DEADLINE_S
            self._asked = asyncio.create_task(
                probe.fault(self._socket, self._model, picture=False, deadline_s=patience_s)
            )

    def _lives(self) -> None:
        self._seen_s = time.monotonic()
        self.close()

    def close(self) -> None:
        """Forget the token that was asked for."""
        if self._asked is not None:
            self._asked.cancel()
            self._asked = None
