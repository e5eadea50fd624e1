"""Requests that cost the gateway as much as the door lets pass, one of each kind, and how late /healthz is beside ten of them."""

import http.client
import json
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from gateway.door import DoorLimits
from gateway.door.image_headers import Steps
from tests.gateway.door.bodies import body, image_part, picture, user
from tests.support.gateway import Gateway

AT_ONCE = 10
ASK_EACH_S = 0.01
GOAL_MS = 200.0
LIMITS = DoorLimits()
PARTS = LIMITS.image_steps // Steps.PART  # chunks or segments of one image
VALUES = LIMITS.values - 100


@dataclass(frozen=True)
class Kind:
    """``make`` gives a body; ``status`` is the answer that it must get."""

    name: str
    make: Callable[[], bytes]
    status: int = 200


@dataclass(frozen=True)
class Late:
    """What came of ten at once: the latest /healthz, and how long the last of the ten took."""

    kind: Kind
    statuses: Counter[int]
    asked: int
    latest_ms: float
    seconds: float


def chunk(kind: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4) + kind + content + zlib.crc32(kind + content).to_bytes(4)


def png(extra: bytes) -> bytes:
    """A good PNG with more chunks behind its header."""
    data = picture()
    return data[:33] + extra + data[33:]


def gif(blocks: int) -> bytes:
    """A good GIF with a comment of so many blocks, a byte each."""
    return picture("GIF")[:-1] + b"\x21\xfe" + b"\1a" * blocks + b"\0;"


def jpeg(segments: int, fill: int = 1, **options: Any) -> bytes:
    """A good JPEG with so many empty comments, so many bytes FF before each."""
    data = picture("JPEG", **options)
    return data[:2] + (b"\xff" * fill + b"\xfe\0\2") * segments + data[2:]


def webp(chunks: int) -> bytes:
    data = bytearray(picture("WEBP", exif=b"Exif\0\0MM") + b"abcd\0\0\0\0" * chunks)
    data[4:8] = (len(data) - 8).to_bytes(4, "little")
    return bytes(data)


def scans(data: bytes, number: int) -> bytes:
    """A progressive JPEG whose last scan is repeated until there are so many."""
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * (number - data.count(b"\xff\xda") + 1) + b"\xff\xd9"


def shown(data: bytes, kind: str, times: int) -> bytes:
    return json.dumps(body(user("What?", *[image_part(data, kind)] * times))).encode()


def parsed(values: str) -> bytes:
    """A body whose values stand where a client's SDK sends its own reading back."""
    said = f'{{"role": "assistant", "content": "x", "parsed": {values}}}'
    return f'{{"model": "glm-4v", "messages": [{said}, {{"role": "user", "content": "x"}}]}}'.encode()


def arguments(values: str) -> bytes:
    call = {"id": "a", "function": {"name": "f", "arguments": values}}
    return json.dumps(body("x", {"role": "assistant", "tool_calls": [call]}, "x")).encode()


def tools(number: int, parameters: dict[str, Any]) -> bytes:
    made = [{"type": "function", "function": {"name": f"f{n}", "parameters": parameters}} for n in range(number)]
    return json.dumps(body("x", tools=made)).encode()


def schema(made: dict[str, Any]) -> bytes:
    chosen = {"type": "json_schema", "json_schema": {"name": "s", "schema": made}}
    return json.dumps(body("x", response_format=chosen)).encode()


def deepest(levels: int) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for _ in range(levels):
        made = {"a": made}
    return made


def kinds() -> Iterator[Kind]:
    """As much of each thing as passes; and what once was the worst and passes no more."""
    empty = chunk(b"teXt", b"")
    yield Kind("an ordinary question", lambda: json.dumps(body("Hello")).encode())
    yield Kind("PNG chunks, 2 images", lambda: shown(png(empty * (PARTS - 9)), "image/png", 2))
    yield Kind("GIF blocks, 2 images", lambda: shown(gif(LIMITS.image_steps - 200), "image/gif", 2))
    yield Kind("JPEG segments, 2 images", lambda: shown(jpeg(PARTS - 300), "image/jpeg", 2))
    yield Kind("JPEG fill bytes, 16 images", lambda: shown(jpeg(90, 60), "image/jpeg", 16))
    yield Kind("WebP chunks, 8 images", lambda: shown(webp(1000), "image/webp", 8))
    text = chunk(b"zTXt", b"a\0\0" + zlib.compress(b"\0" * 1_000_000, 9))
    yield Kind("PNG text that inflates, 4 images", lambda: shown(png(text * 8), "image/png", 4))
    yield Kind(
        "JPEG with 100 scans, 16 images", lambda: shown(scans(picture("JPEG", progressive=True), 100), "image/jpeg", 16)
    )
    big = b"x" * (LIMITS.image_bytes - 20_000)
    yield Kind("two images of 10 MiB", lambda: shown(png(chunk(b"teXt", big)), "image/png", 2))
    yield Kind(
        "10 MiB of FF behind a JPEG, 2 images", lambda: shown(picture("JPEG") + b"\xff" * len(big), "image/jpeg", 2)
    )
    yield Kind("objects of one value", lambda: parsed("[" + '{"a":1},' * (VALUES // 2) + "1]"))
    yield Kind("names beyond ASCII", lambda: parsed("{" + ",".join(f'"{n}é":"é"' for n in range(VALUES)) + "}"))
    yield Kind("1,000 extreme numbers", lambda: parsed("[" + "1.7976931348623157e308," * 999 + "1]"))
    yield Kind("an object for each value of arguments", lambda: arguments("[" + '{"é":"|>"},' * (VALUES // 2) + "1]"))
    calls = [{"id": "a", "function": {"name": "f", "arguments": "{}"}}] * 100
    yield Kind(
        "6,000 tool calls",
        lambda: json.dumps(body("x", *[{"role": "assistant", "tool_calls": calls}] * 60, "x")).encode(),
    )
    yield Kind("1,000 messages with ends of control tokens", lambda: json.dumps(body(*["op>|>" * 180] * 1000)).encode())
    yield Kind("a text of ends of control tokens", lambda: json.dumps(body("op>|>MASK]" * 90_000)).encode())
    yield Kind(
        "tools with patterns",
        lambda: tools(100, {"properties": _patterns(15)}),
    )
    yield Kind("tools that nest", lambda: tools(128, deepest(LIMITS.schema_depth - 2)))
    yield Kind(
        "the widest schema",
        lambda: schema({"properties": _choices(LIMITS.schema_properties)}),
    )
    yield Kind("escapes", lambda: parsed('"' + "\\u00e9" * 340_000 + '"'))
    # What held the loop for seconds before there were bounds.
    yield Kind("refused: 65,500 PNG chunks, 16 images", lambda: shown(png(empty * 65_500), "image/png", 16), 400)
    yield Kind("refused: 5 million GIF blocks, 2 images", lambda: shown(gif(5_000_000), "image/gif", 2), 400)
    yield Kind(
        "refused: 4,000 JPEG segments with 63 FF, 16 images", lambda: shown(jpeg(4000, 63), "image/jpeg", 16), 400
    )
    yield Kind("refused: 49,000 extreme numbers", lambda: parsed("[" + "1.7976931348623157e308," * VALUES + "1]"), 400)
    yield Kind("refused: a data URL of 30 MB, escaped", _escaped, 413)


def _patterns(number: int) -> dict[str, Any]:
    return {f"p{n}": {"pattern": "{" + "1" * 100} for n in range(number)}


def _choices(number: int) -> dict[str, Any]:
    return {f"p{n}": {"enum": [n]} for n in range(number)}


def _escaped() -> bytes:
    sent = json.dumps(body(user(image_part(picture()))))
    return sent.replace("data:", "\\u0064ata:").replace("base64,", "base64," + "A" * 30_000_000).encode()


def latest(gateway: Gateway, key: str, kind: Kind) -> Late:
    """Send ten of a kind at once and ask /healthz all the while."""
    content, over, found = kind.make(), threading.Event(), list[float]()
    health = threading.Thread(target=_ask_health, args=(gateway.port, over, found))
    health.start()
    started_s = time.monotonic()
    try:
        with ThreadPoolExecutor(AT_ONCE) as many:
            answers = list(many.map(lambda _: _ask(gateway, key, content), range(AT_ONCE)))
    finally:
        seconds = time.monotonic() - started_s
        over.set()
        health.join()
    return Late(kind, Counter(answers), len(found), 1000 * max(found), seconds)


def _ask(gateway: Gateway, key: str, content: bytes) -> int:
    return gateway.request("POST", "/v1/chat/completions", key=key, body=content).status


def _ask_health(port: int, over: threading.Event, found: list[float]) -> None:
    """Over a connection that is kept: what is measured is the loop, and no handshake."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    while not over.wait(ASK_EACH_S) or not found:
        started_s = time.monotonic()
        connection.request("GET", "/healthz")
        connection.getresponse().read()
        found.append(time.monotonic() - started_s)
    connection.close()


def table(found: list[Late]) -> str:
    """One line a kind."""
    lines = [
        f"| {AT_ONCE} at once of | answers | latest /healthz, ms (goal {GOAL_MS:.0f}) | seconds |",
        "| --- | --- | --- | --- |",
    ]
    for one in found:
        answers = ", ".join(f"{count} × {status}" for status, count in sorted(one.statuses.items()))
        lines.append(f"| {one.kind.name} | {answers} | {one.latest_ms:.0f} | {one.seconds:.1f} |")
    return "\n".join(lines)


def wrong(found: list[Late]) -> list[str]:
    """What was not answered as it should be."""
    return [
        f"the most expensive requests: {one.kind.name}: {dict(one.statuses)}"
        for one in found
        if set(one.statuses) - {one.kind.status, 503} or one.statuses[one.kind.status] == 0
    ]
