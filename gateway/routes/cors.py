"""Which pages of other sites a browser lets use the API (CORS, https://fetch.spec.whatwg.org/#http-cors-protocol); pure.

Only ``/v1/``, and only with a key: no answer says that cookies may come along, so a session stays what our own pages use.
"""

import re
from collections.abc import Iterable, Sequence

Header = tuple[bytes, bytes]

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(?:[a-z0-9_.-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")
_DEFAULT_PORT = re.compile(r"http://[^/]+:80|https://[^/]+:443")
_MAY_SEND = re.compile(
    rb"accept|accept-language|authorization|content-type|cache-control|idempotency-key|http-referer|openai-[a-z-]+|traceparent|"
    rb"tracestate|user-agent|x-audit-leaf|x-request-id|x-stainless-[a-z-]+|x-title|x-vitrine-[a-z-]+"
)
_MAY_READ = b", ".join(
    (
        b"retry-after",
        b"x-request-id",
        b"x-audit-id",
        b"x-audit-leaf",
        b"x-vitrine-boxes",
        b"x-vitrine-ignored",
        b"x-vitrine-max-tokens",
        b"x-should-retry",
        *(
            b"x-ratelimit-%b-%b" % (what, of)
            for of in (b"requests", b"tokens")
            for what in (b"limit", b"remaining", b"reset")
        ),
    )
)
_MOST_ASKED_HEADERS = 50
_KEEP_S = b"600"  # how long a browser may remember a preflight


class CrossOriginPolicy:
    """``origins``: exact ones with commas, or ``*`` for all; empty: no other site's page may use the API."""

    def __init__(self, origins: str) -> None:
        """Raises ValueError naming what is no origin."""
        listed = [one.strip() for one in origins.split(",") if one.strip()]
        self._all = listed == ["*"]
        for one in listed if not self._all else ():
            if not _ORIGIN.fullmatch(one) or _DEFAULT_PORT.fullmatch(one):
                raise ValueError(
                    f"{one!r} is no origin as browsers send it; write https://app.example.org (lower case, no path, a port only"
                    " if it is not the usual one), several with commas, or * alone"
                )
        self._origins = frozenset(one.encode() for one in listed)

    def concerns(self, path: str) -> bool:
        return bool(self._origins) and path.startswith("/v1/")

    def headers(self, request: Iterable[Header]) -> list[Header]:
        """What an answer says to the page that asked. Caches must keep answers to different origins apart."""
        allowed = self._allowed(request)
        vary = [] if self._all else [(b"vary", b"origin")]
        if not allowed:
            return vary
        return [(b"access-control-allow-origin", allowed), (b"access-control-expose-headers", _MAY_READ), *vary]

    def preflight(self, request: Sequence[Header]) -> list[Header]:
        """The headers that answer an OPTIONS which is a preflight of an allowed origin; empty if it is none."""
        sent = dict(request)
        allowed = self._allowed(request)
        if not allowed or b"access-control-request-method" not in sent:
            return []
        asked = sent.get(b"access-control-request-headers", b"").lower().split(b",")[:_MOST_ASKED_HEADERS]
        may_send = [name for name in map(bytes.strip, asked) if _MAY_SEND.fullmatch(name)]
        return [
            (b"access-control-allow-origin", allowed),
            (b"access-control-allow-methods", b"GET, HEAD, POST"),
            *([(b"access-control-allow-headers", b", ".join(may_send))] if may_send else []),
            (b"access-control-max-age", _KEEP_S),
            (b"vary", b"origin, access-control-request-headers"),
        ]

    def _allowed(self, request: Iterable[Header]) -> bytes:
        """What ``access-control-allow-origin`` says; empty for a request that has no Origin, several, or a strange one."""
        origins = [value for name, value in request if name == b"origin"]
        if len(origins) != 1:
            return b""
        if self._all:
            return b"*"
        return origins[0] if origins[0] in self._origins else b""
