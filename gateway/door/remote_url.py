"""Reads the one form of http(s) URL that may name a picture, strictly; it never looks a name up and never fetches."""

import re
from dataclasses import dataclass

import msgspec

from gateway.door.errors import BadImage

URL_CHARS = 4096  # signed URLs of object stores have some 2,000
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_URL = re.compile(
    rf"(https?)://({_LABEL}(?:\.{_LABEL})*|\[[0-9a-f:.]{{2,45}}\])(?::([0-9]{{1,5}}))?(/[^?#]*)?(\?[^#]*)?(?:#.*)?",
    re.IGNORECASE,
)
_AUTHORITY = re.compile(r"[^:]*://([^/?#]*)")
_PORTS = {"http": 80, "https": 443}
# Between these two stands all of ASCII that is printable, without the space.
_FIRST, _LAST = "!", "~"


class BadURL(ValueError):
    """Not a URL that could be fetched; the text ends a sentence that begins with "the URL"."""


@dataclass(frozen=True, slots=True)
class RemoteURL:
    """``host`` in lower case, an IPv6 address without its brackets; ``target`` is path and query as they came."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def origin(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == _PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}"

    def __str__(self) -> str:
        return self.origin + self.target


def parse_remote_url(text: str) -> RemoteURL:
    """The parts of an absolute http(s) URL; its fragment is left out. Raises BadURL."""
    if len(text) > URL_CHARS:
        raise BadURL(f"is longer than {URL_CHARS} characters")
    if not all(_FIRST <= char <= _LAST and char != "\\" for char in text):
        raise BadURL("has characters that must be percent-encoded")
    authority = _AUTHORITY.match(text)
    if authority and "@" in authority[1]:
        raise BadURL("names a user or a password, which are never sent; leave them out")
    found = _URL.fullmatch(text)
    if found is None:
        raise BadURL("is not of the form https://HOST/PATH")
    scheme, host = found[1].lower(), found[2].lower()
    port = int(found[3]) if found[3] else _PORTS[scheme]
    if not 0 < port < 65536 or len(host) > 253:
        raise BadURL("has a host or a port that can't be")
    return RemoteURL(scheme, host.strip("[]"), port, (found[4] or "/") + (found[5] or ""))


def remote_url(raw: msgspec.Raw, path: str) -> RemoteURL | None:
    """The http(s) URL in the JSON string `raw`, which stands at `path`; None for any other. Raises BadImage (400)."""
    view = memoryview(raw)
    if bytes(view[:6]) == b'"data:' or len(view) > 6 * URL_CHARS:  # each character may be escaped as \u0000
        return None
    try:
        text = msgspec.json.decode(raw, type=str)
    except (msgspec.DecodeError, UnicodeDecodeError):  # what looks like base64 was not read as UTF-8 before
        return None
    if not text.lower().startswith(("http:", "https:")):
        return None
    try:
        return parse_remote_url(text)
    except BadURL as fault:
        raise BadImage(f"The URL {fault}.", param=path, code="invalid_image_url") from None
