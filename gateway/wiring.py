"""Makes every part of the gateway from its settings, and checks what only the parts can check. Serves nothing itself."""

import hashlib
import os
import re
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from prometheus_client import Counter

from gateway.door import DoorLimits
from gateway.engines.affinity import Policy
from gateway.engines.endpoint import TLS_SETTINGS, BadEndpoint, tls_context
from gateway.engines.engine import ProbePlan
from gateway.engines.pool import Pool, PoolPlan
from gateway.engines.queue import QueueBounds
from gateway.engines.roster import BadRoster, listed
from gateway.engines.scrape import EngineScraper
from gateway.engines.shared_load import SharedLoad
from gateway.engines.state_file import read_all
from gateway.front.bodies import MemoryBudget
from gateway.front.connection_manager import ConnectionBounds
from gateway.front.proxies import TrustedProxies
from gateway.front.shutdown import Shutdown
from gateway.front.sign_in_limiter import SignInLimiter
from gateway.images.allowlist import Allowlist
from gateway.images.fetcher import Fetcher
from gateway.images.worker_pool import WorkerPool
from gateway.keys.allowance import BOUNDS, Allowance
from gateway.keys.caller import Scope
from gateway.keys.key_counts import by_state
from gateway.keys.store import KeyStore
from gateway.ledger.client.async_client import LedgerClient
from gateway.ledger.client.reader_client import ReaderClient
from gateway.ledger.settings import LedgerSettings
from gateway.people import directory
from gateway.people.authentication import PeopleAuthentication
from gateway.people.person import Group
from gateway.people.sessions import Sessions
from gateway.relay.limit_policy import LimitPolicy
from gateway.relay.relay import Relay
from gateway.relay.shared_limits.address import RedisAddress
from gateway.routes.authentication import Authentication
from gateway.routes.body_parser import BodyReader
from gateway.routes.cors import CrossOriginPolicy
from gateway.routes.services import Services
from gateway.settings import BadSettings, Settings
from gateway.telemetry.collector import Sources, WorkerCounts
from gateway.telemetry.counters import Metrics

# Made only where a setting asks for it: its library takes a tenth of a second to import.
if TYPE_CHECKING:
    from gateway.relay.shared_limits.client import SharedLimits
    from gateway.telemetry.traces import Traces

KEYS_DEADLINE_S = 0.5
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110
# Set by browsers, proxies and clients for other ends, and some of them read by the gateway itself.
_OTHER_HEADERS = frozenset(
    {
        "authorization",
        "connection",
        "cookie",
        "date",
        "expect",
        "forwarded",
        "host",
        "keep-alive",
        "origin",
        "range",
        "referer",
        "set-cookie",
        "te",
        "traceparent",
        "tracestate",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
        "via",
        "x-csrf-token",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-port",
        "x-forwarded-proto",
        "x-forwarded-server",
        "x-real-ip",
        "x-request-id",
    }
)
_OTHER_HEADERS_BEGIN = ("accept", "access-control-", "content-", "if-", "proxy-", "sec-")
_MOST_IMAGE_WORKERS = 8  # each may need 1.2 GiB for a moment


# What settings mean


def check(settings: Settings) -> None:
    """Refuse what can't be used before anything is opened. Raises BadSettings."""
    readers: dict[str, Callable[[str], object]] = {
        "trusted_proxies": TrustedProxies,
        "engines": listed,
        "remote_images": Allowlist,
        "cors_origins": CrossOriginPolicy,
    }
    if settings.shared_limits_url:
        readers["shared_limits_url"] = RedisAddress.read
    if settings.otlp_endpoint:
        readers["otlp_endpoint"] = collector_url
    for name, read in readers.items():
        try:
            read(getattr(settings, name))
        except (ValueError, BadRoster) as error:
            raise settings.bad(name, str(error)) from None
    check_pairs(settings)
    engines_tls(settings)
    shared_limits_tls(settings)
    check_people(settings)


# The first has no effect where it is more than the second, so whoever set it meant something else.
_AT_MOST = (
    ("max_body_bytes", "max_bodies_bytes"),
    ("max_connections_per_address", "max_connections"),
    ("queue_per_key", "queue_exchanges"),
    ("silence_timeout_s", "answer_timeout_s"),
    ("session_idle_s", "session_longest_s"),
)
_EVERY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104  compared, not bound


def check_pairs(settings: Settings) -> None:
    """Raises BadSettings for two settings that contradict each other. A default never does: only what somebody set is refused."""
    for name, other in _AT_MOST:
        most = getattr(settings, other)
        if settings.given(name) and getattr(settings, name) > most:
            raise settings.bad(
                name, f"it is more than {other} ({most}) and would have no effect; lower it, or raise {other}"
            )
    hosts = ["127.0.0.1" if host == "localhost" else host for host in (settings.host, settings.metrics_host)]
    same_host = hosts[0] == hosts[1] or any(host in _EVERY_ADDRESS for host in hosts)
    if settings.port == settings.metrics_port != 0 and same_host:
        name = "metrics_port" if settings.given("metrics_port") else "port"
        raise settings.bad(name, "page and metrics can't have the same port; choose another for one of them")


def digest(settings: Settings) -> str:
    """SHA-256 (hex) of all settings: what the audit log says a gateway was started with.

    Without the password that may stand in an address: a digest in a log would be a way to guess it.
    """
    url = settings.shared_limits_url
    shown = settings.model_copy(update={"shared_limits_url": RedisAddress.read(url).shown if url else ""})
    return hashlib.sha256(shown.model_dump_json().encode()).hexdigest()


def outbound(settings: Settings) -> tuple[str, ...]:
    """Which places outside the gateway asks or tells, for the record of its start; engines and shared limits apart."""
    told = (collector_url(settings.otlp_endpoint),) if settings.otlp_endpoint else ()
    asked = (_directory_url(settings),) if settings.ldap_url else ()
    return (*Allowlist(settings.remote_images).origins, *asked, *told)


def collector_url(url: str) -> str:
    """The full address of a trace collector's intake. Raises ValueError."""
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


def engines_tls(settings: Settings) -> ssl.SSLContext | None:
    """How engines of other hosts prove themselves, and we to them. Raises BadSettings."""
    try:
        return tls_context(settings.engines_ca, settings.engines_cert, settings.engines_key)
    except BadEndpoint as error:
        raise BadSettings(f"{TLS_SETTINGS}: {error}") from None


def shared_limits_tls(settings: Settings) -> ssl.SSLContext | None:
    """How the shared limits' server proves itself, and we to it. Raises BadSettings."""
    names = "VITRINE_SHARED_LIMITS_CA, VITRINE_SHARED_LIMITS_CERT, VITRINE_SHARED_LIMITS_KEY"
    files = settings.shared_limits_ca, settings.shared_limits_cert, settings.shared_limits_key
    if any(files) and not settings.shared_limits_url.startswith("rediss://"):
        raise BadSettings(f"{names}: they are for TLS; write VITRINE_SHARED_LIMITS_URL as rediss://HOST:PORT/0")
    try:
        return tls_context(*files)
    except BadEndpoint as error:
        raise BadSettings(f"{names}: {error}") from None


# Parts of one worker


def pool_plan(settings: Settings, load: SharedLoad) -> PoolPlan:
    """What the pool of engines is made of. Raises BadSettings."""
    probes = ProbePlan(settings.probe_interval_s, settings.probe_timeout_s, settings.slow_start_s)
    return PoolPlan(
        settings.home.absolute(),
        queue_bounds(settings),
        load,
        Policy(settings.routing),
        probes,
        listed(settings.engines),
        engines_tls(settings),
    )


def queue_bounds(settings: Settings) -> QueueBounds:
    """What may work at one engine, of all workers, and what may wait for it in one."""
    return QueueBounds(
        settings.busy_exchanges,
        settings.busy_tokens,
        settings.share(settings.queue_exchanges),
        settings.share(settings.queue_per_key),
        settings.queue_timeout_s,
    )


def connection_bounds(settings: Settings, most_connections: int) -> ConnectionBounds:
    """The bounds of one worker's connections; never more of them than the system lets us open."""
    return ConnectionBounds(
        min(settings.share(settings.max_connections), most_connections),
        settings.share(settings.max_connections_per_address),
        settings.head_timeout_s,
        settings.idle_timeout_s,
        settings.stall_timeout_s,
        settings.answer_timeout_s,
    )


def limit_policy(settings: Settings) -> LimitPolicy:
    def allowance(whose: Literal["key", "tenant"]) -> Allowance:
        return Allowance(**{name: getattr(settings, f"{whose}_{name}") for name in BOUNDS})

    return LimitPolicy(allowance("key"), allowance("tenant"), settings.reserve_tokens)


def memory_budget(settings: Settings) -> MemoryBudget:
    # A body of the largest size has to fit into one worker's share, or it could never be sent.
    whole = settings.max_bodies_bytes
    return MemoryBudget(max(settings.share(whole), min(whole, settings.max_body_bytes)))


def sign_in_limiter(settings: Settings) -> SignInLimiter:
    return SignInLimiter(settings.share(settings.failed_logins_per_min))


def image_workers(settings: Settings, most_pixels: int) -> WorkerPool | None:
    """One worker's processes for images of at most so many pixels; None where none may be encoded anew."""
    if not settings.sanitize and not settings.normalize:
        return None
    seats = min(_MOST_IMAGE_WORKERS, os.cpu_count() or 1)
    return WorkerPool(settings.share(seats), most_pixels, settings.sanitize_timeout_s)


def shared_limits(settings: Settings, failures: Counter) -> "SharedLimits | None":
    """The limits that several hosts share, if there are any."""
    if not settings.shared_limits_url:
        return None
    from gateway.relay.shared_limits.client import SharedLimits

    address = RedisAddress.read(settings.shared_limits_url)
    tls = shared_limits_tls(settings) if address.tls else None
    return SharedLimits(address, settings.shared_limits_timeout_s, failures, tls=tls)


def traces(settings: Settings, version: str, worker: int, count: Callable[[Any, int], None]) -> "Traces | None":
    """The exporter of traces, if a collector is named."""
    if not settings.otlp_endpoint:
        return None
    from gateway.telemetry.traces import Traces

    return Traces(collector_url(settings.otlp_endpoint), version, worker, count)


# People


def check_people(settings: Settings) -> None:
    """Raises BadSettings for settings of signing in that do not go together or can't work."""
    if settings.people and not settings.groups:
        raise BadSettings(
            "people can sign in but no group may do anything; add [[groups]] to vitrine.toml (docs/signin.md)"
        )
    if settings.auth_header and not (settings.trusted_proxies and settings.auth_groups_header):
        raise BadSettings(
            "VITRINE_AUTH_HEADER needs VITRINE_TRUSTED_PROXIES, from whom alone it is believed,"
            " and VITRINE_AUTH_GROUPS_HEADER"
        )
    for name in ("auth_header", "auth_groups_header"):
        fault = _header_fault(getattr(settings, name))
        if fault:
            raise settings.bad(name, fault)
    if settings.auth_header and settings.auth_header.lower() == settings.auth_groups_header.lower():
        raise settings.bad("auth_groups_header", "it is VITRINE_AUTH_HEADER too; give name and groups a header each")
    if settings.ldap_url:
        directory_plan(settings)


def _header_fault(name: str) -> str | None:
    """What keeps a header from naming people; None for one that can, and for none."""
    if not name:
        return None
    if not _HEADER.fullmatch(name):
        return "it is no header's name; use letters, digits and '-', as in X-Remote-User"
    if name.lower() in _OTHER_HEADERS or name.lower().startswith(_OTHER_HEADERS_BEGIN):
        return "this header has a meaning of its own; choose one that nothing else sets, as in X-Remote-User"
    return None


def groups(settings: Settings) -> tuple[Group, ...]:
    """What members of each group may do, in the order of the settings."""
    return tuple(
        Group(
            entry.group,
            entry.tenant,
            frozenset(map(Scope, entry.scopes)),
            Allowance(**{name: getattr(entry, name) for name in BOUNDS}),
        )
        for entry in settings.groups
    )


def directory_plan(settings: Settings) -> directory.DirectoryPlan:
    """How the directory is asked. Raises BadSettings."""
    url = _directory_url(settings)
    try:
        directory.require_library()
    except directory.BadDirectory as error:
        raise BadSettings(f"VITRINE_LDAP_URL: {error}") from None
    if not settings.ldap_base:
        raise BadSettings("VITRINE_LDAP_URL needs VITRINE_LDAP_BASE, as in ou=people,dc=example,dc=org")
    if "{user}" not in settings.ldap_filter:
        raise BadSettings(
            f"VITRINE_LDAP_FILTER = {settings.ldap_filter!r}: has no {{user}}, so everybody would be found"
        )
    return directory.DirectoryPlan(
        url,
        settings.ldap_start_tls,
        _directory_authorities(settings.ldap_ca),
        settings.ldap_bind_dn,
        _bind_password(settings.ldap_bind_password_file),
        settings.ldap_base,
        settings.ldap_filter,
        settings.ldap_name_attribute,
        settings.ldap_group_attribute,
        settings.ldap_group_base or settings.ldap_base,
        settings.ldap_group_filter,
        settings.ldap_timeout_s,
    )


def people_rules(settings: Settings) -> str:
    """Changes with whatever decides who somebody is and what they may do: their sessions are over then."""
    rules = settings.model_dump_json(
        include={
            "ldap_url",
            "ldap_base",
            "ldap_filter",
            "ldap_name_attribute",
            "ldap_group_attribute",
            "ldap_group_base",
            "ldap_group_filter",
            "auth_header",
            "auth_groups_header",
            "groups",
        }
    )
    return hashlib.sha256(rules.encode()).hexdigest()


@contextmanager
def sessions(settings: Settings) -> Iterator[Sessions | None]:
    """The sessions' file, where people can sign in."""
    if not settings.people:
        yield None
        return
    found = Sessions(
        settings.home / "sessions.sqlite", settings.session_idle_s, settings.session_longest_s, people_rules(settings)
    )
    try:
        yield found
    finally:
        found.close()


def people(settings: Settings, opened: Sessions, keys: KeyStore) -> PeopleAuthentication:
    """Where people sign in by name."""
    return PeopleAuthentication(
        opened,
        keys,
        directory.Directory(directory_plan(settings)) if settings.ldap_url else None,
        groups(settings),
        TrustedProxies(settings.trusted_proxies),
        sign_in_limiter(settings),
        sign_in_limiter(settings),
        SignInLimiter(settings.share(settings.sign_ins_per_min)),
        settings.auth_header.lower().encode("latin-1"),
        settings.auth_groups_header.lower().encode("latin-1"),
    )


def _directory_url(settings: Settings) -> str:
    try:
        return directory.check_url(settings.ldap_url, start_tls=settings.ldap_start_tls)
    except directory.BadDirectory as error:
        raise BadSettings(f"VITRINE_LDAP_URL: {error}") from None


def _directory_authorities(given: Path | None) -> str:
    path = str(given.absolute()) if given else ssl.get_default_verify_paths().cafile
    try:
        if not path:
            raise OSError("this machine has no list of authorities")
        ssl.create_default_context(cafile=path)
    except (OSError, ssl.SSLError) as error:
        raise BadSettings(f"VITRINE_LDAP_CA = {path}: can't be read as certificates ({error})") from None
    return path


def _bind_password(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        return path.read_text(encoding="utf-8").rstrip("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise BadSettings(f"VITRINE_LDAP_BIND_PASSWORD_FILE = {path}: can't be read ({error})") from None


# What is scraped


def engine_scraper(settings: Settings) -> EngineScraper:
    """The engines whose own metrics may be asked for. Raises BadSettings."""
    return EngineScraper(settings.home.absolute(), listed(settings.engines), engines_tls(settings))


def sources(settings: Settings, ledger: Path, workers: Callable[[], WorkerCounts] | None = None) -> Sources:
    """Where is asked what no worker counts."""
    home = settings.home.absolute()
    return Sources(
        ledger.absolute(),
        partial(by_state, home / "keys.sqlite", KEYS_DEADLINE_S),
        partial(read_all, home / "run"),
        settings.engines_cert,
        workers,
    )


# All of one worker


def services(
    settings: Settings,
    ledger_settings: LedgerSettings,
    keys: KeyStore,
    pool: Pool,
    ledger: LedgerClient,
    metrics: Metrics,
    *,
    shared: "SharedLimits | None" = None,
    traced: "Traces | None" = None,
    opened: Sessions | None = None,
) -> Services:
    """What the routes of one worker share, around what was opened."""
    door = DoorLimits(
        body_bytes=settings.max_body_bytes,
        remote_images=bool(settings.remote_images),
        unknown_fields=settings.unknown_fields,
    )
    limits, shutdown = limit_policy(settings), Shutdown()
    signed_in = people(settings, opened, keys) if opened else None
    relay = Relay(
        pool, ledger, metrics, limits, shutdown, settings.silence_timeout_s, settings.answer_timeout_s, shared, traced
    )
    return Services(
        door=door,
        limits=limits,
        keys=keys,
        pool=pool,
        ledger=ledger,
        metrics=metrics,
        authentication=Authentication(keys, sign_in_limiter(settings), signed_in, metrics, limits, ledger),
        relay=relay,
        reader=BodyReader(),
        memory=memory_budget(settings),
        shutdown=shutdown,
        proxies=TrustedProxies(settings.trusted_proxies),
        cors=CrossOriginPolicy(settings.cors_origins),
        image_workers=image_workers(settings, door.image_pixels),
        sanitize=settings.sanitize,
        fetcher=Fetcher(Allowlist(settings.remote_images), settings.remote_images_timeout_s),
        people=signed_in,
        log_reader=ReaderClient(ledger_settings),
        scraper=engine_scraper(settings),
        body_timeout_s=settings.body_timeout_s,
    )
