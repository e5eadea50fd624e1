"""Where a request comes from, as its headers tell: our own page or another's, over TLS or not; pure.

A browser sets Sec-Fetch-Site and Origin itself; no page can change them. What is neither is no browser.
"""

import ipaddress
from collections.abc import MutableMapping
from typing import Any

from gateway.front.proxies import TrustedProxies

PLAIN, SECURE = "vitrine", "__Host-vitrine"
SAFE_METHODS = ("GET", "HEAD")

HttpScope = MutableMapping[str, Any]


def header(scope: HttpScope, name: bytes) -> str | None:
    """The one header of this name; None if it is missing, or there are several."""
    found = [value for key, value in scope["headers"] if key == name]
    return found[0].decode("latin-1").strip() if len(found) == 1 else None


def peer_of(scope: HttpScope) -> str:
    return str(scope["client"][0]) if scope["client"] else "unix"


def is_secure(scope: HttpScope, proxies: TrustedProxies) -> bool:
    """Whether the browser speaks TLS: with us, or with a trusted proxy that says so."""
    if scope.get("scheme") == "https":
        return True
    said = [value for key, value in scope["headers"] if key == b"x-forwarded-proto"]
    return bool(said) and proxies.trusts(peer_of(scope)) and said[-1].decode("latin-1").strip().lower() == "https"


def is_local(address: str) -> bool:
    """Whether this is an address of this machine; a name is none."""
    try:
        return address == "unix" or ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def is_our_page(scope: HttpScope) -> bool:
    """Whether one of our own pages asks, or no browser at all; for reading also a person who types the address."""
    site = header(scope, b"sec-fetch-site")
    if site is not None:
        return site == "same-origin" or (site == "none" and scope["method"] in SAFE_METHODS)
    origins = [value for key, value in scope["headers"] if key == b"origin"]
    if not origins:
        return not any(key == b"sec-fetch-site" for key, _ in scope["headers"])
    # Browsers leave Sec-Fetch-Site out where there is no TLS; Host then is what the person typed.
    host = (header(scope, b"host") or "").lower()
    return len(origins) == 1 and origins[0].decode("latin-1").lower() in (f"http://{host}", f"https://{host}")


def cookie_name(*, secure: bool) -> str:
    # With the prefix no other host of the same domain can plant one.
    return SECURE if secure else PLAIN


def token_in(scope: HttpScope, *, secure: bool) -> str | None:
    """Our cookie's value; None without one, and where there are two: which is ours can't be told."""
    jar = "; ".join(value.decode("latin-1") for key, value in scope["headers"] if key == b"cookie")
    name = cookie_name(secure=secure)
    found = [value for key, _, value in (part.strip().partition("=") for part in jar.split(";")) if key == name]
    return found[0] if len(found) == 1 and found[0] else None


def set_cookie(token: str, *, secure: bool) -> bytes:
    """The header's value that hands a token over; an empty token takes it back."""
    words = [f"{cookie_name(secure=secure)}={token}", "Path=/", "HttpOnly", "SameSite=Strict"]
    words += ["Secure"] if secure else []
    words += [] if token else ["Max-Age=0"]
    return "; ".join(words).encode()
