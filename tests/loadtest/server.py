"""A server of answers that a test wrote down, each with its pauses, on a port of 127.0.0.1; runs in a thread of its own."""

import asyncio
import json
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

Answer = Sequence[bytes | float | None]  # bytes to write, seconds to wait, None to cut the connection

_ABOUT = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "glm-4v"}
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def event(value: Any) -> bytes:
    return chunk(b"data: " + json.dumps(value).encode() + b"\n\n")


def word(text: str = "a ") -> bytes:
    return event({**_ABOUT, "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]})


ROLE = event(
    {**_ABOUT, "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]}
)
DONE = chunk(b"data: [DONE]\n\n")


def usage(count: int, prompt: int = 7) -> bytes:
    tokens = {"prompt_tokens": prompt, "completion_tokens": count, "total_tokens": prompt + count}
    return event({**_ABOUT, "choices": [], "usage": tokens})


def status(line: str, body: bytes = b'{"error": {"message": "no"}}') -> bytes:
    return f"HTTP/1.1 {line}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


GOOD: Answer = (HEAD, ROLE, word(), word(), word(), usage(3), DONE, END)


class Server:
    """Gives ``answers`` in turn, each after ``each_s`` during which nobody else is served. ``bodies`` are the requests."""

    def __init__(self, *answers: Answer, each_s: float = 0.0) -> None:
        self.answers, self.each_s = answers or (GOOD,), each_s
        self.bodies: list[dict[str, Any]] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> "Server":
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _start(self) -> None:
        self._one_at_a_time = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=1 << 24)
        self._port = self._server.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            try:
                while await self._answer(reader, writer):
                    pass
            finally:
                writer.transport.abort()
                await asyncio.sleep(0)  # or the socket would outlive the loop

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        self.bodies.append(json.loads(await reader.readexactly(length)))
        answer = self.answers[(len(self.bodies) - 1) % len(self.answers)]
        if self.each_s:
            async with self._one_at_a_time:
                await asyncio.sleep(self.each_s)
        for part in answer:
            if part is None:
                return False
            if isinstance(part, float):
                await asyncio.sleep(part)
            else:
                writer.write(part)
                await writer.drain()
        return True
