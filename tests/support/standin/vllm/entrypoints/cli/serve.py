"""vLLM's serve command as far as the supervisor sees it; the variable STANDIN, a JSON object, says how it misbehaves."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from argparse import Namespace
from typing import Any


class ServeSubcommand:
    def validate(self, arguments: Namespace) -> None:
        pass

    def cmd(self, arguments: Namespace) -> None:
        behaviour = json.loads(os.environ.get("STANDIN", "{}"))
        first, later = behaviour.pop("only_in_the_first_life", ""), behaviour.pop("only_in_later_lives", "")
        lived = os.path.exists(first or later)
        if first or later:
            open(first or later, "w").close()
        if (first and lived) or (later and not lived):
            behaviour = {}
        sleep = [sys.executable, "-c", "import time; time.sleep(300)"]  # longer than any test
        if behaviour.get("starts_a_child"):
            subprocess.Popen(sleep)
        if behaviour.get("starts_a_child_that_leaves"):
            print("stand-in | child", subprocess.Popen(sleep, start_new_session=True).pid, flush=True)
        asyncio.run(Server(arguments, behaviour).live())


class Text(str):
    """An answer that is not JSON."""


class Server:
    """An HTTP server of four paths on a Unix socket. Like vLLM it does not remove a stale one."""

    def __init__(self, arguments: Namespace, behaviour: dict[str, Any]) -> None:
        self._arguments, self._behaviour = arguments, behaviour
        self._asked_to_stop = asyncio.Event()
        self._looked_at = False
        self._counted = 0
        self._held: set[asyncio.Task[None]] = set()

    async def live(self) -> None:
        behaviour = self._behaviour
        print("stand-in | loading", flush=True)
        if behaviour.get("prints_bytes"):
            sys.stdout.write("x" * behaviour["prints_bytes"] + "\nstand-in | after the long line\n")
            sys.stdout.flush()
        if behaviour.get("prints"):
            print(behaviour["prints"], flush=True)
        if behaviour.get("dies_while_loading"):
            sys.exit("stand-in | the weights are of another model")
        loop = asyncio.get_running_loop()
        if behaviour.get("ignores_sigterm"):
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        else:
            loop.add_signal_handler(signal.SIGTERM, self._asked_to_stop.set)
        if not behaviour.get("never_serves"):
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(self._arguments.uds)
            server = await asyncio.start_unix_server(self._client, sock=listener)
        await self._asked_to_stop.wait()
        if not behaviour.get("never_serves"):
            server.close()
            if self._held:
                await asyncio.wait(self._held, timeout=self._arguments.shutdown_timeout)
            print("stand-in | drained", flush=True)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._held.add(task)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = next(
                (int(line.split(":")[1]) for line in head.lower().split("\r\n") if "content-length:" in line), 0
            )
            body = json.loads(await reader.readexactly(length)) if length else {}
            answer = await self._answer(head.split()[1], body)
            text = (answer if isinstance(answer, Text) else json.dumps(answer)).encode()
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n")
            writer.write(b"content-length: %d\r\n\r\n" % len(text) + text)
            await writer.drain()
        writer.close()
        self._held.discard(task)

    async def _answer(self, path: str, body: dict[str, Any]) -> object:
        behaviour = self._behaviour
        if self._looked_at and behaviour.get("hangs_once_ready"):
            await asyncio.Event().wait()
        if path == "/v1/models":
            self._looked_at = True
            if behaviour.get("hides_its_length"):
                return {"data": []}
            return {"data": [{"id": name, "max_model_len": self._arguments.max_model_len} for name in self._names]}
        if path == "/v1/chat/completions":
            assert body["model"] in self._names
            if behaviour.get("dies_in_its_warm_up"):
                os._exit(7)
            if body.get("hold"):  # a long answer: it ends only after the engine was asked to stop
                print("stand-in | holding a request", flush=True)
                await self._asked_to_stop.wait()
            if self._looked_at and behaviour.get("makes_no_token_once_ready"):
                await asyncio.Event().wait()  # and /health is well, as with vLLM when its core hangs
            if "cache_salt" in body:  # the gateway's; the supervisor sends none
                await asyncio.sleep(behaviour.get("answers_after_s", 0) if body["cache_salt"] != "probe" else 0)
                message = {"role": "assistant", "content": "word"}
                choice = {"index": 0, "message": message, "finish_reason": "stop"}
                usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
                return {
                    "id": "1",
                    "object": "chat.completion",
                    "created": 1,
                    "model": body["model"],
                    "choices": [choice],
                    "usage": usage,
                }
            return {"usage": {"completion_tokens": 0 if behaviour.get("answers_no_token") else 1}}
        if path == "/metrics" and behaviour.get("counts"):
            self._counted += 1
            return Text(f'vllm:generation_tokens_total{{engine="0"}} {self._counted}.0\n')
        if self._looked_at and behaviour.pop("knocks_once_ready", False):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as outside, contextlib.suppress(OSError):
                outside.sendto(b"anybody there?", ("192.0.2.1", 443))
        if self._looked_at and behaviour.get("dies_once_ready"):
            os._exit(9)
        return {}

    @property
    def _names(self) -> list[str]:
        return list(self._arguments.served_model_name)
