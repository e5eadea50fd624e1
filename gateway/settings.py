"""Settings of the gateway, read once at the edge and frozen. Knows no room: wiring.py checks what only a room can check.

Sources, strongest first: ``VITRINE_*`` in the environment, ``vitrine.toml`` in the working folder. ``VITRINE_ENGINE_*`` and
``VITRINE_LEDGER_*`` (tables ``[engine]`` and ``[ledger]``) belong to other processes, which check them.
"""

import json
import os
import sys
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, field_validator
from typer.exceptions import TyperException

from gateway.ledger.format.printable import printable, printable_lines, text_fault

PREFIX = "VITRINE_"
OTHER_ROOMS = ("engine", "ledger")
CLIENTS = ("api",)  # VITRINE_API_KEY is what the welcome tells a newcomer to set
FILE = Path("vitrine.toml")
SECRET = ("shared_limits_url",)  # a password may stand in it: never shown
WRONG_USAGE = 64

Port = Annotated[int, Field(ge=0, le=65535)]
LONGEST_S = 100 * 365 * 86_400  # a hundred years: a number beyond it is a slip, and no date can name it
MOST_COUNT = 10**15  # what the ledger's messages can carry, and more than anybody uses
MOST_GROUP_CHARS = 1024  # a group's whole name in a directory
Seconds = Annotated[float, Field(gt=0, le=LONGEST_S)]
Many = Annotated[int, Field(gt=0, le=MOST_COUNT)]
Host = Annotated[str, Field(min_length=1)]
GroupBound = Annotated[int | None, Field(ge=0, le=MOST_COUNT)]
Workers = Annotated[int, Field(ge=1, le=256)]
Bound = Annotated[
    int | None,
    Field(ge=0, le=MOST_COUNT, description="How much one key, or all keys of one tenant, may use by default."),
]


class BadSettings(Exception):
    """A setting that can't be used; the text names key, value and what was expected."""

    exit_code = 78


def _group(group: str) -> str:
    fault = text_fault(group, MOST_GROUP_CHARS)
    if fault:
        raise ValueError(fault)
    return group


class GroupSettings(BaseModel):
    """What members of a group of people may do: one entry of ``[[groups]]`` in vitrine.toml."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    group: Annotated[str, AfterValidator(_group)]
    tenant: Annotated[str, Field(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}$")] = "default"
    scopes: tuple[Literal["inference", "metrics", "audit"], ...] = ("inference",)
    requests_per_min: GroupBound = None
    tokens_per_min: GroupBound = None
    tokens_per_day: GroupBound = None
    concurrent: GroupBound = None
    images_per_min: GroupBound = None


class Settings(BaseModel):
    """Every setting of the gateway with its default. Sizes in bytes, times in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    ldap_url: Annotated[str, Field(description="The directory that people sign in with.")] = ""
    ldap_start_tls: Annotated[bool, Field(description="Begin TLS on an ldap:// connection.")] = False
    ldap_ca: Annotated[Path | None, Field(description="Authorities (PEM) of its certificate.")] = None
    ldap_bind_dn: Annotated[str, Field(description="As whom people are looked up; empty: as nobody.")] = ""
    ldap_bind_password_file: Annotated[Path | None, Field(description="A file with that one's password.")] = None
    ldap_base: Annotated[str, Field(description="Where people are.")] = ""
    ldap_filter: Annotated[str, Field(description="How one is found by the name that was typed.")] = "(uid={user})"
    ldap_name_attribute: Annotated[str, Field(description="What they are called in limits and log.")] = "uid"
    ldap_group_attribute: Annotated[str, Field(description="Names a person's groups.")] = "memberOf"
    ldap_group_base: Annotated[str, Field(description="Where groups are; empty: where people are.")] = ""
    ldap_group_filter: Annotated[str, Field(description="Finds the groups of one {dn}, or {user}.")] = ""
    ldap_timeout_s: Annotated[Seconds, Field(description="How long one sign-in may take the directory.")] = 5.0
    auth_header: Annotated[str, Field(description="Names the person, from trusted proxies alone.")] = ""
    auth_groups_header: Annotated[str, Field(description="Names their groups, with commas between.")] = ""
    session_idle_s: Annotated[Seconds, Field(description="A session ends when unused for so long.")] = 3600.0
    session_longest_s: Annotated[Seconds, Field(description="It ends after so long in any case.")] = 43200.0
    sign_ins_per_min: Annotated[int, Field(gt=0, description="New sessions of one person a minute; over it 429.")] = 20
    groups: Annotated[tuple[GroupSettings, ...], Field(description="What members of a group may do.")] = ()

    home: Annotated[Path, Field(description="The state folder.")] = Path(".vitrine")
    host: Annotated[Host, Field(description="Address of page and API; 0.0.0.0 opens them to others.")] = "127.0.0.1"
    port: Annotated[Port, Field(description="Port of page and API.")] = 8080
    metrics_host: Annotated[Host, Field(description="Address of the metrics.")] = "127.0.0.1"
    metrics_port: Annotated[Port, Field(description="Port of the metrics.")] = 8081
    max_body_bytes: Annotated[int, Field(gt=0, description="The largest request body.")] = 64 << 20
    body_timeout_s: Annotated[Seconds, Field(description="For how long a request body may arrive.")] = 60.0
    admit_timeout_s: Annotated[Seconds, Field(description="How long the audit log may take to admit a request.")] = 0.25
    silence_timeout_s: Annotated[Seconds, Field(description="How long a streaming engine may say nothing.")] = 300.0
    answer_timeout_s: Annotated[Seconds, Field(description="How long a whole answer may take.")] = 1800.0
    drain_timeout_s: Annotated[
        int, Field(ge=0, le=LONGEST_S, description="How long running answers may go on after SIGTERM.")
    ] = 30
    max_bodies_bytes: Annotated[Many, Field(description="Bodies in memory, of all requests together.")] = 1 << 30
    max_connections: Annotated[Many, Field(description="Open connections.")] = 8192
    max_connections_per_address: Annotated[Many, Field(description="Of these, how many of one address.")] = 1024
    head_timeout_s: Annotated[Seconds, Field(description="For how long a request's head may arrive.")] = 10.0
    idle_timeout_s: Annotated[Seconds, Field(description="How long a connection may wait between requests.")] = 75.0
    stall_timeout_s: Annotated[Seconds, Field(description="How long a client may not read its answer.")] = 60.0
    failed_logins_per_min: Annotated[Many, Field(description="Bad keys of one address before it gets 429.")] = 20

    trusted_proxies: Annotated[
        str, Field(description="Proxies whose X-Forwarded-For is believed; never everybody.")
    ] = ""

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
    routing: Annotated[
        Literal["affinity", "least-loaded", "round-robin"], Field(description="How an engine is chosen.")
    ] = "affinity"
    probe_interval_s: Annotated[Seconds, Field(description="A silent engine is asked for a token this often.")] = 10.0
    probe_timeout_s: Annotated[Seconds, Field(description="How long that token may take.")] = 30.0
    slow_start_s: Annotated[
        float, Field(ge=0, le=LONGEST_S, description="Until an engine that came back has its full share.")
    ] = 30.0

    shared_limits_url: Annotated[str, Field(description="Redis or Valkey that several hosts share.", repr=False)] = ""
    shared_limits_ca: Annotated[Path | None, Field(description="Authorities (PEM) of its certificate.")] = None
    shared_limits_cert: Annotated[Path | None, Field(description="The gateway's own certificate (PEM) for it.")] = None
    shared_limits_key: Annotated[Path | None, Field(description="Its private key (PEM).")] = None
    shared_limits_timeout_s: Annotated[Seconds, Field(description="How long its answer may take.")] = 0.05

    otlp_endpoint: Annotated[str, Field(description="OpenTelemetry collector (OTLP over HTTP) for traces.")] = ""

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
            raise BadSettings(f"unknown setting {source}; known names are {', '.join(Settings.model_fields)}") from None
        why = f"{fault['msg'][0].lower()}{fault['msg'][1:]}"
        raise BadSettings(f"{source} = {_shown(name, fault['input'])}: {why}") from None
    settings._sources.update({name: source for name, (source, _) in given.items()})
    return settings


def _shown(name: str, value: object) -> str:
    return "..." if name in SECRET else repr(value)


def run_command(app: typer.Typer, *failures: type[Exception]) -> int:
    """Run a command line of this room; its exit status: that of the error's kind, 64 for wrong usage, 1 for other ``failures``."""
    caught: tuple[type[Exception], ...] = (BadSettings, *failures)
    try:
        status = app(standalone_mode=False)
    except caught as error:
        print(printable(f"error: {error}"), file=sys.stderr)
        return int(getattr(error, "exit_code", 1))
    except TyperException as error:
        print(printable_lines(f"error: {error.format_message()} (see --help)"), file=sys.stderr)
        return WRONG_USAGE
    return int(status or 0)
