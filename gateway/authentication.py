"""From an Authorization header to a caller; never tells why a key is not good."""

from gateway.errors import Forbidden, Unauthenticated
from gateway.keys.caller import Caller, Scope
from gateway.keys.store import KeyStore


def authenticate(store: KeyStore, authorization: bytes | None, *scopes: Scope) -> Caller:
    """The caller who presents a bearer key with one of these scopes. Raises Unauthenticated or Forbidden."""
    if not authorization:
        raise Unauthenticated("no API key was sent; send the header `Authorization: Bearer vt_...`")
    scheme, _, key = authorization.decode("latin-1").partition(" ")
    caller = store.caller(key.strip()) if scheme.lower() == "bearer" else None
    if caller is None:
        # Unknown, revoked and expired keys answer alike, or the 401 becomes an oracle.
        raise Unauthenticated("the API key is not valid; ask the operator for one (`python -m gateway.keys create`)")
    if caller.scopes.isdisjoint(scopes):
        wanted = " or ".join(scopes)
        raise Forbidden(f"this API key lacks the scope {wanted}; ask the operator for a key that has it")
    return caller
