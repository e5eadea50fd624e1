"""From a request to its caller, by key or by session; counts those that are not let in. Looks nothing up itself."""

from collections.abc import MutableMapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from gateway.front.errors import OverLimit, Unauthenticated
from gateway.front.request_state import state_of
from gateway.front.sign_in_limiter import SignInLimiter
from gateway.keys.authentication import authenticate, require
from gateway.keys.caller import Caller, Scope
from gateway.keys.store import KeyStore
from gateway.ledger.client.async_client import LedgerClient
from gateway.people.authentication import PeopleAuthentication
from gateway.relay.exchange_record import limits_left
from gateway.relay.limit_policy import LimitPolicy
from gateway.telemetry.catalogue import SignInFailure
from gateway.telemetry.counters import Metrics


@dataclass(frozen=True)
class Authentication:
    """One worker's. ``limiter`` counts bad keys of each address."""

    keys: KeyStore
    limiter: SignInLimiter
    people: PeopleAuthentication | None
    metrics: Metrics
    limits: LimitPolicy
    ledger: LedgerClient

    def known(self, scope: MutableMapping[str, Any]) -> Caller:
        """Who asks, whatever the key may be used for. Raises Unauthenticated, Forbidden or OverLimit."""
        authorization = next((value for name, value in scope["headers"] if name == b"authorization"), None)
        try:
            if authorization is None and self.people is not None:
                # Only without that header: a cookie never makes up for a key that is no good.
                return self.people.caller(scope)
            return authenticate(self.keys, self.limiter, state_of(scope).client_ip, authorization)
        except OverLimit:
            self.metrics.not_let_in(SignInFailure.BRAKED)
            raise
        except Unauthenticated:
            given = authorization or (self.people and self.people.token(scope))
            self.metrics.not_let_in(SignInFailure.INVALID if given else SignInFailure.MISSING)
            raise

    def caller(self, scope: MutableMapping[str, Any], *scopes: Scope) -> Caller:
        """Who asks, with one of these scopes. Raises Unauthenticated, Forbidden or OverLimit."""
        caller = self.known(scope)
        bounds = self.limits.of(caller)
        if bounds:
            state_of(scope).limits_left = partial(limits_left, self.ledger, bounds)
        require(caller, *scopes)
        return caller
