"""Two gateway hosts: each with an engine, a log and keys of its own, and the same keys in both."""

import asyncio
import re
import signal
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from aiohttp import web

from tests.support.audit import Ledger
from tests.support.deadline import until
from tests.support.fake_engine import Behaviour, FakeEngine
from tests.support.gateway import Gateway
from tests.support.ports import free_port
from tests.support.process import run

# As they stand in deploy/nginx and deploy/haproxy.
ADDRESSES = ("10.0.0.11:8080", "10.0.0.12:8080")
ORIGINS = ("gateway-1.example/vitrine", "gateway-2.example/vitrine")


class PatientEngine(FakeEngine):
    """Sends each event only when it is told to, while ``steps`` is not None."""

    steps: threading.Semaphore | None = None

    async def _write(self, answer: web.StreamResponse, data: bytes) -> None:
        async with asyncio.timeout(30):
            while self.steps is not None and not self.steps.acquire(blocking=False):  # noqa: ASYNC110  set in another thread
                await asyncio.sleep(0.005)
        await super()._write(answer, data)


class NamedLedger(Ledger):
    """A ledger whose log has a given name."""

    def __init__(self, home: Path, origin: str) -> None:
        self.home = home
        self.env = {"VITRINE_HOME": str(home), "VITRINE_LEDGER_ORIGIN": origin}
        self.start()


class Host:
    """One gateway host. ``port`` stays the same over restarts of its gateway."""

    def __init__(self, home: Path, engine: PatientEngine, ledger: NamedLedger, settings: dict[str, str]) -> None:
        self.home, self.engine, self.ledger = home, engine, ledger
        self.port = free_port()
        self._settings = {"VITRINE_PORT": str(self.port), "VITRINE_TRUSTED_PROXIES": "127.0.0.1", **settings}
        self.start()

    def start(self) -> None:
        self.gateway = Gateway(self.home, **self._settings)

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        self.gateway.process.end(signal.SIGKILL)

    def is_ready(self) -> bool:
        return self.gateway.request("GET", "/readyz").status == 200

    def wait_until_unready(self) -> None:
        until(lambda: not self.is_ready(), what="not ready")

    def chats(self, status: int) -> int:
        """How many chat requests this gateway has answered with ``status`` since its start."""
        text = self.gateway.request("GET", "/metrics", key=self.metrics_key).body.decode()
        pattern = rf'^vitrine_requests_total{{method="POST",route="/v1/chat/completions",status="{status}"}} (\S+)$'
        found = re.search(pattern, text, re.MULTILINE)
        return int(float(found[1])) if found else 0

    metrics_key = ""


class Site:
    """Both hosts, and a key that both know."""

    def __init__(self, hosts: list[Host], key: str) -> None:
        self.hosts, self.key = hosts, key

    @property
    def ports(self) -> list[int]:
        return [host.port for host in self.hosts]

    def reset(self) -> None:
        """Engines well behaved and with nothing remembered."""
        for host in self.hosts:
            host.engine.behaviour = Behaviour.ANSWERS
            host.engine.steps = None
            host.engine.bodies.clear()
            host.engine.go_on.clear()
            host.engine.left = 0
            host.engine.say("ready")
        for host in self.hosts:
            until(host.is_ready, what="the gateway is ready")


@contextmanager
def two_hosts(top: Path, *settings: dict[str, str]) -> Iterator[Site]:
    """``settings``: of the first gateway, of the second."""
    with ExitStack() as stack:
        homes = [top / f"host-{number}" for number in (1, 2)]
        engines = [stack.enter_context(PatientEngine(home / "run")) for home in homes]
        ledgers = [stack.enter_context(NamedLedger(home, origin)) for home, origin in zip(homes, ORIGINS, strict=True)]
        key, metrics_key = (create_key(homes[0], *options) for options in ((), ("--scope", "metrics")))
        copy_keys(homes[0], homes[1])
        hosts = []
        for number, (home, engine, ledger) in enumerate(zip(homes, engines, ledgers, strict=True)):
            host = Host(home, engine, ledger, settings[number] if settings else {})
            host.metrics_key = metrics_key
            stack.callback(host.kill)  # not told to end: behind a proxy it would linger
            hosts.append(host)
        yield Site(hosts, key)


def create_key(home: Path, *options: str) -> str:
    """A new key, made on this host and recorded in its log."""
    made = run("gateway.keys", "create", "--name", "test", "--quiet", *options, env={"VITRINE_HOME": str(home)})
    assert made.returncode == 0, made.stderr
    return made.stdout.strip()


def copy_keys(source_home: Path, target_home: Path) -> None:
    """As docs/scaling.md says: SQLite's own copy, which is whole also while somebody writes."""
    source, target = source_home / "keys.sqlite", target_home / "keys.sqlite"
    with sqlite3.connect(source) as old, sqlite3.connect(target) as new:
        old.backup(new)
    old.close()
    new.close()
    target.chmod(0o600)
