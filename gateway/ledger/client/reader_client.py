"""The client of the log's reader process: starts it when somebody asks, one question at a time, and ends it."""

import asyncio
import contextlib
import sys
from typing import Any

import msgspec
import structlog

from gateway.ledger.readers.reader_process import ReaderQuestion, ReaderStart
from gateway.ledger.settings import LedgerSettings

ANSWER_S = 20.0
IDLE_S = 300.0
MOST_WAITING = 8
_MOST_ANSWER_BYTES = 64 << 20


class ReaderAway(Exception):
    """The log can't be read now; the text says so in a sentence."""


class ReaderClient:
    """One worker's. The process is there from the first question until nobody asks for a while."""

    def __init__(self, settings: LedgerSettings, idle_s: float = IDLE_S) -> None:
        """``idle_s`` after the last answer, with no question since, the process ends."""
        self._idle_s = idle_s
        self._errand = ReaderStart(
            str(settings.log_folder.absolute()),
            str(settings.key_folder.absolute()),
            tuple(str(path.absolute()) for path in settings.anchors),
        )
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._closing: asyncio.TimerHandle | None = None

    async def ask(self, question: ReaderQuestion) -> dict[str, Any]:
        """The answer. Raises ReaderAway if none comes in time, or too many wait."""
        if self._waiting >= MOST_WAITING:
            raise ReaderAway("too many read the log now; try again soon")
        self._waiting += 1
        try:
            async with asyncio.timeout(ANSWER_S), self._turn:
                return await self._asked(question)
        except (TimeoutError, OSError, ValueError, msgspec.MsgspecError):
            raise ReaderAway("the log can't be read now; try again soon") from None
        finally:
            self._waiting -= 1

    async def _asked(self, question: ReaderQuestion) -> dict[str, Any]:
        # Before all else: who is being answered, however slowly, is not idle.
        self._stay()
        if self._process is None or self._process.returncode is not None:
            self._process = await self._open()
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(msgspec.json.encode(question) + b"\n")
            line = await process.stdout.readline()
            if not line:
                raise OSError("the reading process ended")
            answer: dict[str, Any] = msgspec.json.decode(line)
        except BaseException:
            # An answer that comes later must not be taken for the next question's.
            await asyncio.shield(self.close())
            raise
        self._closing = asyncio.get_running_loop().call_later(self._idle_s, self._leave)
        return answer

    async def _open(self) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "gateway.ledger.readers.reader_process",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_MOST_ANSWER_BYTES,
        )
        assert process.stdin is not None
        process.stdin.write(msgspec.json.encode(self._errand) + b"\n")
        structlog.get_logger().info("an auditor reads the log", pid=process.pid)
        return process

    def _stay(self) -> None:
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None

    def _leave(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()  # its end is the process's end
            self._process = None

    async def close(self) -> None:
        """End the process now."""
        self._stay()
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
