"""Settings of the gateway, read once at the edge and frozen; no other module of this room reads the environment.

Sources, strongest first: ``VITRINE_*`` in the environment, ``vitrine.toml`` in the working folder. ``VITRINE_ENGINE_*`` and
``VITRINE_LEDGER_*`` (tables ``[engine]`` and ``[ledger]``) belong to other processes, which check them.
"""

import hashlib
import os
import ssl
import tomllib
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlsplit

from prometheus_client import Counter
from pydantic import ConfigDict, Field, ValidationError, field_validator

from gateway.body import Bodies
from gateway.brake import Brake
from gateway.engines.affinity import Policy
from gateway.engines.board import Board
from gateway.engines.endpoint import BadEndpoint, tls_context
from gateway.engines.queue import Bounds
from gateway.engines.roster import BadRoster, listed
from gateway.engines.scrape import Engines
from gateway.keys.allowance import BOUNDS, Allowance
from gateway.keys.store import KeyStore
from gateway.people.desk import Desk
from gateway.people.directory import Directory
from gateway.people.sessions import Sessions
from gateway.people.settings import BadPeople, PeopleSettings
from gateway.pictures.workshop import Workshop
from gateway.porter import Patience
from gateway.proxies import Proxies
from gateway.remote_images.allowlist import Allowlist
from gateway.shared_limits.place import Place

# The method that makes one of these imports it: commands make none, and with aiohttp, redis and structlog they start in 1.8 s
# instead of 1.1.
if TYPE_CHECKING:
    from gateway.engines.pool import Plan
    from gateway.facts import Crew, Sources
    from gateway.remote_images.fetcher import Fetcher
    from gateway.shared_limits.client import SharedLimits
    from gateway.traces import Traces

PREFIX = "VITRINE_"
OTHER_ROOMS = ("engine", "ledger")
CLIENTS = ("api",)  # VITRINE_API_KEY is what the welcome tells a newcomer to set
FILE = Path("vitrine.toml")
SECRET = ("shared_limits_url",)  # a password may stand in it: never shown
_MOST_SEATS = 8  # each may need 1.2 GiB for a moment

Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0)]
Many = Annotated[int, Field(gt=0)]
Workers = Annotated[int, Field(ge=1, le=256)]
Bound = Annotated[
    int | None, Field(ge=0, description="How much one key, or all keys of one tenant, may use by default.")
]


class BadSettings(Exception):
    """A setting that can't be used; the text names key, value and what was expected (exit 78)."""


class Settings(PeopleSettings):
    """Every setting of the gateway with its default. Sizes in bytes, times in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    home: Annotated[Path, Field(description="The state folder.")] = Path(".vitrine")
    host: Annotated[str, Field(description="Address of page and API; 0.0.0.0 opens them to others.")] = "127.0.0.1"
    port: Annotated[Port, Field(description="Port of page and API.")] = 8080
    metrics_host: Annotated[str, Field(description="Address of the metrics.")] = "127.0.0.1"
    metrics_port: Annotated[Port, Field(description="Port of the metrics.")] = 8081
    max_body_bytes: Annotated[int, Field(gt=0, description="The largest request body.")] = 64 << 20
    body_timeout_s: Annotated[Seconds, Field(description="For how long a request body may arrive.")] = 60.0
    admit_timeout_s: Annotated[Seconds, Field(description="How long the audit log may take to admit a request.")] = 0.25
    silence_timeout_s: Annotated[Seconds, Field(description="How long a streaming engine may say nothing.")] = 300.0
    answer_timeout_s: Annotated[Seconds, Field(description="How long a whole answer may take.")] = 1800.0
    drain_timeout_s: Annotated[int, Field(ge=0, description="How long running answers may go on after SIGTERM.")] = 30
    max_bodies_bytes: Annotated[Many, Field(description="Bodies in memory, of all requests together.")] = 1 << 30
    max_connections: Annotated[Many, Field(description="Open connections.")] = 8192
    max_connections_per_address: Annotated[Many, Field(description="Of these, how many of one address.")] = 1024
    head_timeout_s: Annotated[Seconds, Field(description="For how long a request's head may arrive.")] = 10.0
    idle_timeout_s: Annotated[Seconds, Field(description="How long a connection may wait between requests.")] = 75.0
    stall_timeout_s: Annotated[Seconds, Field(description="How long a client may not read its answer.")] = 60.0
    failed_logins_per_min: Annotated[Many, Field(description="Bad keys of one address before it gets 429.")] = 20

    trusted_proxies: Annotated[str, Field(description="Addresses and networks whose X-Forwarded-For is believed.")] = ""

    remote_images: Annotated[str, Field(description="From where pictures are fetched, with commas between them.")] = ""
    remote_images_timeout_s: Annotated[Seconds, Field(description="How long all pictures of a request may take.")] = (
        10.0
    )

    key_requests_per_min: Bound = None
    key_tokens_per_min: Bound = None
    key_tokens_per_day: Bound = None
    key_concurrent: Bound = None
    key_images_per_min: Bound = None
    tenant_requests_per_min: Bound = None
    tenant_tokens_per_min: Bound = None
    tenant_tokens_per_day: Bound = None
    tenant_concurrent: Bound = None
    tenant_images_per_min: Bound = None
    reserve_tokens: Annotated[Many, Field(description="Reserved for an answer that names no max_tokens.")] = 1024

    busy_exchanges: Annotated[Many, Field(description="Exchanges at work at one engine; the rest waits.")] = 256
    busy_tokens: Annotated[Many, Field(description="Their tokens, of prompts, pictures and answers.")] = 524_288
    queue_exchanges: Annotated[Many, Field(description="Requests that may wait for one engine.")] = 1024
    queue_per_key: Annotated[Many, Field(description="Of these, how many of one key.")] = 256
    queue_timeout_s: Annotated[Seconds, Field(description="For how long one may wait.")] = 60.0

    sanitize: Annotated[bool, Field(description="Encode every picture anew before the engine sees it.")] = False
    sanitize_timeout_s: Annotated[
        Seconds, Field(description="How long that may wait, and again how long it may take.")
    ] = 20.0

    workers: Annotated[Workers, Field(description="Processes that share the port.")] = 1
    engines: Annotated[str, Field(description="Engines of other hosts, NAME=URL, with commas between them.")] = ""
    engines_ca: Annotated[Path | None, Field(description="Authorities (PEM) of their certificates.")] = None
    engines_cert: Annotated[Path | None, Field(description="The gateway's own certificate (PEM) for them.")] = None
    engines_key: Annotated[Path | None, Field(description="Its private key (PEM).")] = None
    routing: Annotated[Policy, Field(description="How an engine is chosen.")] = Policy.AFFINITY
    probe_interval_s: Annotated[Seconds, Field(description="A silent engine is asked for a token this often.")] = 10.0
    probe_timeout_s: Annotated[Seconds, Field(description="How long that token may take.")] = 30.0
    slow_start_s: Annotated[float, Field(ge=0, description="Until an engine that came back has its full share.")] = 30.0

    shared_limits_url: Annotated[str, Field(description="Redis or Valkey that several hosts share.", repr=False)] = ""
    shared_limits_ca: Annotated[Path | None, Field(description="Authorities (PEM) of its certificate.")] = None
    shared_limits_cert: Annotated[Path | None, Field(description="The gateway's own certificate (PEM) for it.")] = None
    shared_limits_key: Annotated[Path | None, Field(description="Its private key (PEM).")] = None
    shared_limits_timeout_s: Annotated[Seconds, Field(description="How long its answer may take.")] = 0.05

    otlp_endpoint: Annotated[str, Field(description="OpenTelemetry collector (OTLP over HTTP) for traces.")] = ""

    @field_validator("otlp_endpoint")
    @classmethod
    def _names_a_collector(cls, url: str) -> str:
        if url:
            collector(url)
        return url

    @field_validator("trusted_proxies")
    @classmethod
    def _names_networks(cls, names: str) -> str:
        Proxies(names)
        return names

    @field_validator("shared_limits_url")
    @classmethod
    def _names_a_place(cls, url: str) -> str:
        if url:
            Place.read(url)
        return url

    @field_validator("engines")
    @classmethod
    def _names_engines(cls, pairs: str) -> str:
        try:
            listed(pairs)
        except BadRoster as error:
            raise ValueError(str(error)) from None
        return pairs

    @field_validator("remote_images")
    @classmethod
    def _names_places(cls, entries: str) -> str:
        Allowlist(entries)
        return entries

    def allowance(self, whose: Literal["key", "tenant"]) -> Allowance:
        """What one key or one tenant may use where nothing was set for it."""
        return Allowance(**{name: getattr(self, f"{whose}_{name}") for name in BOUNDS})

    def patience(self, most_connections: int) -> Patience:
        """One worker's porter's bounds, with no more connections than the system lets us open."""
        return Patience(
            min(self._share(self.max_connections), most_connections),
            self._share(self.max_connections_per_address),
            self.head_timeout_s,
            self.idle_timeout_s,
            self.stall_timeout_s,
        )

    def queue_bounds(self) -> Bounds:
        """What may work at one engine, of all workers, and what may wait for it in one."""
        return Bounds(
            self.busy_exchanges, self.busy_tokens, self._share(self.queue_exchanges), self._share(self.queue_per_key),
            self.queue_timeout_s,
        )  # fmt: skip

    @property
    def outbound(self) -> tuple[str, ...]:
        """Whom the gateway asks for callers, and whom it tells, for the record of its start."""
        told = (collector(self.otlp_endpoint),) if self.otlp_endpoint else ()
        return (*Allowlist(self.remote_images).origins, *self.directory_outbound, *told)

    def fetcher(self) -> "Fetcher":
        from gateway.remote_images.fetcher import Fetcher

        return Fetcher(Allowlist(self.remote_images), self.remote_images_timeout_s)

    def brake(self) -> Brake:
        return Brake(self._share(self.failed_logins_per_min))

    def check(self) -> None:
        """What one setting alone does not show. Raises BadSettings."""
        self.shared_limits_tls()
        try:
            self.check_people(self.trusted_proxies)
        except BadPeople as error:
            raise BadSettings(str(error)) from None

    def desk(self, sessions: Sessions, keys: KeyStore) -> Desk:
        """Where people sign in by name."""
        return Desk(
            sessions, keys, Directory(self.directory_plan()) if self.ldap_url else None, self.groups,
            Proxies(self.trusted_proxies), self.brake(), self.brake(), Brake(self._share(self.sign_ins_per_min)),
            self.auth_header.lower().encode("latin-1"), self.auth_groups_header.lower().encode("latin-1"),
        )  # fmt: skip

    def bodies(self) -> Bodies:
        # A body of the largest size has to fit into one worker's share, or it could never be sent.
        return Bodies(max(self._share(self.max_bodies_bytes), min(self.max_bodies_bytes, self.max_body_bytes)))

    def workshop(self, most_pixels: int) -> Workshop | None:
        """One worker's processes for pictures of at most so many pixels; None where they pass as they came."""
        if not self.sanitize:
            return None
        seats = min(_MOST_SEATS, os.cpu_count() or 1)
        return Workshop(self._share(seats), most_pixels, self.sanitize_timeout_s)

    def plan(self, board: Board) -> "Plan":
        """What the pool is made of. Raises BadSettings."""
        from gateway.engines.engine import Care
        from gateway.engines.pool import Plan

        tls = self.engines_tls()
        care = Care(self.probe_interval_s, self.probe_timeout_s, self.slow_start_s)
        return Plan(self.home.absolute(), self.queue_bounds(), board, self.routing, care, listed(self.engines), tls)

    def scraped_engines(self) -> Engines:
        """The engines whose own metrics may be asked for. Raises BadSettings."""
        return Engines(self.home.absolute(), listed(self.engines), self.engines_tls())

    def sources(self, ledger: Path, workers: "Callable[[], Crew] | None" = None) -> "Sources":
        """Where is asked what no worker counts."""
        from gateway.facts import Sources

        return Sources(self.home.absolute(), ledger.absolute(), self.engines_cert, workers)

    def shared_limits(self, failures: Counter) -> "SharedLimits | None":
        """The limits that several hosts share, if there are any."""
        if not self.shared_limits_url:
            return None
        from gateway.shared_limits.client import SharedLimits

        place = Place.read(self.shared_limits_url)
        return SharedLimits(
            place, self.shared_limits_timeout_s, failures, tls=self.shared_limits_tls() if place.tls else None
        )

    def traces(self, version: str, worker: int, count: Callable[[Any, int], None]) -> "Traces | None":
        """Who hands traces to the collector, if there is one."""
        if not self.otlp_endpoint:
            return None
        from gateway.traces import Traces

        return Traces(collector(self.otlp_endpoint), version, worker, count)

    def engines_tls(self) -> ssl.SSLContext | None:
        """How engines of other hosts prove themselves, and we to them. Raises BadSettings."""
        try:
            return tls_context(self.engines_ca, self.engines_cert, self.engines_key)
        except BadEndpoint as error:
            raise BadSettings(f"VITRINE_ENGINES_CA, VITRINE_ENGINES_CERT, VITRINE_ENGINES_KEY: {error}") from None

    def shared_limits_tls(self) -> ssl.SSLContext | None:
        """How the shared limits' server proves itself, and we to it. Raises BadSettings."""
        names = "VITRINE_SHARED_LIMITS_CA, VITRINE_SHARED_LIMITS_CERT, VITRINE_SHARED_LIMITS_KEY"
        files = self.shared_limits_ca, self.shared_limits_cert, self.shared_limits_key
        if any(files) and not self.shared_limits_url.startswith("rediss://"):
            raise BadSettings(f"{names}: they are for TLS; write VITRINE_SHARED_LIMITS_URL as rediss://HOST:PORT/0")
        try:
            return tls_context(*files)
        except BadEndpoint as error:
            raise BadSettings(f"{names}: {error}") from None

    def _share(self, whole: int) -> int:
        """One worker's part of what all have together."""
        return -(-whole // self.workers)

    def digest(self) -> str:
        """SHA-256 (hex) of all settings: what the audit log says a gateway was started with.

        Without the password that may stand in an address: a digest in a log would be a way to guess it.
        """
        url = self.shared_limits_url
        shown = self.model_copy(update={"shared_limits_url": Place.read(url).shown if url else ""})
        return hashlib.sha256(shown.model_dump_json().encode()).hexdigest()


def collector(url: str) -> str:
    """The full address of a collector's intake of traces. Raises ValueError."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good or parts.username or parts.query or parts.fragment:
        raise ValueError("it must be http://HOST:PORT or https://HOST:PORT, with the path of its traces or without")
    try:
        found = find_spec("opentelemetry.exporter.otlp.proto.http")
    except ModuleNotFoundError:
        found = None
    if found is None:
        raise ValueError("traces need the extra `traces` of Vitrine to be installed")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/') or '/v1/traces'}"


def read() -> Settings:
    """Settings from environment and file. Raises BadSettings."""
    given: dict[str, tuple[str, Any]] = {}
    if FILE.exists():
        try:
            table = tomllib.loads(FILE.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise BadSettings(f"{FILE} cannot be read: {error}; mend the file") from None
        given |= {name: (f"{name} in {FILE}", value) for name, value in table.items() if name not in OTHER_ROOMS}
    for variable, value in os.environ.items():
        name = variable.removeprefix(PREFIX).lower()
        if variable.startswith(PREFIX) and name.partition("_")[0] not in (*OTHER_ROOMS, *CLIENTS) and value:
            given[name] = (variable, value)
    try:
        return Settings.model_validate({name: value for name, (_, value) in given.items()})
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        name = str(fault["loc"][0])
        source = given[name][0] if name in given else name
        if fault["type"] == "extra_forbidden":
            raise BadSettings(f"unknown setting {source}; known names are {', '.join(Settings.model_fields)}") from None
        shown = "..." if name in SECRET else repr(fault["input"])
        raise BadSettings(f"{source} = {shown}: {fault['msg'][0].lower()}{fault['msg'][1:]}") from None
