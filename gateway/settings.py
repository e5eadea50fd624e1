"""Settings of the gateway, read once at the edge and frozen; no other module of this room reads the environment.

Sources, strongest first: ``VITRINE_*`` in the environment, ``vitrine.toml`` in the working folder. ``VITRINE_ENGINE_*`` and
``VITRINE_LEDGER_*`` (tables ``[engine]`` and ``[ledger]``) belong to other processes, which check them.
"""

import hashlib
import os
import tomllib
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

PREFIX = "VITRINE_"
OTHER_ROOMS = ("engine", "ledger")
FILE = Path("vitrine.toml")

Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0)]


class BadSettings(Exception):
    """A setting that can't be used; the text names key, value and what was expected (exit 78)."""


class Settings(BaseModel):
    """Every setting of the gateway with its default. Sizes in bytes, times in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    home: Annotated[Path, Field(description="The state folder.")] = Path(".vitrine")
    host: Annotated[str, Field(description="Address of page and API; 0.0.0.0 opens them to others.")] = "127.0.0.1"
    port: Annotated[Port, Field(description="Port of page and API.")] = 8080
    metrics_host: Annotated[str, Field(description="Address of the metrics.")] = "127.0.0.1"
    metrics_port: Annotated[Port, Field(description="Port of the metrics.")] = 8081
    max_body_bytes: Annotated[int, Field(gt=0, description="The largest request body.")] = 64 << 20
    body_timeout_s: Annotated[Seconds, Field(description="For how long a request body may arrive.")] = 60.0
    silence_timeout_s: Annotated[Seconds, Field(description="How long a streaming engine may say nothing.")] = 300.0
    answer_timeout_s: Annotated[Seconds, Field(description="How long a whole answer may take.")] = 1800.0
    drain_timeout_s: Annotated[int, Field(ge=0, description="How long running answers may go on after SIGTERM.")] = 30

    def digest(self) -> str:
        """SHA-256 (hex) of all settings: what the audit log says a gateway was started with."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


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
        if variable.startswith(PREFIX) and name.partition("_")[0] not in OTHER_ROOMS and value:
            given[name] = (variable, value)
    try:
        return Settings.model_validate({name: value for name, (_, value) in given.items()})
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        name = str(fault["loc"][0])
        source = given[name][0] if name in given else name
        if fault["type"] == "extra_forbidden":
            raise BadSettings(f"unknown setting {source}; known names are {', '.join(Settings.model_fields)}") from None
        raise BadSettings(f"{source} = {fault['input']!r}: {fault['msg'][0].lower()}{fault['msg'][1:]}") from None
