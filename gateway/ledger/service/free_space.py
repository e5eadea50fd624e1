"""Whether the log's disk has room for more exchanges. What is left below the reserve is for those that run: their ends must fit.

Refusing in time is what makes a full disk end well: a write that fails half-way ends the ledger, and nothing is answered until
somebody comes. Comes back by itself once there is room again.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from gateway.ledger.client.messages import Admit, Ask, Deny, KeyEvent

LOOK_EVERY_S = 0.05
WARN_EVERY_S = 60.0
COMES_BACK_AT = 1.25  # of the reserve, or it would go to and fro
START_BYTES = 1 << 20  # for the records of a start
REFUSED: tuple[type[Ask], ...] = (Admit, Deny, KeyEvent)  # what is new; all else is an end, or is not written


class FreeSpace:
    """Looked at by the ledger's one thread. ``reserve_bytes`` 0: nothing is refused, and a full disk ends the ledger."""

    def __init__(
        self,
        folder: Path,
        reserve_bytes: int,
        warn_bytes: int,
        logger: structlog.stdlib.BoundLogger,
        clock_s: Callable[[], float] = time.monotonic,
        free_bytes: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
    ) -> None:
        self._folder, self._reserve_bytes, self._warn_bytes = folder, reserve_bytes, warn_bytes
        self._logger, self._clock_s, self._free_bytes = logger, clock_s, free_bytes
        self._next_look_s = self._next_warning_s = -1.0
        self.full = False

    def refusal(self, ask: Ask) -> str:
        """Why this can't be recorded now, or nothing."""
        if not isinstance(ask, REFUSED):
            return ""
        self.look()
        return f"the disk of the audit log is full: free some space in {self._folder}" if self.full else ""

    def look(self) -> None:
        """Look at the disk, if the last look is not of this moment; say what has changed, and once a minute that little is left."""
        now_s = self._clock_s()
        if now_s < self._next_look_s:
            return
        self._next_look_s = now_s + LOOK_EVERY_S
        free = self._free_bytes(self._folder)
        if not self.full and free < self._reserve_bytes:
            self.full = True
            self._logger.error(
                "the disk is full: no exchange is admitted until there is room; those that run are recorded",
                free_bytes=free,
                reserve_bytes=self._reserve_bytes,
                folder=str(self._folder),
            )
            self._next_warning_s = now_s + WARN_EVERY_S
        elif self.full and free >= self._reserve_bytes * COMES_BACK_AT:
            self.full = False
            self._logger.warning("there is room on the disk again: exchanges are admitted", free_bytes=free)
        if free < self._warn_bytes and now_s >= self._next_warning_s:
            self._next_warning_s = now_s + WARN_EVERY_S
            self._logger.warning("little space is left for the log", free_bytes=free)


def wait_for_room(
    folder: Path,
    reserve_bytes: int,
    logger: structlog.stdlib.BoundLogger,
    stopped: Callable[[], bool],
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Before a start: wait until its records fit, or until ``stopped``. A start that failed would have to be repeated by hand."""
    need, said_s = min(START_BYTES, reserve_bytes), -WARN_EVERY_S
    while not stopped():
        place = next(one for one in (folder, *folder.parents) if one.exists())
        free = shutil.disk_usage(place).free
        if (
            free >= need or os.statvfs(place).f_flag & os.ST_RDONLY
        ):  # where nothing can be written, room is not what is missing
            return
        if time.monotonic() - said_s >= WARN_EVERY_S:
            said_s = time.monotonic()
            logger.error(
                "the disk is full: the ledger waits for room before it starts", free_bytes=free, folder=str(folder)
            )
        sleep(0.25)
