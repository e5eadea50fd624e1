"""An engine that costs almost nothing: canned answers from one parser in C, so that it is never what is measured.

It reads no request: the bench tells it how to answer. It runs on the load generator's event loop, listens on a Unix socket
(where a gateway finds it by its state.json) and on TCP (for the direct way and for other proxies).
"""

import asyncio
import contextlib
import enum
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import httptools

_BUFFER_BYTES = 1 << 20
_BURST = 8  # events a write, where as many as possible are wanted


class Answers(enum.Enum):
    """How requests are answered from now on."""

    WHOLE = enum.auto()
    FLOOD = enum.auto()
    PACED = enum.auto()
    NEVER = enum.auto()
    BEGUN = enum.auto()  # the head and one event, then nothing
    ERROR = enum.auto()


def _event(choices: list[dict[str, object]], **more: object) -> bytes:
    head = {"id": "chatcmpl-bench", "object": "chat.completion.chunk", "created": 1760000000, "model": "glm-4v"}
    return b"data: " + json.dumps({**head, "choices": choices, **more}, separators=(",", ":")).encode() + b"\n\n"


def _chunk(content: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(content), content)


def _whole(status: bytes, body: dict[str, object]) -> bytes:
    content = json.dumps(body).encode()
    return b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
        status,
        len(content),
        content,
    )


_USAGE = {"prompt_tokens": 21, "completion_tokens": 9, "total_tokens": 30}
_MESSAGE = {"role": "assistant", "content": "Paris, for more than a thousand years."}
WHOLE = _whole(
    b"200 OK",
    {
        "id": "chatcmpl-bench",
        "object": "chat.completion",
        "created": 1760000000,
        "model": "glm-4v",
        "usage": _USAGE,
        "choices": [{"index": 0, "message": _MESSAGE, "finish_reason": "stop", "logprobs": None}],
    },
)
# To whoever looks whether the engine lives, and what it serves.
MODELS = _whole(
    b"200 OK",
    {
        "object": "list",
        "data": [
            {
                "id": "glm-4v",
                "object": "model",
                "created": 1760000000,
                "owned_by": "vllm",
                "root": "glm-4v",
                "max_model_len": 65536,
            }
        ],
    },
)
ERROR = _whole(b"500 Internal Server Error", {"error": {"message": "as told", "type": "InternalServerError"}})
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
WORD = _chunk(
    _event(
        [{"index": 0, "delta": {"content": " thousand"}, "logprobs": None, "finish_reason": None, "token_ids": None}]
    )
)
LAST = (
    _chunk(_event([{"index": 0, "delta": {"content": ""}, "logprobs": None, "finish_reason": "stop"}]))
    + _chunk(_event([], usage=_USAGE))
    + _chunk(b"data: [DONE]\n\n")
    + b"0\r\n\r\n"
)


class BenchEngine:
    """``events`` a stream; in the paced way one each ``pause_s``. ``asked`` and ``left`` say when a request came and when its
    connection was closed by the other side."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._servers: list[asyncio.Server] = []
        self.port = 0
        self.answers = Answers.WHOLE
        self.events = 0
        self.pause_s = 0.0
        self.requests = 0
        self.asked = asyncio.Event()
        self.left: asyncio.Future[float] | None = None
        self.buffer = memoryview(bytearray(_BUFFER_BYTES))

    async def __aenter__(self) -> "BenchEngine":
        loop = asyncio.get_running_loop()
        self._folder.mkdir(parents=True)
        tcp = await loop.create_server(lambda: _Connection(self), "127.0.0.1", 0, backlog=1024)
        unix = await loop.create_unix_server(lambda: _Connection(self), str(self._folder / "engine.sock"), backlog=1024)
        self._servers = [tcp, unix]
        self.port = tcp.sockets[0].getsockname()[1]
        state = {
            "schema": 1,
            "number": 0,
            "phase": "ready",
            "message": "",
            "profile": "bench",
            "served_names": ["glm-4v"],
            "supervisor_pid": 0,
            "manifest_root": "",
            "flags_digest": "",
            "ready_since_s": 0.0,
            "started_at_s": 0.0,
            "max_model_len": 65536,
        }
        (self._folder / "state.json").write_text(json.dumps(state))
        return self

    async def __aexit__(self, *_: object) -> None:
        for server in self._servers:
            server.close()


class _Connection(asyncio.BufferedProtocol):
    """One connection to the engine; all share one buffer, since each read is parsed before the next."""

    def __init__(self, engine: BenchEngine) -> None:
        self._engine = engine
        self._parser = httptools.HttpRequestParser(self)
        self._timer: asyncio.Handle | None = None
        self._stream: Iterator[bytes] | None = None
        self._busy = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of it.
        self._transport = cast(asyncio.Transport, transport)

    def get_buffer(self, _: int) -> memoryview:
        return self._engine.buffer

    def buffer_updated(self, count: int) -> None:
        self._parser.feed_data(self._engine.buffer[:count])

    def connection_lost(self, _: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._stream = None
        left = self._engine.left
        if self._busy and left is not None and not left.done():
            left.set_result(time.perf_counter())

    def on_message_complete(self) -> None:
        engine = self._engine
        if self._parser.get_method() != b"POST":
            self._transport.write(MODELS)
            return
        engine.requests += 1
        self._busy = True
        match engine.answers:
            case Answers.WHOLE:
                self._transport.write(WHOLE)
                self._busy = False
            case Answers.ERROR:
                self._transport.write(ERROR)
                self._busy = False
            case Answers.FLOOD:
                self._transport.write(HEAD)
                self._stream = iter([WORD * _BURST] * (engine.events // _BURST))
                self._flood()
            case Answers.PACED:
                self._transport.write(HEAD)
                self._pace(engine.events, asyncio.get_running_loop().time())
            case Answers.BEGUN:
                self._transport.write(HEAD + WORD)
        engine.asked.set()

    def pause_writing(self) -> None:
        if self._timer is not None and self._stream is not None:
            self._timer.cancel()

    def resume_writing(self) -> None:
        if self._stream is not None:
            self._flood()

    def _flood(self) -> None:
        assert self._stream is not None
        burst = next(self._stream, None)
        if burst is None:
            self._stream = None
            self._end()
        else:
            # Before the write, which may say at once that it is enough for now.
            self._timer = asyncio.get_running_loop().call_soon(self._flood)
            self._transport.write(burst)

    def _pace(self, left: int, due_s: float) -> None:
        if not left:
            self._end()
            return
        self._transport.write(WORD)
        due_s += self._engine.pause_s
        self._timer = asyncio.get_running_loop().call_at(due_s, self._pace, left - 1, due_s)

    def _end(self) -> None:
        with contextlib.suppress(OSError):
            self._transport.write(LAST)
        self._busy = False
