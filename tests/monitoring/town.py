"""What Prometheus looks at, and work that makes it move: the real gateway and ledger before engines that misbehave."""

import base64
import contextlib
import io
import json
import os
import signal
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from tests.monitoring.prometheus import Prometheus, Window
from tests.support.audit import Ledger
from tests.support.certificate import certificate
from tests.support.deadline import until
from tests.support.fake_engine import Behaviour, FakeEngine
from tests.support.gateway import Gateway, question
from tests.support.prometheus import PrometheusServer

SCRAPE_S = 1.5  # a scrape waits a second for a ledger that does not answer
REST_S = 4.0  # two scrapes more than the first that saw it


@dataclass
class Town:
    """``window`` is the time of the work, from before the first scrape that saw anything."""

    gateway: Gateway
    ledger: Ledger
    engines: list[FakeEngine]
    prometheus: Prometheus
    started: float
    ended: float = 0.0
    keys: dict[str, str] = field(default_factory=dict)

    @property
    def window(self) -> Window:
        return Window(self.started, self.ended, SCRAPE_S)


@contextmanager
def town(folder: Path) -> Iterator[Town]:
    """The town after a day's work. ``engine-1`` is down in the end, ``far`` is over TLS."""
    home = folder / "home"
    with ExitStack() as stack:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        chain, secret = certificate(folder, "localhost")
        context.load_cert_chain(chain, secret)
        engines = [stack.enter_context(FakeEngine(home / "run", number)) for number in range(2)]
        far = stack.enter_context(FakeEngine(home / "run", 9, tcp=context))
        ledger = stack.enter_context(Ledger(home))
        gateway = stack.enter_context(
            Gateway(
                home,
                VITRINE_ENGINES=f"far={far.url.replace('127.0.0.1', 'localhost')}",
                VITRINE_ENGINES_CA=str(chain),
                VITRINE_ENGINES_CERT=str(chain),
                VITRINE_ENGINES_KEY=str(secret),
                VITRINE_BUSY_EXCHANGES="3",
                VITRINE_ADMIT_TIMEOUT_S="1",
                VITRINE_SILENCE_TIMEOUT_S="3",
            )
        )
        targets = {"127.0.0.1:8081": f"127.0.0.1:{gateway.metrics_port}"}
        server = stack.enter_context(PrometheusServer(folder / "prometheus", targets, SCRAPE_S))
        living = Town(gateway, ledger, [*engines, far], Prometheus(server.url), time.time())
        _make_keys(living)
        # One scrape before anything happened: what comes next is an increase.
        until(lambda: living.prometheus.at("count(up == 1) == 5"), within_s=20, what="everything is scraped")
        _work(living)
        time.sleep(REST_S)  # the last scrapes see the end
        living.ended = time.time()
        yield living


def _make_keys(living: Town) -> None:
    gateway = living.gateway
    tenants = ("radiology", "quality", "lab", "trial")
    with ThreadPoolExecutor(len(tenants)) as many:
        made = many.map(lambda tenant: gateway.create_key("--tenant", tenant), tenants)
        living.keys = dict(zip(tenants, made, strict=True))
    gateway.limit("--tenant", "trial", "--requests-per-min", "2")


def _work(living: Town) -> None:
    with _traffic(living):
        time.sleep(2)  # ordinary traffic before trouble
        _refusals(living)
        _misbehaviour(living)
        _a_late_ledger(living)
        _a_queue(living)
        living.engines[1].say("restarting", "it died")
        time.sleep(3)  # scrapes see the engine that restarts


@contextmanager
def _traffic(living: Town) -> Iterator[None]:
    """Good questions of all tenants, streams and others, each with a picture, until the rest is done."""
    over = threading.Event()

    def ask(number: int) -> None:
        tenant = ("radiology", "quality", "lab")[number % 3]
        while not over.is_set():
            drawn = picture(28 + 28 * (number % 4), 28)
            with contextlib.suppress(OSError):
                living.gateway.chat(living.keys[tenant], stream=number % 2 == 0, messages=asking(drawn))
            time.sleep(0.05)  # a person's pause

    with ThreadPoolExecutor(6) as many:
        for number in range(6):
            many.submit(ask, number)
        try:
            yield
        finally:
            over.set()


def picture(wide: int, high: int) -> str:
    file = io.BytesIO()
    Image.new("RGB", (wide, high), (wide % 256, 40, 90)).save(file, format="PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def asking(picture: str) -> list[dict[str, object]]:
    content = [{"type": "image_url", "image_url": {"url": picture}}, {"type": "text", "text": "What is it?"}]
    return [{"role": "user", "content": content}]


def _refusals(living: Town) -> None:
    gateway, key = living.gateway, living.keys["lab"]
    for number in range(3):
        gateway.chat(key, priority=7)
        gateway.chat(key, model=f"nobody-{number}")
        gateway.chat(None)
    # Past the first scrape that saw the limit: a series that is born with its count shows no increase.
    for _ in range(2):
        for _ in range(4):
            gateway.chat(living.keys["trial"])
        time.sleep(SCRAPE_S)  # into the next scrape
    for number in range(25):
        gateway.chat(f"vt_{number:040}")


def _misbehaviour(living: Town) -> None:
    """Every engine fails for a while, in ways that end differently."""
    for behaviour in (Behaviour.CUTS_AFTER_TWO_EVENTS, Behaviour.FAILS_WITH_500, Behaviour.STALLS_AFTER_TWO_EVENTS):
        for engine in living.engines:
            engine.behaviour = behaviour
        with ThreadPoolExecutor(3) as many:
            for _ in many.map(lambda _: living.gateway.chat(living.keys["quality"], stream=True).status, range(3)):
                pass
        time.sleep(1)  # the others' questions fail too: more than the objective allows
        for engine in living.engines:
            engine.behaviour = Behaviour.ANSWERS
        time.sleep(0.5)  # the others' questions are answered again
    _leave(living)


def _leave(living: Town) -> None:
    """A client goes away in the middle of an answer."""
    for engine in living.engines:
        engine.behaviour = Behaviour.WAITS_FOR_LEAVE_AFTER_TWO_EVENTS
    body = json.dumps(question(stream=True)).encode()
    head = "\r\n".join(
        (
            "POST /v1/chat/completions HTTP/1.1",
            "host: x",
            f"authorization: Bearer {living.keys['lab']}",
            f"content-length: {len(body)}",
            "",
            "",
        )
    )
    with socket.create_connection(("127.0.0.1", living.gateway.port), timeout=10) as client:
        client.sendall(head.encode() + body)
        client.recv(100)
    for engine in living.engines:
        engine.behaviour = Behaviour.ANSWERS
        engine.go_on.set()


def _a_late_ledger(living: Town) -> None:
    os.kill(living.ledger.process.pid, signal.SIGSTOP)
    try:
        with ThreadPoolExecutor(4) as many:
            for _ in many.map(lambda _: living.gateway.chat(living.keys["lab"]).status, range(4)):
                pass
    finally:
        os.kill(living.ledger.process.pid, signal.SIGCONT)


def _a_queue(living: Town) -> None:
    """More at once than the engines may have, for long enough to be scraped."""
    for engine in living.engines:
        engine.go_on.clear()
        engine.behaviour = Behaviour.WAITS_FOR_LEAVE
    with ThreadPoolExecutor(24) as many:
        asked = [many.submit(living.gateway.chat, living.keys["radiology"]) for _ in range(24)]
        time.sleep(2.5)  # scrapes see the queue
        for engine in living.engines:
            engine.behaviour = Behaviour.ANSWERS
            engine.go_on.set()
        for one in asked:
            one.result(30)
