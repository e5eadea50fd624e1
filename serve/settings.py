"""Settings of the engine's supervisor, read once at the edge and frozen; no other module reads the environment.

Sources, strongest first: command line, ``VITRINE_ENGINE_*`` (and ``VITRINE_HOME``) in the environment, the table
``[engine]`` (and ``home``) of ``vitrine.toml`` in the working folder. Names outside are other rooms' business.
"""

import os
import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from serve.errors import BadSettings

PREFIX = "VITRINE_ENGINE_"
FILE = Path("vitrine.toml")
TABLES = ("engine", "ledger")


class EngineSettings(BaseModel):
    """Every setting of one engine's supervisor with its default. Times in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    home: Path = Path(".vitrine")
    """The state folder, for all processes: `VITRINE_HOME`, or `home` in `vitrine.toml`."""
    profile: str = "miniature"
    """A built-in profile's name, `auto` to choose one of GLM-4.6V-Flash by this machine's cards, or a `.toml` file."""
    model: Path | None = None
    """A model folder instead of the profile's."""
    number: Annotated[int, Field(ge=0, le=999)] = 0
    """Which engine of this host."""
    isolation: Annotated[str, Field(pattern="^(auto|required|off)$")] = "auto"
    """`auto`: a network namespace where the machine allows it; `required`: no start without one; `off`: never."""
    load_timeout_s: Annotated[float, Field(gt=0)] = 1800.0
    """How long loading may take."""
    hang_timeout_s: Annotated[float, Field(ge=0)] = 30.0
    """An engine that is ready and makes no token for so long, although it is asked for one, is started again; 0: never."""
    drain_timeout_s: Annotated[int, Field(ge=0)] = 30
    """How long running requests may go on after a stop."""

    @property
    def folder(self) -> Path:
        """Where this engine's socket and state are."""
        return self.home.absolute() / "run" / f"engine-{self.number}"

    @property
    def socket(self) -> Path:
        return self.folder / "engine.sock"


def read(**overrides: Any) -> EngineSettings:
    """Settings from overrides that are not None, environment and file, in that order of strength.

    Raises BadSettings naming key, value and what was expected.
    """
    given: dict[str, tuple[str, Any]] = {}
    if FILE.exists():
        try:
            table = tomllib.loads(FILE.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise BadSettings(f"{FILE} cannot be read: {error}; mend the file") from None
        for name, value in table.items():
            if isinstance(value, dict) and name not in TABLES:
                # Every process refuses it: to each of them it could be its own table, misspelled.
                raise BadSettings(
                    f"unknown table [{name}] in {FILE}; there are [engine] and [ledger]; correct the name"
                )
        if "home" in table:
            given["home"] = ("home in vitrine.toml", table["home"])
        engine = table.get("engine", {})
        if not isinstance(engine, dict):
            raise BadSettings(f"{FILE}: engine must be a table, [engine]; mend the file")
        given |= {name: (f"engine.{name} in vitrine.toml", value) for name, value in engine.items()}
    for variable, value in os.environ.items():
        if not value:
            continue  # what `make serve MODEL=` hands on: not set, so it must not hide what the file says
        if variable.startswith(PREFIX):
            given[variable.removeprefix(PREFIX).lower()] = (variable, value)
        elif variable == "VITRINE_HOME":
            given["home"] = (variable, value)
    given |= {name: (f"--{name}", value) for name, value in overrides.items() if value is not None}
    try:
        return EngineSettings.model_validate({name: value for name, (_, value) in given.items()})
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        name = str(fault["loc"][0])
        source = given[name][0] if name in given else name
        if fault["type"] == "extra_forbidden":
            raise BadSettings(f"unknown setting {source}; {_meant(name, source)}") from None
        raise BadSettings(f"{source} = {fault['input']!r}: {fault['msg'][0].lower()}{fault['msg'][1:]}") from None


def _meant(name: str, source: str) -> str:
    """What was probably meant by a name that is not known, as it was given; or all names."""
    close = get_close_matches(name, EngineSettings.model_fields, n=1)
    if not close:
        return f"known names are {', '.join(sorted(EngineSettings.model_fields))}"
    return f"did you mean {PREFIX + close[0].upper() if source.startswith(PREFIX) else close[0]}?"
