"""Finds type and base64 in what a client sent as an image's URL, and reads base64 that is not the usual one.

The usual form, `data:image/TYPE;base64,PAYLOAD`, costs one look at its head and is never copied. The other forms of RFC 2397,
and base64 without a head, are understood here and written anew for the engine. Nothing is ever fetched.
"""

import re
from dataclasses import dataclass

import msgspec
import pybase64

from gateway.door.errors import BadImage, quoted

_USUAL_HEAD_BYTES = 64
_USUAL = re.compile(rb'"data:(image/[a-z0-9.+-]{1,32});base64,')
# RFC 2397, in any case: a type or none, parameters, the mark. Blanks are forgiven where they can't be meant.
_HEAD_BYTES = 1024
_MARK = re.compile(rb";\s*base64\s*,", re.IGNORECASE)
_HEAD = re.compile(r"\s*data:[^,]*,", re.IGNORECASE)
_DATA = re.compile(r"\s*data:", re.IGNORECASE)
_SCHEME = re.compile(r"\s*([A-Za-z][A-Za-z0-9+.-]{0,15}):")
# A string without a scheme is base64 if so many of its first characters are, with what JSON and URLs write for some of them.
_BARE_BYTES = 64
_BARE = re.compile(rb"(?:[A-Za-z0-9+/_=\s-]|\\[nrt/]|\\u00[0-9A-Fa-f]{2}|%[0-9A-Fa-f]{2})*")
_MOST_UNESCAPED_BYTES = 2 * 1024 * 1024
# What URLs write for characters that stand in base64. With other escapes it is not read: base64 has no need for them.
_ESCAPES = (
    *((b"%" + code, b"+") for code in (b"2B", b"2b")),
    *((b"%" + code, b"/") for code in (b"2F", b"2f")),
    *((b"%" + code, b"=") for code in (b"3D", b"3d")),
    *((b"%" + code, b"") for code in (b"20", b"0A", b"0a", b"0D", b"0d")),
)
_MOST_PERCENT_BYTES = 4 * 1024 * 1024  # eleven times through it take a twelfth of a second
_TO_STANDARD, _BLANKS = bytes.maketrans(b"-_", b"+/"), b" \t\r\n\f\v"
_WAY_OUT = "Send the image inline, as data:image/jpeg;base64,... (JPEG, PNG, WebP, GIF or AVIF)."


@dataclass(frozen=True, slots=True)
class DataURL:
    """`type`: as declared, where the head is the usual one; else None. `payload` should be base64, and is unchecked."""

    type: str | None
    payload: memoryview

    @property
    def decoded_bytes(self) -> int:
        """How long the decoded payload is, if it is usual base64; if it is another form, how long it is at most."""
        padding = bytes(self.payload[-2:]).count(b"=")
        return max(0, len(self.payload) * 3 // 4 - padding)


def split_data_url(raw: msgspec.Raw, path: str) -> DataURL:
    """The parts of the JSON string `raw`, which stands at `path`. Raises BadImage (400)."""
    view = memoryview(raw)
    found = _USUAL.match(bytes(view[:_USUAL_HEAD_BYTES]))
    if found is not None:
        return DataURL(found[1].decode("ascii"), view[found.end() : -1])
    return _split_unusual(view[1:-1], path)


def read_base64(payload: memoryview) -> tuple[bytes, memoryview]:
    """The bytes, and their usual base64: `payload` itself if it is that. Raises ValueError.

    Otherwise blanks and line ends may stand anywhere, `-` and `_` for `+` and `/`, padding may be missing, and JSON or a URL
    may have escaped characters.
    """
    try:
        return pybase64.b64decode(payload, validate=True), payload
    except ValueError:
        pass
    try:
        text = msgspec.json.decode(b"".join((b'"', payload, b'"')), type=str).encode("ascii")
    except msgspec.DecodeError as error:
        raise ValueError("not what may stand in a JSON string") from error
    if b"%" in text:
        if len(text) > _MOST_PERCENT_BYTES:
            raise ValueError("reading percent signs in so much takes too long")
        for escape, char in _ESCAPES:
            text = text.replace(escape, char)
    if b" " in text and len(text) % 4 == 0 and b"+" not in text and b"-" not in text:
        raise ValueError("the spaces may have been +")
    text = text.translate(_TO_STANDARD, _BLANKS)
    text += b"=" * (-len(text) % 4)
    return pybase64.b64decode(text, validate=True), memoryview(text)


def least_bytes(payload: memoryview) -> int:
    """How long the decoded payload is at least, whatever JSON or a URL needed more characters for. Takes a copy."""
    text = bytes(payload)
    # JSON's `\n` is nothing, `\/` is one character and `\u002b` too; `%2B` is one and `%0A` nothing.
    nothing = 2 * sum(map(text.count, (rb"\n", rb"\r", rb"\t"))) + sum(map(text.count, (b" ", b"\n", b"\r")))
    more = text.count(rb"\/") + 5 * text.count(rb"\u") + 3 * text.count(b"%")
    padding = 2
    return max(0, (len(text) - nothing - more - padding) * 3 // 4)


def _split_unusual(view: memoryview, path: str) -> DataURL:
    start = bytes(view[:_HEAD_BYTES])
    mark = _MARK.search(start)
    if mark is not None and _HEAD.fullmatch(_unescaped(start[: mark.end()], path)):
        # Only the head is unescaped: a payload may have megabytes, and `read_base64` reads escapes in it.
        return DataURL(None, view[mark.end() :])
    bare = _BARE.match(start)
    if bare is not None and bare.end() >= _BARE_BYTES:
        return DataURL(None, view)
    if len(view) > _MOST_UNESCAPED_BYTES:
        raise BadImage(f"The url is too long and not a data URL. {_WAY_OUT}", param=path)
    text = _unescaped(view, path)
    found = _DATA.match(text)
    mark = _MARK.search(text[:_HEAD_BYTES].encode()) if found is not None and b"\\" in start else None
    if mark is not None:
        return DataURL(None, memoryview(text.encode()[mark.end() :]))
    raise BadImage(_why(text), param=path)


def _unescaped(content: memoryview | bytes, path: str) -> str:
    try:
        return msgspec.json.decode(b"".join((b'"', content, b'"')), type=str)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise BadImage(f"The url is not a string. {_WAY_OUT}", param=path) from None


def _why(url: str) -> str:
    scheme = _SCHEME.match(url)
    if scheme is None:
        return f"The url is not a data URL and not base64. {_WAY_OUT}"
    name = scheme[1].lower()
    if name in ("http", "https"):
        return f"Images are not fetched from the network. {_WAY_OUT}"
    if name != "data":
        return f"URLs of the scheme {quoted(name)} are refused. {_WAY_OUT}"
    return f"The data URL has no `;base64,` before its content. {_WAY_OUT}"
