"""From an Authorization header to a caller; never tells why a key is not good."""

from gateway.front.errors import Forbidden, OverLimit, Unauthenticated
from gateway.front.sign_in_limiter import SignInLimiter
from gateway.keys.caller import Caller, Scope
from gateway.keys.store import KeyStore


def authenticate(store: KeyStore, limiter: SignInLimiter, ip: str, authorization: bytes | None) -> Caller:
    """The caller who presents a bearer key, whatever its scopes.

    Raises Unauthenticated, or OverLimit for one more bad key from an address that sent too many.
    """
    if not authorization:
        raise Unauthenticated("no API key was sent; send the header `Authorization: Bearer vt_...`")
    scheme, _, key = authorization.decode("latin-1").partition(" ")
    caller = store.caller(key.strip()) if scheme.lower() == "bearer" else None
    if caller is None:
        wait_s = limiter.count(ip)
        if wait_s:
            # Asked only after the key was looked up: a good key from the same address must not be locked out.
            error = OverLimit(
                "too many keys that are not valid came from this address; check the key, and wait",
                code="too_many_failed_logins",
                retry_after_s=wait_s,
            )
            error.headers += [(b"connection", b"close"), (b"x-should-retry", b"false")]
            raise error
        # Unknown, revoked and expired keys answer alike, or the 401 becomes an oracle.
        raise Unauthenticated("the API key is not valid; ask the operator for one (`vitrine keys create`)")
    return caller


def require(caller: Caller, *scopes: Scope) -> None:
    """Raises Forbidden unless the caller has one of these scopes."""
    if caller.scopes.isdisjoint(scopes):
        wanted = " or ".join(scopes)
        raise Forbidden(f"this API key lacks the scope {wanted}; ask the operator for a key that has it")
