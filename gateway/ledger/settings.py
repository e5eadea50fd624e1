"""The ledger's settings: VITRINE_LEDGER_* and the table [ledger] of vitrine.toml, read once. Refuses unknown names."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from gateway.ledger.errors import BadSettings

PREFIX = "VITRINE_LEDGER_"


class LedgerSettings(BaseSettings):
    """Defaults live here and nowhere else. Sizes in bytes, times as their names say."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True, allow_inf_nan=False)

    home: Path = Field(default=Path(".vitrine"), validation_alias="VITRINE_HOME")
    folder: Path | None = Field(default=None, description="the log; HOME/ledger")
    keys: Path | None = Field(default=None, description="the ledger's secrets, apart from the log; HOME/ledger-keys")
    socket: Path | None = Field(default=None, description="where workers ask; HOME/run/ledger.sock")
    origin: str | None = Field(default=None, description="the log's name in its heads; made at init")
    mode: Literal["strict", "buffered", "off"] = "strict"
    digests: Literal["keyed", "plain"] = "keyed"
    epoch: Literal["month", "day"] = "month"
    segment_bytes: int = Field(default=64 << 20, ge=64 << 10, le=1 << 30)
    segment_daily: bool = True
    compress: bool = True
    sign_every_s: float = Field(default=1.0, gt=0, le=60)
    sign_every_records: int = Field(default=4096, ge=1)
    sign_idle_s: float = Field(default=60.0, ge=1)
    anchors: list[Path] = []
    retention_days: int = Field(default=0, ge=0, description="0 keeps everything")
    allow_volatile: bool = False
    free_bytes: int = Field(default=256 << 20, ge=0, description="below this much free space a warning is logged")

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
            raise BadSettings(f"{name} is no setting of the ledger; there are: {_names(known)}")
    path = config or Path("vitrine.toml")
    document = _read_file(path)
    table = document.get("ledger", {})
    if not isinstance(table, dict):
        raise BadSettings(f"[ledger] in {path} must be a table")
    for name in table:
        if name not in known:
            raise BadSettings(
                f"[ledger] {name} in {path} is no setting of the ledger; there are: {', '.join(sorted(known))}"
            )
    try:
        home = {"VITRINE_HOME": document["home"]} if "home" in document else {}  # the whole house's, not this table's
        return LedgerSettings(**table, **home)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadSettings(f"{PREFIX}{where.upper()} = {first['input']!r}: {first['msg']}") from error


def _names(known: set[str]) -> str:
    return ", ".join(PREFIX + name.upper() for name in sorted(known))


def _read_file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadSettings(f"cannot read {path}: {error}") from error
