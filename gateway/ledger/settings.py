"""The ledger's settings: VITRINE_LEDGER_* and the table [ledger] of vitrine.toml, read once. Refuses unknown names."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from gateway.ledger.errors import BadSettings

PREFIX = "VITRINE_LEDGER_"
TABLES = ("engine", "ledger")


class LedgerSettings(BaseSettings):
    """Defaults live here and nowhere else. Sizes in bytes, times as their names say."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    home: Path = Field(default=Path(".vitrine"), validation_alias="VITRINE_HOME")
    """The state folder, for all processes: `VITRINE_HOME`."""
    folder: Path | None = None
    """The log; `ledger` in the state folder unless set."""
    keys: Path | None = None
    """The ledger's secrets; `ledger-keys` in the state folder unless set. Best on another disk than the log."""
    socket: Path | None = None
    """Where the gateway asks; `run/ledger.sock` in the state folder unless set."""
    origin: str | None = None
    """The log's name in its heads, made at the first start unless set."""
    mode: Literal["strict", "buffered", "off"] = "strict"
    """`strict`: no answer without a durable record; `buffered`: exchanges go on without the ledger, and losses
    become `gap` records; `off`: limits only, no records, which log and boot record say loudly."""
    digests: Literal["keyed", "plain"] = "keyed"
    """`keyed`, or `plain` for SHA-256 as `sha256sum` prints it; short prompts can be guessed from plain digests."""
    epoch: Literal["month", "day"] = "month"
    """How much one secret covers."""
    segment_bytes: int = Field(default=64 << 20, ge=64 << 10, le=1 << 30)
    """The size at which a file of the log is closed."""
    segment_daily: bool = True
    """Close it at the end of the day, too."""
    compress: bool = True
    """Compress closed files (zstd)."""
    sign_every_s: float = Field(default=1.0, gt=0, le=60)
    """How often a head is signed while busy."""
    sign_every_records: int = Field(default=4096, ge=1)
    """How many records are written at most before the next head is signed."""
    sign_idle_s: float = Field(default=60.0, ge=1)
    """How often a head is signed while nothing happens."""
    anchors: list[Path] = []
    """Files that get every head and only grow, best on other machines' disks."""
    anchors_may_be_missing: bool = False
    """Start although an anchor is missing, and begin it anew. The boot record says so."""
    retention_days: int = Field(default=0, ge=0)
    """After how many days whole sealed files of records are deleted; 0 keeps them."""
    allow_volatile: bool = False
    """Allow a log on a file system in memory (tmpfs, ramfs), where a restart loses it."""
    free_bytes: int = Field(default=256 << 20, ge=0)
    """Below this much free space a warning is logged, once a minute."""
    reserve_bytes: int = Field(default=64 << 20, ge=0)
    """Below this much free space no new exchange is admitted (503), so that the ends of those that run still fit; it comes
    back by itself. 0: never refused, and a full disk ends the ledger."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return env_settings, init_settings

    @property
    def log_folder(self) -> Path:
        return self.folder or self.home / "ledger"

    @property
    def key_folder(self) -> Path:
        return self.keys or self.home / "ledger-keys"

    @property
    def socket_path(self) -> Path:
        return self.socket or self.home / "run" / "ledger.sock"


def read_settings(config: Path | None = None) -> LedgerSettings:
    """Environment over file over defaults; BadSettings names the key, its value and what was expected."""
    known = {name for name in LedgerSettings.model_fields if name != "home"}
    for name in sorted(os.environ):
        if name.startswith(PREFIX) and name.removeprefix(PREFIX).lower() not in known:
            raise BadSettings(
                f"{name} is no setting of the ledger; {_meant(name, [PREFIX + one.upper() for one in known])}"
            )
    path = config or Path("vitrine.toml")
    document = _read_file(path)
    for name, value in document.items():
        if isinstance(value, dict) and name not in TABLES:
            # Every process refuses it: to each of them it could be its own table, misspelled.
            raise BadSettings(f"unknown table [{name}] in {path}; there are [engine] and [ledger]; correct the name")
    table = document.get("ledger", {})
    if not isinstance(table, dict):
        raise BadSettings(f"[ledger] in {path} must be a table")
    for name in table:
        if name not in known:
            raise BadSettings(f"[ledger] {name} in {path} is no setting of the ledger; {_meant(name, known)}")
    try:
        home = {"VITRINE_HOME": document["home"]} if "home" in document else {}  # the whole house's, not this table's
        return LedgerSettings(**table, **home)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadSettings(f"{PREFIX}{where.upper()} = {first['input']!r}: {first['msg']}") from error


def _meant(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, known, n=1)
    return f"did you mean {close[0]}?" if close else f"there are: {', '.join(sorted(known))}"


def _read_file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadSettings(f"cannot read {path}: {error}") from error
