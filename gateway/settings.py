"""Settings of the gateway, read once at the edge and frozen. Knows no room: wiring.py checks what only a room can check.

Sources, strongest first: ``VITRINE_*`` in the environment, ``vitrine.toml`` in the working folder. ``VITRINE_ENGINE_*`` and
``VITRINE_LEDGER_*`` (tables ``[engine]`` and ``[ledger]``) belong to other processes, which check them.
"""

import json
import os
import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, field_validator

PREFIX = "VITRINE_"
OTHER_ROOMS = ("engine", "ledger")
CLIENTS = ("api",)  # VITRINE_API_KEY is what the welcome tells a newcomer to set
FILE = Path("vitrine.toml")
SECRET = ("shared_limits_url",)  # a password may stand in it: never shown

Port = Annotated[int, Field(ge=0, le=65535)]
LONGEST_S = 100 * 365 * 86_400  # a hundred years: a number beyond it is a slip, and no date can name it
MOST_COUNT = 10**15  # what the ledger's messages can carry, and more than anybody uses
MOST_GROUP_CHARS = 1024  # a group's whole name in a directory


def _ends(value: float) -> float:
    if value > LONGEST_S:
        raise ValueError(f"it is more than a hundred years; write at most {LONGEST_S} s")
    return value


def _countable(value: int | None) -> int | None:
    if value is not None and value > MOST_COUNT:
        raise ValueError(f"it is more than anybody uses; write at most {MOST_COUNT}")
    return value


Seconds = Annotated[float, Field(gt=0), AfterValidator(_ends)]
Many = Annotated[int, Field(gt=0), AfterValidator(_countable)]
Host = Annotated[str, Field(min_length=1)]
Workers = Annotated[int, Field(ge=1, le=256)]
Bound = Annotated[int | None, Field(ge=0), AfterValidator(_countable)]


class BadSettings(Exception):
    """A setting that can't be used; the text names key, value and what was expected."""

    exit_code = 78


def _group(group: str) -> str:
    if not group.strip() or len(group) > MOST_GROUP_CHARS or not group.isprintable():
        raise ValueError(f"a group's name is 1 to {MOST_GROUP_CHARS} characters that can be seen; write it so")
    return group


class GroupSettings(BaseModel):
    """What members of a group of people may do: one entry of ``[[groups]]`` in vitrine.toml."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    group: Annotated[str, AfterValidator(_group)]
    tenant: Annotated[str, Field(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}$")] = "default"
    scopes: tuple[Literal["inference", "metrics", "audit"], ...] = ("inference",)
    requests_per_min: Bound = None
    tokens_per_min: Bound = None
    tokens_per_day: Bound = None
    concurrent: Bound = None
    images_per_min: Bound = None


class Settings(BaseModel):
    """Every setting of the gateway with its default. Sizes in bytes, times in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    ldap_url: str = ""
    """The directory that people sign in with, `ldaps://HOST` or `ldap://HOST`; empty: nobody signs in by name
    (docs/signin.md)."""
    ldap_start_tls: bool = False
    """Begin TLS on an `ldap://` connection; without it `ldap://` is for this machine alone."""
    ldap_ca: Path | None = None
    """Authorities (PEM) that its certificate must come from; none: the machine's."""
    ldap_bind_dn: str = ""
    """As whom people are looked up; empty: anonymously."""
    ldap_bind_password_file: Path | None = None
    """A file with the password of `ldap_bind_dn`."""
    ldap_base: str = ""
    """Below which entry people are looked for."""
    ldap_filter: str = "(uid={user})"
    """How a person is found by the name that was typed."""
    ldap_name_attribute: str = "uid"
    """The attribute that names a person in limits and log."""
    ldap_group_attribute: str = "memberOf"
    """The attribute that names a person's groups."""
    ldap_group_base: str = ""
    """Below which entry groups are looked for; empty: where people are."""
    ldap_group_filter: str = ""
    """How the groups of one `{dn}` or `{user}` are found, where entries do not name them."""
    ldap_timeout_s: Seconds = 5.0
    """How long one sign-in may take the directory; then 503."""
    auth_header: str = ""
    """The header in which a trusted proxy names the person it signed in; from anybody else it means nothing. A header
    with a meaning of its own, such as `Authorization`, is refused."""
    auth_groups_header: str = ""
    """The header in which a trusted proxy names that person's groups, with commas between them."""
    session_idle_s: Seconds = 3600.0
    """A session ends when unused for so long."""
    session_longest_s: Seconds = 43200.0
    """A session ends after so long in any case."""
    session_recheck_s: Seconds = 300.0
    """How often the directory is asked again about people who are signed in: who is gone, or in other groups, loses the
    session."""
    sign_ins_per_min: Annotated[int, Field(gt=0)] = 20
    """New sessions of one person a minute; over it 429, so that nobody fills the log by signing in."""
    groups: tuple[GroupSettings, ...] = ()
    """What members of each group may do: `[[groups]]` in `vitrine.toml`, or JSON (docs/signin.md)."""

    home: Path = Path(".vitrine")
    """The state folder, for all processes. Set it in the environment: the ledger does not read it from the file."""
    host: Host = "127.0.0.1"
    """Address of page and API; `0.0.0.0` opens them to other machines."""
    port: Port = 8080
    """Port of page and API."""
    metrics_host: Host = "127.0.0.1"
    """Address of the metrics."""
    metrics_port: Port = 8081
    """Port of the metrics."""
    unknown_fields: Literal["ignore", "refuse"] = "ignore"
    """What happens to fields of a request that are not known: `ignore` leaves them out and names them in
    `X-Vitrine-Ignored`, `refuse` answers 400."""
    max_body_bytes: Annotated[int, Field(gt=0)] = 64 << 20
    """The largest request body."""
    body_timeout_s: Seconds = 60.0
    """How long a request body may take to arrive."""
    admit_timeout_s: Seconds = 1.0
    """How long the audit log may take to admit a request; after it the engine's work is stopped and the answer is 503."""
    silence_timeout_s: Seconds = 300.0
    """How long a streaming engine may send nothing."""
    answer_timeout_s: Seconds = 1800.0
    """How long a whole answer may take."""
    drain_timeout_s: Annotated[int, Field(ge=0), AfterValidator(_ends)] = 30
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
    socket. Networks that hold every address are refused."""

    cors_origins: str = ""
    """Sites whose pages may use the API in a browser (CORS), with a key: exact origins with commas, as
    `https://app.example.org`, or `*` for all; empty: none."""

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
    """Exchanges at work at one engine, and never more than its profile's `max-num-seqs`; further requests wait, fairly by key."""
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
    normalize: bool = True
    """Encode anew, in processes of their own, the pictures that decoders read differently and those in AVIF; false refuses
    these. All other pictures reach the engine as they came."""
    sanitize_timeout_s: Seconds = 20.0
    """How long a picture may wait for one of these processes, and again how long it may take; then 503."""

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
    routing: Literal["affinity", "least-loaded", "round-robin"] = "affinity"
    """How an engine is chosen: `affinity` (where its picture was), `least-loaded` or `round-robin`."""
    probe_interval_s: Seconds = 10.0
    """An engine that answered nobody for so long is asked for one token."""
    probe_timeout_s: Seconds = 30.0
    """How long that token may take."""
    slow_start_s: Annotated[float, Field(ge=0), AfterValidator(_ends)] = 30.0
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

    _sources: dict[str, str] = PrivateAttr(default_factory=dict)  # where each setting that was given comes from

    @field_validator("groups", mode="before")
    @classmethod
    def _read_json(cls, value: Any) -> Any:
        # A table in vitrine.toml; in the environment the same as JSON.
        return json.loads(value) if isinstance(value, str) else value

    @property
    def people(self) -> bool:
        """Whether anybody can sign in by name."""
        return bool(self.ldap_url or self.auth_header)

    def given(self, name: str) -> bool:
        """Whether somebody set it, and it is not the default."""
        return name in self._sources

    def share(self, whole: int) -> int:
        """One worker's part of what all have together."""
        return -(-whole // self.workers)

    def bad(self, name: str, why: str) -> BadSettings:
        """The error for a value that a room could not read, with its key and value."""
        return BadSettings(f"{self._sources.get(name, name)} = {_shown(name, getattr(self, name))}: {why}")


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
        settings = Settings.model_validate({name: value for name, (_, value) in given.items()})
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        name = str(fault["loc"][0])
        source = given[name][0] if name in given else name
        if fault["type"] == "extra_forbidden":
            raise BadSettings(f"unknown setting {source}; {_meant(name, source)}") from None
        text = fault["msg"].removeprefix("Value error, ")
        why = f"{text[0].lower()}{text[1:]}"
        raise BadSettings(f"{source} = {_shown(name, fault['input'])}: {why}") from None
    settings._sources.update({name: source for name, (source, _) in given.items()})
    return settings


def _meant(name: str, source: str) -> str:
    """What was probably meant by a name that is not known, as it was given: a variable, or a name in the file."""
    close = get_close_matches(name, [*Settings.model_fields, *OTHER_ROOMS], n=1)
    if not close:
        return "docs/reference/settings.md has all"
    return f"did you mean {PREFIX + close[0].upper() if source.startswith(PREFIX) else close[0]}?"


def _shown(name: str, value: object) -> str:
    return "..." if name in SECRET else repr(value)
