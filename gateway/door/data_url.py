"""Splits the one form of data URL that passes into media type and base64; it never decodes and never fetches."""

import re
from dataclasses import dataclass

import msgspec

from gateway.door.errors import BadImage, quoted

_HEAD_BYTES = 64
_ESCAPED = len("\\u0061")  # how long one character may be written
_MARK = b";base64,"
_MOST_UNESCAPED_BYTES = 2 * 1024 * 1024
_DATA = re.compile(rb'"data:(image/[a-z0-9.+-]{1,32});base64,')
_SCHEME = re.compile(rb'"\s*([A-Za-z][A-Za-z0-9+.-]{0,15}):')
_WAY_OUT = "Send the image inline, as data:image/jpeg;base64,... (JPEG, PNG, WebP or GIF)."


@dataclass(frozen=True, slots=True)
class DataURL:
    """`type` as declared; `payload` is base64, unchecked. `verbatim`: the string can be written on as it came."""

    type: str
    payload: memoryview
    verbatim: bool

    @property
    def decoded_bytes(self) -> int:
        """How long the decoded payload is, if it is base64 at all."""
        padding = bytes(self.payload[-2:]).count(b"=")
        return max(0, len(self.payload) * 3 // 4 - padding)


def split_data_url(raw: msgspec.Raw, path: str) -> DataURL:
    """The parts of the JSON string `raw`, which stands at `path`. Raises BadImage (400)."""
    view = memoryview(raw)
    found = _DATA.match(bytes(view[:_HEAD_BYTES]))
    if found is not None:
        return DataURL(found[1].decode("ascii"), view[found.end() : -1], verbatim=True)
    return _split_escaped(raw, path)


def _split_escaped(raw: msgspec.Raw, path: str) -> DataURL:
    """The same where something is escaped: some encoders write `\\/` for `/`."""
    view = memoryview(raw)
    mark = bytes(view[: _HEAD_BYTES * _ESCAPED]).find(_MARK)
    if mark >= 0:
        # Only the head is unescaped: a payload may have megabytes, and `Image.digest` reads escapes in it.
        end = mark + len(_MARK)
        head = _unescaped(bytes(view[:end]) + b'"', path)
        found = _DATA.fullmatch(head[:-1])
        if found is None:
            raise BadImage(_why(head), param=path)
        return DataURL(found[1].decode("ascii"), view[end:-1], verbatim=False)
    if len(view) > _MOST_UNESCAPED_BYTES:
        raise BadImage(f"The url is too long and not a data URL. {_WAY_OUT}", param=path)
    url = _unescaped(raw, path)
    found = _DATA.match(url[:_HEAD_BYTES])
    if found is None:
        raise BadImage(_why(url), param=path)
    return DataURL(found[1].decode("ascii"), memoryview(url)[found.end() : -1], verbatim=False)


def _unescaped(raw: msgspec.Raw | bytes, path: str) -> bytes:
    try:
        text = msgspec.json.decode(raw, type=str)
        return b'"' + text.encode("ascii") + b'"'
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise BadImage(f"The url is not a string. {_WAY_OUT}", param=path) from None
    except UnicodeEncodeError:
        return b'""'


def _why(url: bytes) -> str:
    scheme = _SCHEME.match(url[:_HEAD_BYTES])
    if scheme is None:
        return f"The url is not a data URL. {_WAY_OUT}"
    name = scheme[1].decode("ascii").lower()
    if name in ("http", "https"):
        return f"Images are not fetched from the network. {_WAY_OUT}"
    if name != "data":
        return f"URLs of the scheme {quoted(name)} are refused. {_WAY_OUT}"
    return f"The data URL is not of the form data:image/TYPE;base64,PAYLOAD. {_WAY_OUT}"
