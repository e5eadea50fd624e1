"""The attacks, each against a gateway that runs already: what was sent, what came back, what the engine saw, what it cost."""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import psutil

from tests.attack.shield import Row, remote_rows, rows
from tests.attack.wire import CASES, exchange, post, statuses
from tests.gateway.door.bodies import SALT, body, data_url, image_part, user
from tests.gateway.door.test_fuzz import check_written, originals, whole
from tests.gateway.door.test_many import mutated
from tests.support.fake_engine import FakeEngine
from tests.support.gateway import Gateway

AT_ONCE = 8
_AVIF_SHARE = 0.05
# A data URL as it is, mostly, and in forms that are written anew.
_FORMS: tuple[Callable[[str], str], ...] = (
    str,
    str,
    str,
    lambda url: url.partition(",")[2],
    lambda url: url.replace("data:", "DATA:"),
    lambda url: url.replace("+", "-").rstrip("="),
    lambda url: url.replace("A", "A\n"),
)
ANSWER_S = 30.0


@dataclass
class Attack:
    """One kind of attack. ``wrong`` has what should not have come back; ``passed`` is how many reached the engine."""

    name: str
    sent: int = 0
    passed: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0
    rss_before: int = 0
    rss_after: int = 0
    rss: list[int] = field(default_factory=list)


class Siege:
    """A gateway, its engine and a good key."""

    def __init__(self, gateway: Gateway, engine: FakeEngine, key: str, seed: int = 1) -> None:
        self.gateway, self.engine, self._key, self._seed = gateway, engine, key, seed
        self._process = psutil.Process(gateway.process.pid)

    def wire(self) -> Attack:
        """Bytes that are no well-formed HTTP, or hardly."""
        with self._attack("raw HTTP") as attack:
            for case in CASES:
                before = len(self.engine.bodies)
                found = statuses(exchange(self.gateway.port, case.sent.replace(b"{key}", self._key.encode())))
                attack.statuses.update(found)
                attack.sent += 1
                if found != case.statuses or (len(self.engine.bodies) > before) != case.reaches:
                    attack.wrong.append(f"{case.name}: {found}")
        return attack

    def through(self, proxy: Gateway, name: str) -> Attack:
        """Trailers and bytes without end, through a proxy: no trailer lets anybody in, and the gateway goes on."""
        with self._attack(f"trailers and endless bytes through {name}") as attack:
            for case in CASES:
                if "trailer" not in case.name and "without end" not in case.name:
                    continue
                before = len(self.engine.bodies)
                sent = case.sent.replace(b"{key}", self._key.encode())
                try:
                    found = statuses(exchange(proxy.port, sent, within_s=12, quiet_s=1))
                except TimeoutError:  # the proxy itself waits for more: nothing reached the gateway
                    found = (0,)
                attack.statuses.update(found)
                attack.sent += 1
                # A proxy may drop trailers and answer well: then the question is what stood in them.
                if 401 in case.statuses and (200 in found or len(self.engine.bodies) > before):
                    attack.wrong.append(f"{case.name}: {found}")
        return attack

    def shield(self) -> Attack:
        """Every row of the shield's table."""
        return self._rows("the shield's table", rows())

    def remote(self, port: int) -> Attack:
        """Pictures by URL, to a gateway that fetches from the shield's `places`; a server of pictures listens at ``port``."""
        return self._rows("pictures by URL", remote_rows(port))

    def _rows(self, name: str, table: Iterator[Row]) -> Attack:
        with self._attack(name) as attack:
            for row in table:
                before = len(self.engine.bodies)
                answer = self.gateway.request("POST", row.path, key=self._key, body=row.body)
                attack.statuses[answer.status] += 1
                attack.sent += 1
                if answer.status not in row.statuses or (len(self.engine.bodies) > before) != row.passes:
                    attack.wrong.append(f"{row.row}, {row.name}: {answer.status} {answer.body[:200]!r}")
        return attack

    def fuzz(self, inputs: int) -> Attack:
        """Mutated bodies and pictures, over kept connections."""
        chance = random.Random(self._seed)
        bodies = (_a_body(chance) for _ in range(inputs))
        return _few_503(self._many("mutated bodies and pictures", bodies, {200, 400, 404, 413, 503}))

    def heads(self, inputs: int) -> Attack:
        """Mutated heads, each on a connection of its own."""
        chance = random.Random(self._seed)
        good = post(b"Content-Length: 2", b"Connection: close", body=b"{}").replace(b"{key}", self._key.encode())
        with self._attack("mutated heads") as attack:
            asyncio.run(self._heads(attack, good, chance, inputs))
        return attack

    def soak(self, requests: int) -> Attack:
        """Good questions, with and without a picture, streaming or not."""
        asked = [json.dumps(body(stream=stream, max_tokens=16)).encode() for stream in (False, True)]
        asked.append(json.dumps(body(user("a", image_part(originals()[0])), max_tokens=16)).encode())
        attack = self._many("good questions", (asked[number % 3] for number in range(requests)), {200, 503})
        return _few_503(attack)

    def _attack(self, name: str) -> "_Attacking":
        return _Attacking(self, Attack(name))

    def rss(self) -> int:
        return int(self._process.memory_info().rss)

    def good(self) -> bool:
        """Whether the next good request is answered."""
        return self.gateway.chat(self._key).status == 200

    def look(self, attack: Attack) -> None:
        """Check all that reached the engine, and forget it."""
        for made in self.engine.bodies:
            try:
                check_written({**made, "model": "served", "cache_salt": SALT})
                assert len(made["cache_salt"]) == 64
            except AssertionError as error:
                attack.wrong.append(f"reached the engine: {json.dumps(made)[:300]} ({error})")
        attack.passed += len(self.engine.bodies)
        self.engine.bodies.clear()
        self.engine.headers.clear()

    def _many(self, name: str, bodies: Iterator[bytes], allowed: set[int]) -> Attack:
        with self._attack(name) as attack:
            asyncio.run(self._send(attack, bodies, allowed))
        return attack

    async def _send(self, attack: Attack, bodies: Iterator[bytes], allowed: set[int]) -> None:
        async def one() -> None:
            connection = None
            for sent in bodies:
                head = post(b"Content-Length: %d" % len(sent), body=sent).replace(b"{key}", self._key.encode())
                connection = connection or await asyncio.open_connection("127.0.0.1", self.gateway.port)
                connection[1].write(head)
                status, last, content = await asyncio.wait_for(_answer(connection[0]), ANSWER_S)
                attack.statuses[status] += 1
                attack.sent += 1
                if status not in allowed or (status == 503 and b'"audit_unavailable"' not in content):
                    attack.wrong.append(f"{status} for {sent[:300]!r}")
                if last:
                    connection[1].close()
                    connection = None
                if attack.sent % 2000 == 0:
                    self.look(attack)
                    attack.rss.append(self.rss())
            if connection:
                connection[1].close()

        await asyncio.gather(*(one() for _ in range(AT_ONCE)))

    async def _heads(self, attack: Attack, good: bytes, chance: random.Random, inputs: int) -> None:
        head, _, content = good.partition(b"\r\n\r\n")

        async def one() -> None:
            while attack.sent < inputs:
                attack.sent += 1
                sent = mutated(head, chance) + b"\r\n\r\n" + content
                reader, writer = await asyncio.open_connection("127.0.0.1", self.gateway.port)
                writer.write(sent)
                writer.write_eof()
                received = await asyncio.wait_for(reader.read(), ANSWER_S)
                writer.close()
                found = statuses(received) if received else (0,)  # 0: closed without a word, as half a head deserves
                attack.statuses.update(found)
                if not set(found) <= {0, 200, 400, 401, 404, 405, 408, 413, 429, 431}:
                    attack.wrong.append(f"{found} for {sent!r}")

        await asyncio.gather(*(one() for _ in range(AT_ONCE)))


class _Attacking:
    """Times an attack, weighs the gateway before and after, and looks at what reached the engine."""

    def __init__(self, siege: Siege, attack: Attack) -> None:
        self._siege, self._of = siege, attack

    def __enter__(self) -> Attack:
        self._siege.engine.bodies.clear()
        self._of.rss_before = self._siege.rss()
        self._started_s = time.monotonic()
        return self._of

    def __exit__(self, *_: object) -> None:
        self._of.seconds = time.monotonic() - self._started_s
        self._siege.look(self._of)
        self._of.rss_after = self._siege.rss()
        if not self._siege.good():
            self._of.wrong.append("the next good request was not answered")


def _a_body(chance: random.Random) -> bytes:
    if chance.random() < 0.5:
        return mutated(whole(), chance)
    data = mutated(chance.choice(originals()), chance)
    kind = {b"\x89P": "png", b"\xff\xd8": "jpeg", b"RI": "webp", b"GI": "gif"}.get(data[:2], "png")
    if data[4:8] == b"ftyp" and chance.random() > _AVIF_SHARE:
        data = originals()[0]  # a broken AVIF costs the start of a process
    url = chance.choice(_FORMS)(data_url(data, f"image/{kind}"))
    return json.dumps(body(user("a", {"type": "image_url", "image_url": {"url": url}}))).encode()


def _few_503(attack: Attack) -> Attack:
    # A busy disk keeps the ledger over its deadline now and then; the gateway then fails closed.
    if attack.statuses[503] * 100 > attack.sent:
        attack.wrong.append("more than one in a hundred was 503")
    return attack


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bool, bytes]:
    """One answer, read to its end: its status, whether it was the connection's last, and its body unless it came in chunks."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    status = int(head[9:12])
    content = b""
    _, found, length = head.partition(b"content-length: ")
    if found:
        content = await reader.readexactly(int(length.partition(b"\r\n")[0]))
    else:
        while size := int((await reader.readuntil(b"\r\n")).strip() or b"0", 16):
            await reader.readexactly(size + 2)
        await reader.readexactly(2)
    return status, b"connection: close" in head, content
