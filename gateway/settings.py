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
Bound = Annotated[int | None, Field(ge=0)]


class BadSettings(Exception):
    """A setting that can't be used; the text names key, value and what was expected (exit 78)."""


class Settings(PeopleSettings):
    """Every setting of the gateway with its default. Sizes in bytes, times in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    home: Path = Path(".vitrine")
    """The state folder, for all processes. Set it in the environment: the ledger does not read it from the file."""
    host: str = "127.0.0.1"
    """Address of page and API; `0.0.0.0` opens them to other machines."""
    port: Port = 8080
    """Port of page and API."""
    metrics_host: str = "127.0.0.1"
    """Address of the metrics."""
    metrics_port: Port = 8081
    """Port of the metrics."""
    max_body_bytes: Annotated[int, Field(gt=0)] = 64 << 20
    """The largest request body."""
    body_timeout_s: Seconds = 60.0
    """How long a request body may take to arrive."""
    admit_timeout_s: Seconds = 0.25
    """How long the audit log may take to admit a request; after it the answer is 503."""
    silence_timeout_s: Seconds = 300.0
    """How long a streaming engine may send nothing."""
    answer_timeout_s: Seconds = 1800.0
    """How long a whole answer may take."""
    drain_timeout_s: Annotated[int, Field(ge=0)] = 30
    """How long running answers may go on after a stop (SIGTERM)."""
    max_bodies_bytes: Many = 1 << 30
    """Bodies in memory, of all requests together; over it 503."""
    max_connections: Many = 8192
    """Open connections; over it the connection that has waited longest without a request is closed."""
    max_connections_per_address: Many = 1024
    """Open connections of one address."""
    head_timeout_s: Seconds = 10.0
    """How long a request's head may take to arrive."""
    idle_timeout_s: Seconds = 75.0
    """How long a connection may wait between requests."""
    stall_timeout_s: Seconds = 60.0
    """How long a client may leave its answer unread."""
    failed_logins_per_min: Many = 20
    """Bad keys of one address before it gets 429; a good key is never refused. Wrong passwords of one address, or
    for one name, count likewise."""

    trusted_proxies: str = ""
    """Proxies whose `X-Forwarded-For` is believed: addresses and networks, with commas; `unix` for a Unix
    socket."""

    remote_images: str = ""
    """From where pictures may be fetched, as `https://images.example.org,http://minio:9000=10.0.0.0/24`; empty:
    from nowhere (docs/api.md#pictures-by-url)."""
    remote_images_timeout_s: Seconds = 10.0
    """How long all pictures of a request may take to arrive."""

    key_requests_per_min: Bound = None
    """Requests a minute of one key, unless `vitrine keys limit` says otherwise."""
    key_tokens_per_min: Bound = None
    """Tokens a minute of one key, unless `vitrine keys limit` says otherwise."""
    key_tokens_per_day: Bound = None
    """Tokens a day of one key, unless `vitrine keys limit` says otherwise."""
    key_concurrent: Bound = None
    """Requests at once of one key, unless `vitrine keys limit` says otherwise."""
    key_images_per_min: Bound = None
    """Pictures a minute of one key, unless `vitrine keys limit` says otherwise."""
    tenant_requests_per_min: Bound = None
    """Requests a minute of all keys of one tenant together."""
    tenant_tokens_per_min: Bound = None
    """Tokens a minute of all keys of one tenant together."""
    tenant_tokens_per_day: Bound = None
    """Tokens a day of all keys of one tenant together."""
    tenant_concurrent: Bound = None
    """Requests at once of all keys of one tenant together."""
    tenant_images_per_min: Bound = None
    """Pictures a minute of all keys of one tenant together."""
    reserve_tokens: Many = 1024
    """Tokens reserved for an answer when the request names no `max_tokens`."""

    busy_exchanges: Many = 256
    """Exchanges at work at one engine; further requests wait, fairly by key."""
    busy_tokens: Many = 524_288
    """Tokens of these exchanges: prompts, pictures and answers."""
    queue_exchanges: Many = 1024
    """Requests that may wait for one engine."""
    queue_per_key: Many = 256
    """Waiting requests of one key; over it 429."""
    queue_timeout_s: Seconds = 60.0
    """How long a request may wait; then 503."""

    sanitize: bool = False
    """Encode every picture anew, in processes of its own, before the engine sees it: metadata and whatever else a
    file holds stay outside, and `detail` is followed."""
    sanitize_timeout_s: Seconds = 20.0
    """How long a picture may wait for that, and again how long it may take; then 503."""

    workers: Workers = 1
    """Processes that share the port; limits and log stay exact, other bounds are shared out among them."""
    engines: str = ""
    """Engines of other hosts, as `gpu-1=https://gpu-1:8000,gpu-2=https://gpu-2:8000`; see also `vitrine
    engines`."""
    engines_ca: Path | None = None
    """Authorities (PEM) that their certificates must come from; none: the system's."""
    engines_cert: Path | None = None
    """The gateway's own certificate (PEM) for engines of other hosts."""
    engines_key: Path | None = None
    """The private key (PEM) of that certificate."""
    routing: Policy = Policy.AFFINITY
    """How an engine is chosen: `affinity` (where its picture was), `least-loaded` or `round-robin`."""
    probe_interval_s: Seconds = 10.0
    """An engine that answered nobody for so long is asked for one token."""
    probe_timeout_s: Seconds = 30.0
    """How long that token may take."""
    slow_start_s: Annotated[float, Field(ge=0)] = 30.0
    """How long until an engine that came back has its full share."""

    shared_limits_url: Annotated[str, Field(repr=False)] = ""
    """Redis or Valkey in which several hosts share all limits: `redis://`, `rediss://` or `unix://`; empty: each
    host has its own (docs/decisions/0033-limits-across-hosts.md)."""
    shared_limits_ca: Path | None = None
    """With `rediss://`: authorities (PEM) that its certificate must come from; none: the system's."""
    shared_limits_cert: Path | None = None
    """The gateway's own certificate (PEM) for it, which Redis wants unless it has `tls-auth-clients no`."""
    shared_limits_key: Path | None = None
    """The private key (PEM) of the certificate for the shared limits."""
    shared_limits_timeout_s: Seconds = 0.05
    """How long its answer may take; after it each host's own limits hold alone until it answers again."""

    otlp_endpoint: str = ""
    """OpenTelemetry collector, as `http://collector:4318`, for traces without any content; empty: none
    (docs/metrics.md#traces)."""

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
