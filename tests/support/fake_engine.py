"""An engine that speaks vLLM's API on a Unix socket and misbehaves when told to; runs in a thread of its own."""

import asyncio
import enum
import json
import ssl
import threading
from pathlib import Path
from typing import Any, Self

from aiohttp import web

from tests.support.deadline import until

VLLM_METRICS = Path(__file__).with_name("vllm.prom")
WORDS = ("a ", "small ", "red ", "circle ", "左边")


class Behaviour(enum.Enum):
    """What the engine does with the next requests."""

    ANSWERS = enum.auto()
    CUTS_AFTER_TWO_EVENTS = enum.auto()
    ENDS_WITHOUT_DONE = enum.auto()
    SENDS_AN_ERROR_EVENT = enum.auto()
    STALLS_BEFORE_THE_FIRST_BYTE = enum.auto()
    STALLS_AFTER_TWO_EVENTS = enum.auto()
    WAITS_FOR_LEAVE = enum.auto()
    WAITS_FOR_LEAVE_AFTER_TWO_EVENTS = enum.auto()
    SPLITS_CHARACTERS = enum.auto()
    REFUSES_THE_LENGTH = enum.auto()
    FAILS_WITH_500 = enum.auto()
    ANSWERS_GARBAGE = enum.auto()
    FLOODS = enum.auto()
    RESETS = enum.auto()
    STREAMS_GARBAGE = enum.auto()
    STREAMS_GARBAGE_AFTER_TWO_EVENTS = enum.auto()
    SENDS_HALF_AN_EVENT = enum.auto()
    ENDS_WITHIN_A_CHARACTER = enum.auto()
    ANSWERS_AS_ANOTHER_MODEL = enum.auto()
    LISTS_GARBAGE = enum.auto()
    MEASURES_WITHOUT_END = enum.auto()
    MEASURES_SLOWLY = enum.auto()
    HANGS = enum.auto()


class FakeEngine:
    """One fake engine in ``run/engine-N``, or with ``tcp`` on a port of 127.0.0.1 (``url``), in TLS if it is a context.

    ``bodies`` are the requests that arrived, ``probes`` the gateway's own, answered well unless ``probes_misbehave``;
    ``left`` counts those whose client left before the end. ``go_on`` lets an engine that waits for it go on. ``script``, if
    there is one, is what it streams: a delta of each event; ``finish`` says why it ended. ``raw`` is the body of every answer to a
    caller, as it is, with the status ``raw_status``.
    """

    SECRET = "secret-path-/srv/models"

    def __init__(
        self,
        run: Path,
        number: int = 0,
        served_names: tuple[str, ...] = ("glm-4v", "glm-4v-fake"),
        *,
        tcp: bool | ssl.SSLContext = False,
        port: int = 0,
    ) -> None:
        self.folder = run / f"engine-{number}"
        self.behaviour = Behaviour.ANSWERS
        self.bodies: list[dict[str, Any]] = []
        self.probes: list[dict[str, Any]] = []
        self.probes_misbehave = False
        self._tcp, self._port = tcp, port
        self.headers: list[dict[str, str]] = []
        self.left = 0
        self.go_on = threading.Event()
        self.script: list[dict[str, Any]] = []
        self.finish = "stop"
        self.demo = ""
        self.raw: bytes | None = None
        self.raw_status = 200
        self._number, self._served_names = number, list(served_names)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"{'http' if self._tcp is True else 'https'}://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        if not self._tcp:
            self.folder.mkdir(parents=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        if not self._tcp:
            self.say("ready")
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def say(self, phase: str, message: str = "", **more: Any) -> None:
        """Write the state file as a supervisor would; ``more`` are further fields."""
        state = {
            "schema": 1,
            "number": self._number,
            "phase": phase,
            "message": message,
            "profile": "fake",
            "served_names": self._served_names,
            "supervisor_pid": 0,
            "manifest_root": "",
            "flags_digest": "",
            "ready_since_s": 0.0,
            "started_at_s": 0.0,
            "max_model_len": 4096,
            "restarts": 0,
            "demo": self.demo,
            "namespace": {"isolated": True, "inode": 1, "interfaces": ["lo"], "no_routes": 0},
            **more,
        }
        temporary = self.folder / "state.tmp"
        temporary.write_text(json.dumps(state))
        temporary.replace(self.folder / "state.json")

    def wait_until_left(self, count: int) -> None:
        until(lambda: self.left >= count, what=f"{count} requests abandoned, {self.left} were")

    async def _start(self) -> None:
        application = web.Application(client_max_size=1 << 30)
        application.router.add_post("/v1/chat/completions", self._chat)
        application.router.add_get("/v1/models", self._models)
        application.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=1)
        await self._runner.setup()
        if self._tcp:
            tls = self._tcp if isinstance(self._tcp, ssl.SSLContext) else None
            await web.TCPSite(self._runner, "127.0.0.1", self._port, ssl_context=tls).start()
            self._port = self._runner.addresses[0][1]
        else:
            await web.UnixSite(self._runner, str(self.folder / "engine.sock")).start()

    async def _models(self, _: web.Request) -> web.Response:
        if self.behaviour is Behaviour.HANGS:
            await asyncio.sleep(3600)
        if self.behaviour is Behaviour.LISTS_GARBAGE:
            return web.Response(body=b'{"data": [{"id": "\xff"}]}')
        data = [{"id": name, "object": "model", "max_model_len": 4096} for name in self._served_names]
        return web.json_response({"object": "list", "data": data})

    async def _metrics(self, request: web.Request) -> web.StreamResponse:
        """What vLLM 0.32 said while it ran six requests; its counters grow with the requests that came here, and successes
        are exactly these."""
        if self.behaviour in (Behaviour.MEASURES_WITHOUT_END, Behaviour.MEASURES_SLOWLY):
            answer = web.StreamResponse()
            await answer.prepare(request)
            slowly = self.behaviour is Behaviour.MEASURES_SLOWLY
            for _ in range(60 if slowly else 40):
                await answer.write(b"#" if slowly else b"#" * (1 << 20))
                await asyncio.sleep(0.5 if slowly else 0)
            return answer
        name = "vllm:request_success_total"
        page = "\n".join(line for line in VLLM_METRICS.read_text().splitlines() if name not in line)
        own = f'# TYPE {name} counter\n{name}{{finished_reason="stop"}} {len(self.bodies)}\n'
        return web.Response(text=_grown(page, 1 + len(self.bodies)) + own)

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if body.get("cache_salt") == "probe":
            self.probes.append(body)
            if not self.probes_misbehave:
                return self._answered(body["model"])
        else:
            self.headers.append(dict(request.headers))
            self.bodies.append(body)
        if self.behaviour is Behaviour.RESETS:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if self.raw is not None:
            return web.Response(
                body=self.raw,
                status=self.raw_status,
                content_type="text/event-stream" if body.get("stream") else "application/json",
            )
        try:
            return await (self._stream(request, body) if body.get("stream") else self._whole(body))
        except (asyncio.CancelledError, ConnectionResetError):
            self.left += 1
            raise

    async def _whole(self, body: dict[str, Any]) -> web.Response:
        match self.behaviour:
            case Behaviour.STALLS_BEFORE_THE_FIRST_BYTE | Behaviour.HANGS:
                await asyncio.sleep(3600)
            case Behaviour.WAITS_FOR_LEAVE:
                await self._wait_for_leave()
            case Behaviour.ANSWERS_GARBAGE:
                return web.Response(text="<html>not an answer</html>")
            case Behaviour.REFUSES_THE_LENGTH | Behaviour.FAILS_WITH_500:
                return self._refusal()
        another = self.behaviour is Behaviour.ANSWERS_AS_ANOTHER_MODEL
        return self._answered("another" if another else body["model"])

    def _answered(self, model: str) -> web.Response:
        message = {"role": "assistant", "content": "".join(WORDS)}
        return web.json_response(
            {
                "id": "chatcmpl-1",
                "object": "chat.completion",
                "created": 1,
                "model": model,
                "choices": [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}],
                "usage": {"prompt_tokens": 7, "completion_tokens": len(WORDS), "total_tokens": 7 + len(WORDS)},
            }
        )

    def _refusal(self) -> web.Response:
        length = self.behaviour is Behaviour.REFUSES_THE_LENGTH
        error = {"message": self.SECRET, "type": "BadRequestError", "param": "input_tokens" if length else None}
        return web.json_response({"error": error}, status=400 if length else 500)

    async def _stream(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        if self.behaviour in (Behaviour.REFUSES_THE_LENGTH, Behaviour.FAILS_WITH_500):
            return self._refusal()
        answer = web.StreamResponse(headers={"content-type": "text/event-stream; charset=utf-8"})
        if self.behaviour is Behaviour.STALLS_BEFORE_THE_FIRST_BYTE:
            await asyncio.sleep(3600)
        await answer.prepare(request)
        if self.behaviour is Behaviour.STREAMS_GARBAGE:
            await answer.write(b"data: <html>\n\ndata: [DONE]\n\n")
            return answer
        words = WORDS * (20_000 if self.behaviour is Behaviour.FLOODS else 1)
        deltas = self.script or [{"content": word} for word in words]
        counted = body.get("stream_options", {}).get("continuous_usage_stats")
        for number, delta in enumerate(deltas):
            last = number == len(deltas) - 1
            used = {"prompt_tokens": 7, "completion_tokens": number + 1, "total_tokens": 8 + number}
            await self._write(
                answer, _event(body["model"], delta, self.finish if last else None, used if counted else None)
            )
            if number == 1 and await self._misbehaves(request, answer):
                return answer
        if self.behaviour is Behaviour.ENDS_WITHOUT_DONE:
            return answer
        usage = {"prompt_tokens": 7, "completion_tokens": len(deltas), "total_tokens": 7 + len(deltas)}
        if body.get("stream_options", {}).get("include_usage"):
            await self._write(
                answer, _data({"id": "chatcmpl-1", "model": body["model"], "choices": [], "usage": usage})
            )
        await self._write(answer, b"data: [DONE]\n\n")
        return answer

    async def _misbehaves(self, request: web.Request, answer: web.StreamResponse) -> bool:
        match self.behaviour:
            case Behaviour.CUTS_AFTER_TWO_EVENTS:
                assert request.transport is not None
                request.transport.abort()
                return True
            case Behaviour.SENDS_HALF_AN_EVENT:
                await answer.write(b'data: {"choices": [{"index": 0, "del')
                return True
            case Behaviour.ENDS_WITHIN_A_CHARACTER:
                await answer.write(
                    _event("glm-4v", {"content": "左"}, None)[:-30].rpartition("左".encode())[0] + "左".encode()[:1]
                )
                return True
            case Behaviour.STREAMS_GARBAGE_AFTER_TWO_EVENTS:
                await asyncio.sleep(0.3)  # or it would come in one piece with the events before it
                await answer.write(b'data: {"choices": 7}\n\ndata: [DONE]\n\n')
                return True
            case Behaviour.STALLS_AFTER_TWO_EVENTS:
                await asyncio.sleep(3600)
            case Behaviour.WAITS_FOR_LEAVE_AFTER_TWO_EVENTS:
                await self._wait_for_leave()
            case Behaviour.SENDS_AN_ERROR_EVENT:
                await self._write(answer, _data({"error": {"message": self.SECRET, "type": "InternalServerError"}}))
                await self._write(answer, b"data: [DONE]\n\n")
                return True
        return False

    async def _wait_for_leave(self) -> None:
        async with asyncio.timeout(30):
            while not self.go_on.is_set():  # noqa: ASYNC110  it is set in another thread
                await asyncio.sleep(0.005)

    async def _write(self, answer: web.StreamResponse, data: bytes) -> None:
        if self.behaviour is not Behaviour.SPLITS_CHARACTERS:
            await answer.write(data)
            return
        for byte in data:
            await answer.write(bytes([byte]))
            await asyncio.sleep(0)


def _grown(page: str, times: int) -> str:
    def line(text: str) -> str:
        name, _, value = text.rpartition(" ")
        grows = name.partition("{")[0].endswith(("_total", "_sum", "_count", "_bucket"))
        return f"{name} {float(value) * times}" if grows and not text.startswith("#") else text

    return "".join(line(text) + "\n" for text in page.splitlines())


def _data(value: dict[str, Any]) -> bytes:
    return (
        b"data: "
        + json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace('{"error":', '{"error": ').encode()
        + b"\n\n"
    )


def _event(model: str, delta: dict[str, Any], finish: str | None, usage: dict[str, int] | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    made = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": model, "choices": [choice]}
    return _data(made if usage is None else {**made, "usage": usage})
