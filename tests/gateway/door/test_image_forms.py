"""The forms in which clients send the same image: each is read, and the engine gets the one usual form."""

import base64
import json
import textwrap
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest

from gateway.door import DoorError, DoorLimits, parse_chat
from gateway.door.data_url import read_base64
from tests.gateway.door.bodies import LIMITS, body, data_url, image_part, parse, picture, refused, user, written
from tests.gateway.images.files import noise

FILES = {
    "image/png": picture("PNG", 70, 50),
    "image/jpeg": picture("JPEG", 70, 50),
    "image/gif": picture("GIF", 70, 50),
    "image/webp": picture("WEBP", 70, 50),
}
TEXT = {kind: base64.b64encode(data).decode() for kind, data in FILES.items()}


def mime(text: str, end: str = "\n", width: int = 76) -> str:
    return end.join(textwrap.wrap(text, width))


def urls(kind: str) -> dict[str, str]:
    """One image as clients write its URL, by what is unusual about it."""
    text = TEXT[kind]
    safe = text.replace("+", "-").replace("/", "_")
    small = text.replace("/", "%2f").replace("+", "%2b").replace("=", "%3d")
    return {
        "bare": text,
        "bare, in lines": mime(text) + "\n",
        "bare, URL-safe": safe,
        "bare, without padding": text.rstrip("="),
        "bare, URL-safe without padding": safe.rstrip("="),
        "line feeds": f"data:{kind};base64,{mime(text)}",
        "carriage returns": f"data:{kind};base64,{mime(text, end=chr(13) + chr(10))}\r\n",
        "tabs and spaces": f"data:{kind};base64, {mime(text, end=chr(10) + chr(9) + '  ')}",
        "URL-safe": f"data:{kind};base64,{safe}",
        "without padding": f"data:{kind};base64,{text.rstrip('=')}",
        "upper case": f"DATA:{kind.upper()};BASE64,{text}",
        "mixed case": f"Data:Image/X;Base64,{text}",
        "no type": f"data:;base64,{text}",
        "a type that says nothing": f"data:application/octet-stream;base64,{text}",
        "a charset": f"data:{kind};charset=utf-8;base64,{text}",
        "a name": f"data:{kind};name=a%20b.png;base64,{text}",
        "two parameters": f"data:{kind};charset=US-ASCII;name=x;base64,{text}",
        "blanks in the head": f" data: {kind} ; base64 ,{text}",
        "percent signs": f"data:{kind};base64,{quote(text, safe='')}",
        "percent signs, small": f"data:{kind};base64,{small}",
        "percent signs, bare": quote(text, safe=""),
        "lines with percent signs": f"data:{kind};base64,{mime(text, end='%0D%0A')}",
        "another type": f"data:{'image/png' if kind != 'image/png' else 'image/jpeg'};base64,{text}",
        "image/jpg": f"data:image/jpg;base64,{text}",
    }


FORMS = sorted(urls("image/png"))


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("as_string", [False, True], ids=["object", "string"])
def test_every_form_becomes_the_usual_one(kind: str, form: str, as_string: bool) -> None:
    url = urls(kind)[form]
    sent = body(user("What?", {"type": "image_url", "image_url": url if as_string else {"url": url}}))
    (image,) = parse(sent).images
    assert (image.type, image.data, image.size_bytes) == (kind, FILES[kind], len(FILES[kind]))
    assert written(sent) == written(body(user("What?", image_part(FILES[kind], kind))))


@pytest.mark.parametrize("form", FORMS)
def test_every_form_has_the_digest_of_the_images_own_bytes(form: str) -> None:
    url = urls("image/png")[form]
    (image,) = parse(body(user({"type": "image_url", "image_url": {"url": url}}))).images
    (usual,) = parse(body(user(image_part(FILES["image/png"])))).images
    assert image.sha256 == usual.sha256
    assert image.identity == usual.identity


@pytest.mark.parametrize("escape", [("/", "\\/"), ("A", "\\u0041"), ("+", "\\u002b")])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_may_be_escaped_in_the_json(form: str, escape: tuple[str, str]) -> None:
    sent = json.dumps(body(user({"type": "image_url", "image_url": {"url": "HERE"}})))
    url = json.dumps(urls("image/png")[form]).replace(*escape)
    assert parse(sent.replace('"HERE"', url).encode()).images[0].data == FILES["image/png"]


@pytest.mark.parametrize("form", ["bare", "bare, in lines", "line feeds", "upper case", "percent signs", "a charset"])
@pytest.mark.parametrize("as_string", [False, True], ids=["object", "string"])
def test_a_large_image_counts_as_an_image_and_not_as_text(form: str, as_string: bool) -> None:
    data = noise(400)
    text = base64.b64encode(data).decode()
    url = {
        "bare": text,
        "bare, in lines": mime(text),
        "line feeds": f"data:image/png;base64,{mime(text)}",
        "upper case": f"DATA:image/png;BASE64,{text}",
        "percent signs": f"data:image/png;base64,{quote(text, safe='')}",
        "a charset": f"data:image/png;charset=utf-8;base64,{text}",
    }[form]
    part = {"type": "image_url", "image_url": url if as_string else {"url": url}}
    sent = body(user("a", part, image_part(FILES["image/jpeg"], "image/jpeg"), "b", part))
    tight = replace(LIMITS, text_bytes=3000)
    assert [image.data for image in parse(sent, tight).images] == [data, FILES["image/jpeg"], data]
    assert parse(json.dumps(sent, indent=3).encode(), tight).images[2].data == data
    assert written({**sent, "session_id": "an unknown field"}) == written(sent)


def test_a_long_url_beside_an_image_is_text() -> None:
    sent = body(user("a", image_part(FILES["image/png"])), metadata={"x": "y"}, options={"url": "A" * 5000})
    assert refused(sent, replace(LIMITS, unknown_fields="refuse")).param == "options"
    request = parse(sent)
    assert request.ignored == ("options",)
    text = json.dumps({"url": "A" * 5000})
    assert parse(body(user(text, image_part(FILES["image/png"])))).prompt_text.decode() == text


@pytest.mark.parametrize("spoilt", [b"\\x", b"\\ud800", b"\x00", b"\n", b"\xff", b"\\u12", b"\\"])
@pytest.mark.parametrize("head", [b"", b"data:image/png;base64,", b"DATA:;BASE64,"])
@pytest.mark.parametrize("place", ["image", "string", "text", "ignored"])
def test_what_is_no_json_string_is_refused_wherever_a_long_one_stands(spoilt: bytes, head: bytes, place: str) -> None:
    half = b"iVBORw0KGgo" + b"QUJD" * 400
    long = b'"' + head + half + spoilt + half + b'"'
    sent = {
        "image": body(user({"type": "image_url", "image_url": {"url": "HERE"}})),
        "string": body(user({"type": "image_url", "image_url": "HERE"})),
        "text": body(user("HERE")),
        "ignored": body("a", options={"url": "HERE"}),
    }[place]
    with pytest.raises(DoorError):
        parse(json.dumps(sent).encode().replace(b'"HERE"', long))


def test_spaces_that_were_plus_signs_are_not_guessed_at() -> None:
    """A form's decoder makes a space of each plus sign; without them the picture would be another one."""
    data = FILES["image/jpeg"][:-2] + bytes([0xFB, 0xEF, 0xBE]) * 9 + b"\xff\xd9"
    text = base64.b64encode(data + bytes(-len(data) % 3)).decode()
    assert text.count("+") > 8
    spaced = text.replace("+", " ")
    error = refused(body(user({"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{spaced}"}})))
    assert "base64" in error.message


def test_a_media_type_beside_the_url_is_ignored_as_the_declared_one_is() -> None:
    part = {"type": "image_url", "image_url": {"url": TEXT["image/gif"], "format": "image/png"}, "format": "png"}
    request = parse(body(user(part)))
    assert (request.images[0].type, request.ignored) == ("image/gif", ("format",))


def test_a_remote_url_may_be_a_string_too() -> None:
    remote = replace(LIMITS, remote_images=True)
    sent = body(user("a", {"type": "image_url", "image_url": "https://example.org/a.png"}))
    (image,) = parse_chat(json.dumps(sent).encode(), remote).remote
    assert (str(image.remote), image.path) == ("https://example.org/a.png", "messages[0].content[1].image_url")
    assert "not fetched" in refused(sent).message


@pytest.mark.parametrize("as_string", [False, True], ids=["object", "string"])
def test_a_refusal_names_the_place(as_string: bool) -> None:
    url = data_url(FILES["image/png"][:-9])
    error = refused(body(user("a", {"type": "image_url", "image_url": url if as_string else {"url": url}})))
    assert error.param == "messages[0].content[1].image_url" + ("" if as_string else ".url")


@pytest.mark.parametrize("form", ["bare", "bare, in lines", "upper case", "percent signs", "URL-safe", "another type"])
@pytest.mark.parametrize(
    "limits",
    [{"image_bytes": 100}, {"images_bytes": 150}, {"images": 1}, {"image_pixels": 3000}, {"image_side_max": 63}],
)
def test_all_bounds_hold_for_every_form(form: str, limits: dict[str, Any]) -> None:
    part = {"type": "image_url", "image_url": {"url": urls("image/png")[form]}}
    sent = body(user(part, part))
    parse(sent)
    assert refused(sent, replace(LIMITS, **limits)).status in (400, 413)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("escape", [("/", "\\/"), ("+", "\\u002b"), ("A", "\\u0041")])
def test_the_bound_of_bytes_is_the_same_for_every_form(form: str, escape: tuple[str, str]) -> None:
    sent = json.dumps(body(user({"type": "image_url", "image_url": {"url": "HERE"}})))
    written_so = sent.replace('"HERE"', json.dumps(urls("image/png")[form]).replace(*escape)).encode()
    size = len(FILES["image/png"])
    parse(written_so, replace(LIMITS, image_bytes=size, images_bytes=size))
    for limits in (replace(LIMITS, image_bytes=size - 1), replace(LIMITS, images_bytes=size - 1)):
        error = refused(written_so, limits)
        assert (error.status, str(size - 1) in error.message) == (413, True)


@pytest.mark.parametrize("sign", ["%41", "%2B", "%%32B"])
def test_percent_signs_without_end_are_refused(sign: str) -> None:
    url = "data:image/png;base64," + sign * (4 << 20)
    error = refused(body(user({"type": "image_url", "image_url": {"url": url}})), replace(LIMITS, image_bytes=1 << 30))
    assert "base64" in error.message
    with pytest.raises(ValueError, match="too long"):
        read_base64(memoryview(url.encode()[-(4 << 20) - 2 :]))


@pytest.mark.parametrize("kind", ["image/png", "image/jpeg"])
def test_the_usual_form_is_written_on_as_it_came(kind: str) -> None:
    sent = json.dumps(body(user(image_part(FILES[kind], kind)))).encode()
    (image,) = parse(sent).images
    assert image.copied_bytes == 0
    url = memoryview(image.json_url())
    assert url.obj is sent or bytes(url) == json.dumps(data_url(FILES[kind], kind)).encode()


def test_images_of_a_tools_result_pass_the_same_checks() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    said = {"role": "assistant", "content": None, "tool_calls": [call]}
    shown = {
        "role": "tool",
        "tool_call_id": "1",
        "content": [{"type": "text", "text": "see"}, image_part(FILES["image/png"])],
    }
    sent = body(user("a", image_part(FILES["image/jpeg"], "image/jpeg")), said, shown)
    request = parse(sent)
    assert [image.type for image in request.images] == ["image/jpeg", "image/png"]
    made = written(sent)["messages"][2]
    assert made["tool_call_id"] == "1"
    assert [part["type"] for part in made["content"]] == ["text", "image_url"]
    assert made["content"][1]["image_url"]["url"] == data_url(FILES["image/png"])
    assert made["content"][1]["uuid"] == request.images[1].identity.hex()
    for part in (image_part(b"no picture"), {**image_part(FILES["image/png"]), "uuid": "x"}):
        refused(body("a", said, {**shown, "content": [part]}))
    assert "1" in refused(sent, DoorLimits(images=1)).message
    for role in ("system", "assistant"):
        error = refused(body({"role": role, "content": [image_part(FILES["image/png"])]}, "a"))
        assert "user and tool messages" in error.message
