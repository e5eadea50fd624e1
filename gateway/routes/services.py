"""What the routes of one worker share: made by wiring.py, handed to each route. Decides nothing itself."""

from dataclasses import dataclass
from functools import cached_property

from gateway.door import DoorLimits
from gateway.engines.pool import Pool
from gateway.engines.scrape import EngineScraper
from gateway.front.bodies import MemoryBudget
from gateway.front.proxies import TrustedProxies
from gateway.front.shutdown import Shutdown
from gateway.images.fetcher import Fetcher
from gateway.images.worker_pool import WorkerPool
from gateway.keys.store import KeyStore
from gateway.ledger.client.async_client import LedgerClient
from gateway.ledger.client.reader_client import ReaderClient
from gateway.people.authentication import PeopleAuthentication
from gateway.relay.limit_policy import LimitPolicy
from gateway.relay.relay import Relay
from gateway.routes.authentication import Authentication
from gateway.routes.body_parser import BodyReader
from gateway.routes.cors import CrossOriginPolicy
from gateway.routes.readiness import Readiness
from gateway.telemetry.counters import Metrics


@dataclass(frozen=True)
class Services:
    """``door`` bounds each request, ``limits`` bound callers; ``people`` is there where somebody can sign in by name.

    ``sanitize``: the ``image_workers`` encode every image anew, not only those that need it.
    """

    door: DoorLimits
    limits: LimitPolicy
    keys: KeyStore
    pool: Pool
    ledger: LedgerClient
    metrics: Metrics
    authentication: Authentication
    relay: Relay
    reader: BodyReader
    memory: MemoryBudget
    shutdown: Shutdown
    proxies: TrustedProxies
    cors: CrossOriginPolicy
    image_workers: WorkerPool | None
    sanitize: bool
    fetcher: Fetcher
    people: PeopleAuthentication | None
    log_reader: ReaderClient
    scraper: EngineScraper
    body_timeout_s: float

    @cached_property
    def readiness(self) -> Readiness:
        return Readiness(self.pool, self.ledger, self.waiting_for)

    def waiting_for(self) -> list[str]:
        """Why nothing can be answered now as far as is known without asking anybody; `readiness` asks."""
        if self.shutdown.begun:
            return ["gateway: shutting down"]
        ledger = [] if self.ledger.connected else ["ledger: not answering"]
        return ledger + self.pool.waiting_for()
