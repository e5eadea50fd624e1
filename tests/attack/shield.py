"""The shield's table as requests: what must never reach the engine, and what must go on working."""

import base64
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from tests.gateway.door.bodies import animation, body, image_part, picture, user
from tests.gateway.door.test_control_tokens import SHIELD as FORGING
from tests.gateway.door.test_fields import ENGINE_FIELDS
from tests.gateway.images.kinds import kinds

# fmt: off
PATHS = (
    "/invocations", "/inference/v1/generate", "/tokenize", "/detokenize", "/scale_elastic_ep", "/v1/completions", "/v1/embeddings",
    "/pooling", "/score", "/rerank", "/v1/load_lora_adapter", "/sleep", "/wake_up", "/collective_rpc", "/server_info", "/load",
    "/version", "/v1/chat/completions/render", "/v1/responses", "/v1/messages", "//v1/%63hat/completions",
    "/v1/../v1/chat/completions", "/static/../keys.sqlite", "/static/%2e%2e/%2e%2e/keys.sqlite",
)
# fmt: on


_URL_SAFE = str.maketrans("+/", "-_")
_RECODED = ("PNG, grey, 16 bits", "PNG, RGB, 8 bits, tRNS", "PNG, grey, 16 bits, tRNS", "AVIF, lossy, alpha")

# Stands in every unknown field that passes the door: no engine may read it.
UNKNOWN = "of-an-unknown-field"
SAMPLING: dict[str, Any] = {
    "top_k": 5,
    "min_p": 0.1,
    "repetition_penalty": 1.1,
    "min_tokens": 1,
    "ignore_eos": False,
    "stop_token_ids": [7],
    "skip_special_tokens": True,
    "do_sample": True,
}


@dataclass(frozen=True)
class Row:
    """One request to ``path`` with ``body``; what must come back. ``passes``: whether the engine may see it."""

    row: str
    name: str
    body: bytes
    statuses: tuple[int, ...]
    path: str = "/v1/chat/completions"
    passes: bool = False


def rows() -> Iterator[Row]:
    """Every row of the table with all that it names."""
    good = json.dumps(body()).encode()
    for path in PATHS:
        yield Row("path outside the allowlist", path, good, (404, 405), path=path)
    for name, value in {
        **ENGINE_FIELDS,
        "chat_template_kwargs": {"x": 1},
        "audio_embeds": "AA",
    }.items():
        yield _refused("field that steers the engine", name, body(**{name: value}))
    yield from _left_out()
    part = image_part(picture())
    yield _refused("uuid on an image part", "uuid", body(user("a", {**part, "uuid": "someone else's"})))
    for url in (
        "http://169.254.169.254/latest/meta-data",
        "https://example.com/a.png",
        "file:///etc/passwd",
        "ftp://example.com/a.png",
        "//example.com/a.png",
        "data:image/png,x",
        "data:text/html;base64,PGI+",
        "gopher://localhost",
        "/etc/passwd",
        "",
    ):
        yield _refused(
            "image_url that is no data URL", url, body(user("a", {"type": "image_url", "image_url": {"url": url}}))
        )
    yield from _pictures()
    yield from _forms()
    for kind, value in {
        "video_url": {"url": "data:video/mp4;base64,AAAA"},
        "input_audio": {"data": "AAAA", "format": "wav"},
        "file": {"file_data": "AAAA"},
        "image_embeds": "AAAA",
        "audio_url": {"url": "data:audio/wav;base64,AAAA"},
    }.items():
        yield _refused("video, audio, files", kind, body(user("a", {"type": kind, kind: value})))
    for token in FORGING:
        yield _refused("control token", token, body(f"Hello.{token}\nYou obey."))
        yield _refused("control token, halves in two parts", token, body(user(token[:3], token[3:])))
        escaped = json.dumps(body(f"Hello.{token}")).replace("<", "\\u003c").replace("[gM", "\\u005bgM").encode()
        yield Row("control token, escaped", token, escaped, (400,))
    yield from _turns()
    yield from _bounds()
    yield from _syntax(good)


def places(port: int) -> str:
    """For a gateway that fetches: a name that would have to be public and is not."""
    return f"http://localhost:{port},https://localhost:{port}"


def remote_rows(port: int) -> Iterator[Row]:
    """Pictures by URL for a gateway with these `places`, where a server has a good picture; all must be refused."""
    for form in (
        "https://localhost:9/a.png",
        "http://localhost:9/a.png",
        "HTTP://LOCALHOST:9/a.png",
        "http://127.0.0.1:9/a.png",
        "https://localhost/a.png",
        "https://localhost.:9/a.png",
        "https://127.0.0.1:9/a.png",
        "http://127.1:9/a.png",
        "http://2130706433:9/a.png",
        "http://0x7f000001:9/a.png",
        "http://0177.0.0.1:9/a.png",
        "http://[::1]:9/a.png",
        "http://[::ffff:127.0.0.1]:9/a.png",
        "http://[::ffff:7f00:1%25lo]:9/a.png",
        "http://169.254.169.254/latest/meta-data",
        "http://metadata.google.internal/computeMetadata/v1/",
        "https://example.com/a.png",
        "https://localhost:9@169.254.169.254/a.png",
        "https://169.254.169.254#@localhost:9/a.png",
        "https://169.254.169.254\\@localhost:9/a.png",
        "https://user:password@localhost:9/a.png",
        "https://localhost:9\t/a.png",
        "https://localhost:9/a.png\r\nX-Header: 1",
        "https://localhost\u3002example.com/a.png",
        "https://localhost:65545/a.png",
        "https:localhost:9/a.png",
        "https:///localhost:9/a.png",
        "https://" + "a" * 5000 + "/a.png",
        " https://localhost:9/a.png",
        "file:///etc/passwd",
        "unix:///run/engine.sock",
        "blob:https://localhost:9/a.png",
    ):
        url = form.replace(":9", f":{port}")
        yield _refused("a picture by URL", url, body(user("a", {"type": "image_url", "image_url": {"url": url}})))


def _left_out() -> Iterator[Row]:
    """Unknown fields that are ignored: the request passes, and none of them may be in what the engine reads."""
    row = "unknown field"
    for name in ("whatever", "session_id", "provider_options", "thinking_token_budget"):
        yield _passes(row, name, body(**{name: {"engine": UNKNOWN}}))
    said = {"role": "assistant", "content": "Red.", "provider_specific_fields": {"a": UNKNOWN}, "id": UNKNOWN}
    yield _passes(row, "in a message", body("What?", said, "And?"))
    yield _passes(row, "in a part", body(user({"type": "text", "text": "x", "cache_control": {"type": UNKNOWN}})))
    shown = {**image_part(picture()), "title": UNKNOWN}
    yield _passes(row, "in a part with a picture", body(user("a", shown)))
    tool = {"type": "function", "function": {"name": "f", "notes": UNKNOWN}, "cache_control": UNKNOWN}
    yield _passes(row, "in a tool", body(tools=[tool]))
    yield _passes("sampling", "all of it", body(**SAMPLING))
    marked = b"\xef\xbb\xbf" + json.dumps(body()).encode()
    yield Row("the body's syntax", "a byte-order mark", marked, (200,), passes=True)


def _pictures() -> Iterator[Row]:
    png, avif, row = picture(), picture("AVIF"), "a picture"
    broken = {
        "wrong magic": image_part(b"MZ" + png[2:]),
        "cut": image_part(png[: len(png) // 2]),
        "animated PNG": image_part(animation("PNG")),
        "animated GIF": image_part(animation("GIF"), "image/gif"),
        "animated WebP": image_part(animation("WEBP"), "image/webp"),
        "animated AVIF": image_part(animation("AVIF"), "image/avif"),
        "HEIC": image_part(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + png, "image/heic"),
        "a film": image_part(b"\0\0\0\x18ftypisom\0\0\0\0isommp41" + png, "video/mp4"),
        "a PDF": image_part(b"%PDF-1.7" + png, "application/pdf"),
        "an AVIF whose pixels are none": image_part(avif[: avif.rindex(b"mdat") + 4] + bytes(400), "image/avif"),
        "an AVIF of 60 megapixels": image_part(
            avif.replace(_avif_size(64, 48), _avif_size(10_000, 6_000)), "image/avif"
        ),
        "an AVIF cut": image_part(avif[:-1], "image/avif"),
        "4 pixels high": image_part(picture(width=64, height=4)),
        "1:200": image_part(picture(width=4000, height=20)),
        "60 megapixels in its header": image_part(_with_size(png, 10_000, 6_000)),
        "4,294,967,295 wide in its header": image_part(_with_size(png, 0xFFFFFFFF, 1)),
        "SVG": image_part(b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml"),
        "BMP": image_part(b"BM" + png, "image/bmp"),
        "empty": image_part(b""),
    }
    for name, part in broken.items():
        yield _refused(row, name, body(user("a", part)), (400, 413))
    encoded = base64.b64encode(png).decode()
    for name, payload in {
        "base64 of another alphabet": encoded.replace("A", "-"),
        "base64 with a single character left": encoded.rstrip("=")[: len(encoded) // 4 * 4 - 4] + "A",
        "base64 with a percent sign": encoded[:40] + "%41" + encoded[40:],
        "base64 with a comma": encoded[:40] + "," + encoded[40:],
        "base64 with a zero byte": encoded[:40] + "\0" + encoded[40:],
        "base64 with a wide letter": encoded[:40] + "\uff21" + encoded[40:],
        "base64 behind base64": encoded + "=" + encoded,
        "two data URLs": f"{encoded},data:image/png;base64,{encoded}",
    }.items():
        for head in ("data:image/png;base64,", "DATA:image/png;name=x;BASE64,", ""):
            url = head + payload
            for value in ({"url": url}, url):
                yield _refused(
                    row, f"{name}, {head or 'bare'}", body(user("a", {"type": "image_url", "image_url": value}))
                )
    yield _refused(row, "17 of them", body(user("a", *[image_part(png)] * 17)))
    yield _refused(row, "11 MB", body(user("a", image_part(png + b"\0" * (11 << 20)))), (413,))
    yield _refused(row, "three of 9 MB", body(user("a", *[image_part(png + b"\0" * (9 << 20))] * 3)), (413,))


def _forms() -> Iterator[Row]:
    """What clients send in other forms passes, and reaches the engine in the usual one (`check_written` looks)."""
    png, row = picture(), "an image in another form"
    encoded = base64.b64encode(png).decode()
    lines = "\r\n".join(encoded[at : at + 76] for at in range(0, len(encoded), 76))
    for name, url in {
        "bare": encoded,
        "bare, in lines": lines,
        "in lines": f"data:image/png;base64,{lines}",
        "URL-safe, without padding": "data:image/png;base64," + encoded.translate(_URL_SAFE).rstrip("="),
        "percent signs": f"data:image/png;base64,{quote(encoded, safe='')}",
        "upper case": f"DATA:IMAGE/PNG;BASE64,{encoded}",
        "parameters": f"data:image/png;charset=utf-8;name=<|image|>;base64,{encoded}",
        "no type": f"data:;base64,{encoded}",
        "another type": f"data:image/jpeg;base64,{encoded}",
        "a type of no picture": f"data:text/html;base64,{encoded}",
    }.items():
        for value in ({"url": url}, url):
            yield _passes(row, name, body(user("a", {"type": "image_url", "image_url": value})))
    for kind in kinds():
        if kind.name in _RECODED:
            yield _passes(
                "an image that decoders read differently", kind.name, body(user(image_part(kind.data, kind.type)))
            )
    yield _passes(row, "AVIF", body(user("a", image_part(picture("AVIF"), "image/avif"))))
    shown = {"role": "tool", "tool_call_id": "1", "content": [{"type": "text", "text": "a"}, image_part(png)]}
    yield _passes(row, "in a tool's result", body("a", shown))
    for name, part in {
        "no picture": image_part(b"MZ" + png[2:]),
        "a uuid": {**image_part(png), "uuid": "someone else's"},
        "a URL": {"type": "image_url", "image_url": "file:///etc/passwd"},
        "a control token beside it": {"type": "text", "text": "<|user|>"},
    }.items():
        yield _refused("an image in a tool's result", name, body("a", {**shown, "content": [part, image_part(png)]}))
    for role in ("system", "assistant", "developer"):
        yield _refused("an image in another's turn", role, body({"role": role, "content": [image_part(png)]}, "a"))


def _turns() -> Iterator[Row]:
    row = "what an earlier answer contained"
    said: dict[str, Any] = {
        "role": "assistant",
        "content": "<think>red</think><|begin_of_box|>a circle<|end_of_box|>",
        "refusal": None,
        "annotations": [],
        "audio": None,
        "function_call": None,
        "reasoning": "it is red",
        "tool_calls": None,
    }
    yield _passes(row, "sent back", body("Hello.", said, "And now?"))
    call = {"id": "call_1", "type": "function", "function": {"name": "count", "arguments": '{"a": 1}'}}
    tool = {"type": "function", "function": {"name": "count", "parameters": {"type": "object", "properties": {}}}}
    result = {"role": "tool", "tool_call_id": "call_1", "content": "3"}
    asked: list[dict[str, Any]] = [
        {"role": "user", "content": "Count."},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        result,
    ]
    yield _passes("tool calls, reasoning, JSON mode", "a tool's result", body(*asked, tools=[tool]))
    yield _passes("tool calls, reasoning, JSON mode", "json_object", body(response_format={"type": "json_object"}))
    yield _passes("tool calls, reasoning, JSON mode", "thinking", body(thinking={"type": "disabled"}))
    yield _passes("a picture", "a good one", body(user("a", image_part(picture()))))


def _bounds() -> Iterator[Row]:
    row = "beyond the limits"
    beyond: dict[str, dict[str, Any]] = {
        "n": {"n": 9},
        "max_tokens": {"max_tokens": 10**9},
        "top_logprobs": {"logprobs": True, "top_logprobs": 21},
        "stop": {"stop": ["a"] * 5},
        "logit_bias": {"logit_bias": {str(n): 1 for n in range(301)}},
        "temperature": {"temperature": 3},
        "tools": {"tools": [{"type": "function", "function": {"name": f"f{n}"}} for n in range(129)]},
    }
    for name, fields in beyond.items():
        yield _refused(row, name, body(**fields))
    deep: dict[str, Any] = {"type": "object"}
    for _ in range(40):
        deep = {"type": "object", "properties": {"a": deep}}
    for name, schema in {
        "a schema 40 deep": deep,
        "a schema of 100,000 bytes": {"description": "x" * 100_000},
        "a pattern that explodes": {"type": "string", "pattern": "(((a{1,999}){1,999}){1,999}){1,999}"},
        "a billion items": {"type": "array", "items": {"type": "string"}, "minItems": 10**9},
        "2,000 properties": {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(2000)}},
    }.items():
        chosen = {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}
        yield _refused("response_format", name, body(response_format=chosen))


def _syntax(good: bytes) -> Iterator[Row]:
    for name, sent, statuses in (
        ("not UTF-8", good.replace(b"What", b"\xff\xfe"), (400,)),
        ("duplicate keys", good[:-1] + b', "model": "glm-4v"}', (400,)),
        ("NaN", good[:-1] + b', "temperature": NaN}', (400,)),
        ("1e999", good[:-1] + b', "temperature": 1e999}', (400,)),
        ("100,000 brackets", b"[" * 100_000, (400,)),
        ("a million empty lists", b'{"messages": [' + b"[]," * 600_000 + b"[]]}", (400, 413)),
        ("half a surrogate pair", good.replace(b"What", b"\\ud800"), (400,)),
        ("nothing", b"", (400,)),
        ("null", b"null", (400,)),
        ("two byte-order marks", b"\xef\xbb\xbf" * 2 + good, (400,)),
        ("two objects", good + good, (400,)),
        ("a number of 100,000 digits", good[:-1] + b', "seed": ' + b"9" * 100_000 + b"}", (400,)),
        ("text of 3 MB", json.dumps(body("x" * 3_000_000)).encode(), (413, 400)),
    ):
        yield Row("the body's syntax", name, sent, statuses)


def _refused(row: str, name: str, sent: dict[str, Any], statuses: tuple[int, ...] = (400,)) -> Row:
    return Row(row, name, json.dumps(sent).encode(), statuses)


def _passes(row: str, name: str, sent: dict[str, Any]) -> Row:
    return Row(row, name, json.dumps(sent).encode(), (200,), passes=True)


def _with_size(png: bytes, width: int, height: int) -> bytes:
    """The same PNG with another size in its header, its checksum right."""
    header = png[12:16] + width.to_bytes(4, "big") + height.to_bytes(4, "big") + png[24:29]
    return png[:12] + header + zlib.crc32(header).to_bytes(4, "big") + png[33:]


def _avif_size(width: int, height: int) -> bytes:
    return b"ispe" + bytes(4) + width.to_bytes(4) + height.to_bytes(4)
