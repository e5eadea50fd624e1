"""A real ledger process for tests, and the messages that tests send to it. Never patches the ledger."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import psutil

from gateway.ledger.client.async_client import Deadlines, LedgerClient
from gateway.ledger.client.messages import Admit, Complete, ImageDigest, Limit, TextDigest
from gateway.ledger.format.note import Verifier
from gateway.ledger.format.record import decode
from gateway.ledger.readers.reader import LogReader
from gateway.ledger.storage.create import found
from gateway.ledger.storage.keyring import Keyring
from gateway.ledger.storage.layout import LogLayout
from tests.support import forks

ROOT = Path(__file__).resolve().parents[2]
READY_S = 20.0
PATIENT = Deadlines(admit_s=20, complete_s=20, other_s=20)
LEDGER = "gateway.ledger"
BASE = [sys.executable, "-m", LEDGER]


def sha256(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def text(content: str) -> TextDigest:
    return TextDigest(sha256(content.encode()), len(content))


def image(content: bytes) -> ImageDigest:
    return ImageDigest(sha256(content), len(content), "image/png", 336, 336)


def admit(number: int = 0, *, prompt: str = "what is this?", picture: bytes | None = None, **more: Any) -> Admit:
    """An admit as a gateway worker would send it."""
    fields: dict[str, Any] = {
        "key": "key-1",
        "tenant": "lab",
        "ip": "192.0.2.7",
        "peer": "127.0.0.1:5000",
        "route": "/v1/chat/completions",
        "model": "glm-4v",
        "stream": True,
        "request": f"request-{number}",
        "prompt": text(prompt),
        "conversation": text("system\n" + prompt),
        "images": () if picture is None else (image(picture),),
        "params": {"max_tokens": 128, "temperature": "0.7"},
        "tokens": 100,
    }
    return Admit(**(fields | more))


def complete(identity: str, answer: str = "a red circle", **more: Any) -> Complete:
    fields: dict[str, Any] = {
        "id": identity,
        "outcome": "completed",
        "status": 200,
        "answer": text(answer),
        "finish": "stop",
        "prompt_tokens": 40,
        "answer_tokens": 12,
        "engine": "engine-0",
        "ttft_ms": 30,
        "total_ms": 220,
    }
    return Complete(**(fields | more))


def limit(**values: int) -> Limit:
    return Limit("key", "key-1", **values)


def environment(home: Path, **settings: Any) -> dict[str, str]:
    """A clean environment with the ledger's settings; tests may run on a tmpfs, so that is allowed unless said."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("VITRINE_")}
    chosen = {"allow_volatile": "true"} | settings
    named = {f"VITRINE_LEDGER_{name.upper()}": str(value) for name, value in chosen.items()}
    return kept | {"PYTHONPATH": str(ROOT), "VITRINE_HOME": str(home)} | named


def command(home: Path, *arguments: str, timeout_s: float = 60, **settings: Any) -> subprocess.CompletedProcess[str]:
    """Run one command of the ledger to its end."""
    words, env = [LEDGER, *arguments], environment(home, **settings)
    return forks.run(words, env=env, cwd=home.parent, timeout=timeout_s)


def make_log(home: Path, origin: str = "test.example/log") -> tuple[LogLayout, Keyring]:
    """A new log without a process."""
    layout, keyring = LogLayout(home / "ledger"), Keyring(home / "ledger-keys")
    found(layout, keyring, origin)
    return layout, keyring


class Ledger:
    """A running ledger process; `prefix` puts another program in front, such as strace."""

    def __init__(self, home: Path, *, prefix: tuple[str, ...] = (), **settings: Any) -> None:
        self.home = home
        self.socket = home / "run" / "ledger.sock"
        self.layout = LogLayout(home / "ledger")
        home.mkdir(exist_ok=True)
        self._log_path = home.parent / f"{home.name}.log"
        with self._log_path.open("ab") as log:
            env = environment(home, **settings)
            self.process: subprocess.Popen[bytes] | forks.Fork
            if prefix:
                words = [*prefix, *BASE, "serve"]
                self.process = subprocess.Popen(
                    words, env=env, cwd=home.parent, stderr=log, stdout=log, start_new_session=True
                )
            else:
                self.process = forks.start([LEDGER, "serve"], env=env, cwd=home.parent, stderr=log, stdout=log)

    def wait_ready(self) -> None:
        """Until the socket answers or the process ends; what it said is in the error."""
        give_up = time.monotonic() + READY_S
        while not answers(self.socket):
            if self.process.poll() is not None:
                raise AssertionError(f"the ledger ended with {self.process.returncode}:\n{self.said()}")
            if time.monotonic() > give_up:
                raise AssertionError(f"the ledger was not ready within {READY_S} s:\n{self.said()}")
            time.sleep(0.01)  # between two looks

    def said(self) -> str:
        return self._log_path.read_text()

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.said().splitlines() if line.startswith("{")]

    def stop(self) -> int:
        """SIGTERM; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> int:
        self.process.kill()
        return self.wait()

    def kill_traced(self) -> None:
        """SIGKILL to the ledger itself where another program runs in front of it."""
        for child in psutil.Process(self.process.pid).children(recursive=True):
            child.kill()
        self.wait()

    def wait(self, timeout_s: float = 30) -> int:
        return self.process.wait(timeout_s)

    def end(self) -> None:
        """Whatever the test did: nothing of the process group stays behind."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)


def answers(path: Path) -> bool:
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        probe.connect(str(path))
    except OSError:
        return False
    finally:
        probe.close()
    return True


@contextmanager
def running(home: Path, **settings: Any) -> Iterator[Ledger]:
    """A ledger that answers, ended whatever happens."""
    ledger = Ledger(home, **settings)
    try:
        ledger.wait_ready()
        yield ledger
    finally:
        ledger.end()


@asynccontextmanager
async def client_of(ledger: Ledger, **more: Any) -> AsyncIterator[LedgerClient]:
    async with await LedgerClient.connect(ledger.socket, more.pop("deadlines", PATIENT), **more) as client:
        yield client


async def exchange(client: LedgerClient, number: int = 0, **more: Any) -> str:
    """One whole exchange; its id."""
    receipt = await client.admit(admit(number, **more))
    await client.complete(complete(receipt.id))
    return receipt.id


async def exchanges(client: LedgerClient, count: int, **more: Any) -> list[str]:
    return list(await asyncio.gather(*[exchange(client, number, **more) for number in range(count)]))


def verifier_of(ledger: Ledger) -> Verifier:
    """The log's public key."""
    return Keyring(ledger.home / "ledger-keys").verifier()


def records(ledger: Ledger) -> list[dict[str, Any]]:
    """All records of the log, oldest first."""
    return [decode(line) for _, line in LogReader(ledger.layout, verifier_of(ledger)).lines()]


def of_kind(ledger: Ledger, kind: str) -> list[dict[str, Any]]:
    return [record for record in records(ledger) if record["kind"] == kind]
