"""A scenario: what is asked, how much at a time, and which goals it must meet; frozen, read from TOML, sends nothing."""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from loadtest.errors import WrongUsage

BUILT_IN = Path(__file__).parent / "scenarios"

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]

# In a goal's name: what must be at most the value; everything else must be at least.
_AT_MOST = ("_ms", "errors_share")


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Images(_Table):
    """Pictures of the first question. ``distinct``: how many different ones there are in all, 0 for all different.

    ``phone``: photos as phones write them; the size is that of the picture upright.
    """

    count: Count = 1
    width: Annotated[int, Field(ge=28)]
    height: Annotated[int, Field(ge=28)]
    style: Literal["photo", "page", "phone"] = "photo"
    quality: Annotated[int, Field(ge=1, le=95)] = 85
    distinct: Annotated[int, Field(ge=0)] = 0


class Ask(_Table):
    """One conversation of ``turns`` questions. ``text_tokens`` is about how long each question's text is;
    ``answer_tokens`` goes out as ``max_tokens``. ``never_tokens`` are token ids that the answer must not have (by
    ``logit_bias``): those that end an answer, where it must be of full length. ``think_s`` passes between turns."""

    text_tokens: Count
    answer_tokens: Count
    images: Images | None = None
    turns: Count = 1
    think_s: Annotated[float, Field(ge=0)] = 0.0
    never_tokens: list[int] = []
    temperature: Annotated[float, Field(ge=0, le=2)] = 1.0


class Load(_Table):
    """How the questions come unless the command line says otherwise; ``requests`` are conversations."""

    rate: Positive | None = None
    concurrency: Count | None = None
    requests: Count = 500
    warm_up: Annotated[int, Field(ge=0)] = 4
    timeout_s: Positive = 120.0


class Slo(_Table):
    """``share`` of the requests must have their first token, and of the gaps between tokens be, within these."""

    first_token_ms: Positive = 1000.0
    between_tokens_ms: Positive = 50.0
    share: Annotated[float, Field(gt=0, lt=1)] = 0.99


class MixPart(_Table):
    """One part of a mixed scenario: another scenario's name, and its weight."""

    of: str
    weight: Positive


class Scenario(_Table):
    """``kinds`` are the parts of a mix, or the scenario itself, by name."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    description: str
    ask: Ask | None = None
    mix: list[MixPart] = []
    load: Load = Load()
    slo: Slo = Slo()
    goals: dict[Annotated[str, Field(pattern=r"^[a-z0-9_]+$")], float] = {}
    kinds: dict[str, tuple[Ask, float]] = {}


def names() -> list[str]:
    """The built-in scenarios, sorted."""
    return sorted(path.stem for path in BUILT_IN.glob("*.toml"))


def load(name: str) -> Scenario:
    """A built-in scenario by name, or any by the path of its TOML file. Raises WrongUsage naming what is wrong."""
    path = Path(name) if name.endswith(".toml") else BUILT_IN / f"{name}.toml"
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise WrongUsage(
            f"there is no scenario {name!r}; choose one of {', '.join(names())}, or a .toml file"
        ) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise WrongUsage(f"scenario {path} cannot be read: {error}") from None
    table.pop("kinds", None)
    try:
        scenario = Scenario.model_validate(table)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in fault["loc"])
        raise WrongUsage(f"scenario {path}: {where} = {fault['input']!r}: {fault['msg']}") from None
    return scenario.model_copy(update={"kinds": _kinds(scenario, path)})


def _kinds(scenario: Scenario, path: Path) -> dict[str, tuple[Ask, float]]:
    if (scenario.ask is None) == (not scenario.mix):
        raise WrongUsage(f"scenario {path}: it needs [ask] or [[mix]], one of them")
    if scenario.ask is not None:
        return {scenario.name: (scenario.ask, 1.0)}
    kinds: dict[str, tuple[Ask, float]] = {}
    for part in scenario.mix:
        beside = path.parent / f"{part.of}.toml"
        other = load(str(beside) if beside.exists() else part.of)
        if other.ask is None:
            raise WrongUsage(f"scenario {path}: {part.of} is a mix itself")
        kinds[part.of] = (other.ask, part.weight)
    return kinds


def changed(scenario: Scenario, **load_: Any) -> Scenario:
    """The same scenario with other values in ``[load]``; None leaves a value."""
    given = {name: value for name, value in load_.items() if value is not None}
    try:
        return scenario.model_copy(update={"load": Load.model_validate({**scenario.load.model_dump(), **given})})
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        raise WrongUsage(f"{fault['loc'][0]} = {fault['input']!r}: {fault['msg']}") from None


def at_most(goal: str) -> bool:
    """Whether a goal is an upper bound."""
    return goal.endswith(_AT_MOST)
