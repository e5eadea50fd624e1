"""A few processes that encode pictures anew (reencode_worker.py), started when first needed; never decodes anything itself.

A process that answers wrongly, late or not at all is killed, waited for, and replaced by the next picture. Its seat is
free again only when it is gone, so that there are never more of them than seats. Callers take turns for a seat.
"""

import asyncio
import contextlib
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from gateway.front.fair_scheduler import FairSemaphore

# As in reencode_worker.py, which imports nothing of ours.
_REQUEST, _ANSWER = struct.Struct(">4sQQ"), struct.Struct(">?Q")
_PROGRAM = Path(__file__).with_name("reencode_worker.py")
_FORMATS = {
    "image/jpeg": b"JPEG",
    "image/png": b"PNG ",
    "image/webp": b"WEBP",
    "image/gif": b"GIF ",
    "image/avif": b"AVIF",
}
_SIGKILL = -9
_TURN_DECODING = 1_000_000  # pixels times scans that one turn of a caller pays for


class Undecodable(Exception):
    """The picture's own fault: it is broken, needs too much memory, or brought the decoder down."""


class DecodeTimeout(Exception):
    """No process was free, or none was done, in time; or somebody else killed it."""


class WorkerPool:
    """At most ``seats`` processes, for pictures of at most ``most_pixels``.

    A picture may wait for one for ``timeout_s``, and then keep it for as long. ``start`` starts a process.
    """

    def __init__(
        self, seats: int, most_pixels: int, timeout_s: float, start: "Callable[[int], ImageWorker] | None" = None
    ) -> None:
        self._most_pixels, self._timeout_s = most_pixels, timeout_s
        self._start = start or ImageWorker
        self._seats = FairSemaphore(seats, _TURN_DECODING)
        self._idle: list[ImageWorker] = []
        self._all: set[ImageWorker] = set()
        self._leaving: set[asyncio.Task[int]] = set()
        self._closed = False

    async def remake(self, data: bytes, media_type: str, budget: int, *, key: str, decoding: int) -> bytes:
        """The picture as a new JPEG or PNG of at most ``budget`` pixels. Raises Undecodable or DecodeTimeout.

        ``key`` is the caller's, who takes turns with others; ``decoding`` (pixels times scans) is what the picture costs.
        Cancelled, it stops the work. What comes back was made by a process that a picture may have taken over: check it.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._seats.take(key, decoding)
        except TimeoutError:
            raise DecodeTimeout from None
        worker = self._engaged()
        try:
            async with asyncio.timeout(self._timeout_s):
                made = await worker.remake(data, _FORMATS[media_type], budget)
        except (asyncio.IncompleteReadError, OSError, Undecodable) as error:
            ended = await asyncio.shield(self._dismiss(worker))
            if isinstance(error, TimeoutError) or (ended == _SIGKILL and not isinstance(error, Undecodable)):
                raise DecodeTimeout from None
            raise Undecodable from None
        except BaseException:
            self._dismiss(worker)
            raise
        self._idle.append(worker)
        self._seats.give_back()
        return made

    async def close(self) -> None:
        """End all processes, at work or not, and wait until they are gone."""
        self._closed = True
        for worker in list(self._all):
            self._dismiss(worker)
        while self._leaving:
            await asyncio.wait(self._leaving)

    def _engaged(self) -> "ImageWorker":
        """A process for the seat that was taken. Raises DecodeTimeout."""
        try:
            if self._closed:
                raise DecodeTimeout
            while self._idle:
                worker = self._idle.pop()
                if worker.process.poll() is None:
                    return worker
                worker.kill()  # somebody else did already, while it had nothing to do
                self._all.discard(worker)
            worker = self._start(self._most_pixels)
        except (OSError, DecodeTimeout):
            self._seats.give_back()
            raise DecodeTimeout from None
        self._all.add(worker)
        return worker

    def _dismiss(self, worker: "ImageWorker") -> asyncio.Task[int]:
        """Kill it; its seat is free when the task, whose result is its exit status, is done."""
        if worker.leaving is None:
            worker.kill()
            worker.leaving = asyncio.create_task(self._see_off(worker))
            self._leaving.add(worker.leaving)
            worker.leaving.add_done_callback(self._leaving.discard)
        return worker.leaving

    async def _see_off(self, worker: "ImageWorker") -> int:
        ended = await asyncio.to_thread(worker.process.wait)
        self._all.discard(worker)
        with contextlib.suppress(ValueError):
            self._idle.remove(worker)
        self._seats.give_back()
        return ended


class ImageWorker:
    """One process, and the socket that is its stdin and stdout."""

    def __init__(self, most_pixels: int) -> None:
        self._socket, its_own = socket.socketpair()
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self.leaving: asyncio.Task[int] | None = None
        try:
            # Nothing of ours runs between fork and exec. -I: no variable, and no folder of the caller's, says what is imported.
            self.process: subprocess.Popen[bytes] = subprocess.Popen(
                [sys.executable, "-I", str(_PROGRAM), str(most_pixels)],
                env={},
                cwd="/",
                stdin=its_own.fileno(),
                stdout=its_own.fileno(),
                stderr=subprocess.DEVNULL,
            )
        except OSError:
            self._socket.close()
            raise
        finally:
            its_own.close()

    async def remake(self, data: bytes, kind: bytes, budget: int) -> bytes:
        if self._streams is None:
            self._streams = await asyncio.open_unix_connection(sock=self._socket, limit=1 << 20)
        reader, writer = self._streams
        writer.write(_REQUEST.pack(kind, budget, len(data)))
        writer.write(data)
        await writer.drain()
        well, length = _ANSWER.unpack(await reader.readexactly(_ANSWER.size))
        # Four bytes a pixel, and what the format needs around them, when nothing can be compressed.
        if not well or length > 5 * budget + 65_536:
            raise Undecodable
        return await reader.readexactly(length)

    def kill(self) -> None:
        self.process.kill()
        if self._streams is not None:
            self._streams[1].transport.abort()
        else:
            self._socket.close()
