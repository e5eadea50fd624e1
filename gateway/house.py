"""What a request meets on its way, made in one place and handed on; decides nothing itself."""

from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gateway.authentication import authenticate, require
from gateway.body import Bodies
from gateway.brake import Brake
from gateway.closing import Closing
from gateway.counts import Metrics
from gateway.door import Limits
from gateway.engines.pool import Pool
from gateway.errors import OverLimit, Unauthenticated
from gateway.keys.allowance import Allowance
from gateway.keys.caller import Caller
from gateway.keys.caller import Scope as KeyScope
from gateway.keys.store import KeyStore
from gateway.ledger.client import LedgerClient
from gateway.ledger.messages import Limit
from gateway.limits import limits_of
from gateway.metrics import Login
from gateway.people.desk import Desk
from gateway.pictures.workshop import Workshop
from gateway.proxies import Proxies
from gateway.reading import ReadingRoom
from gateway.remote_images.fetcher import Fetcher
from gateway.settings import Settings

if TYPE_CHECKING:
    from gateway.shared_limits.client import SharedLimits
    from gateway.traces import Traces


@dataclass(frozen=True)
class House:
    """One worker's. ``door`` bounds each request, the allowances bound callers of whom nothing else was said."""

    settings: Settings
    door: Limits
    keys: KeyStore
    pool: Pool
    ledger: LedgerClient
    metrics: Metrics
    key_allowance: Allowance
    tenant_allowance: Allowance
    brake: Brake
    bodies: Bodies
    closing: Closing
    proxies: Proxies
    workshop: Workshop | None
    fetcher: Fetcher
    shared: "SharedLimits | None" = None
    traces: "Traces | None" = None
    desk: Desk | None = None
    reading: ReadingRoom | None = None

    @classmethod
    def furnish(
        cls,
        settings: Settings,
        keys: KeyStore,
        pool: Pool,
        ledger: LedgerClient,
        metrics: Metrics,
        shared: "SharedLimits | None" = None,
        traces: "Traces | None" = None,
        desk: Desk | None = None,
        reading: ReadingRoom | None = None,
    ) -> "House":
        """All that the settings decide, around what was opened."""
        door = Limits(body_bytes=settings.max_body_bytes, remote_images=bool(settings.remote_images))
        return cls(
            settings, door, keys, pool, ledger, metrics, settings.allowance("key"),
            settings.allowance("tenant"), settings.brake(), settings.bodies(), Closing(), Proxies(settings.trusted_proxies),
            settings.workshop(door.image_pixels), settings.fetcher(), shared, traces, desk, reading,
        )  # fmt: skip

    def known(self, scope: MutableMapping[str, Any]) -> Caller:
        """Who asks, whatever the key may be used for. Raises Unauthenticated, Forbidden or OverLimit."""
        authorization = next((value for name, value in scope["headers"] if name == b"authorization"), None)
        try:
            if authorization is None and self.desk is not None:
                # Only without that header: a cookie never makes up for a key that is no good.
                return self.desk.caller(scope)
            return authenticate(self.keys, self.brake, address(scope), authorization)
        except OverLimit:
            self.metrics.not_let_in(Login.BRAKED)
            raise
        except Unauthenticated:
            given = authorization or (self.desk and self.desk.token(scope))
            self.metrics.not_let_in(Login.INVALID if given else Login.MISSING)
            raise

    def caller(self, scope: MutableMapping[str, Any], *scopes: KeyScope) -> Caller:
        """Who asks, with one of these scopes. Raises Unauthenticated, Forbidden or OverLimit."""
        caller = self.known(scope)
        require(caller, *scopes)
        return caller

    def bounds(self, caller: Caller) -> tuple[Limit, ...]:
        """What holds for this caller now."""
        return limits_of(caller, self.key_allowance, self.tenant_allowance)

    def waiting_for(self) -> list[str]:
        """Why nothing can be answered now, a line for each reason; empty when all is ready."""
        if self.closing.begun:
            return ["gateway: shutting down"]
        ledger = [] if self.ledger.connected else ["ledger: not answering"]
        return ledger + self.pool.waiting_for()


def address(scope: MutableMapping[str, Any]) -> str:
    """The client's address, as a trusted proxy says or the socket; ``unix`` on a Unix socket."""
    return str(scope["state"]["ip"])


def peer_of(scope: MutableMapping[str, Any]) -> str:
    """The other end of the socket, for the record."""
    ip, port = scope["client"] or ("unix", 0)
    return f"{ip}:{port}"
