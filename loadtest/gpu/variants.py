"""What is tried: variants of an engine's flags, each with the gain that was predicted before, and loads; read from TOML."""

import json
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from loadtest.errors import WrongUsage

PROFILES = Path(__file__).parents[2] / "serve" / "profiles"

Flag = bool | int | float | str


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class WantedLoad(_Table):
    """One load. ``through`` the gateway or ``direct`` to the engine's socket; ``for_s`` is how long it may ask at most.
    ``rate`` is an open loop of so many a second, in place of ``at_once``. ``gateway``: settings for this load alone. ``sample``
    takes stacks of all processes meanwhile; ``trace`` the GPU's kernels, if the variant's flags allow that."""

    scenario: str
    at_once: Annotated[int, Field(ge=1)] = 1
    rate: Annotated[float, Field(gt=0)] | None = None
    requests: Annotated[int, Field(ge=1)]
    for_s: float = 60.0
    through: Literal["gateway", "direct"] = "gateway"
    gateway: dict[str, str] = {}
    sample: bool = False
    trace: bool = False


class Variant(_Table):
    """``flags`` replace those of ``base``, and of the variant that it is ``like``, JSON objects key by key; an empty string takes
    one away. ``profile``: one of the house's, as it is but for what ``base`` says. ``predicts``: what was expected, and why.
    ``engines`` of more than one get a GPU each: those that CUDA_VISIBLE_DEVICES names, or in order."""

    predicts: str
    profile: str = ""
    like: str = ""
    engines: Annotated[int, Field(ge=1)] = 1
    flags: dict[str, Flag] = {}
    environment: dict[str, str] = {}
    loads: list[str]


class Campaign(_Table):
    """All of it. ``base``: flags of every variant. ``start_s``: for how long an engine may start."""

    served_name: str = "glm-4v"
    max_model_len: int
    start_s: float = 420.0
    base: dict[str, Flag]
    environment: dict[str, str] = {}
    gateway: dict[str, str] = {}
    loads: dict[str, WantedLoad]
    variants: dict[str, Variant]

    def arguments(self, variant: Variant) -> list[str]:
        """vLLM's command line."""
        words: list[str] = []
        for name, value in {**self.base, "max-model-len": self.max_model_len, **variant.flags}.items():
            if value is True:
                words.append(f"--{name}")
            elif value is False:
                words.append(f"--no-{name}")
            elif value != "":
                words += [f"--{name}", str(value)]
        return words


def read(path: Path) -> Campaign:
    """Raises WrongUsage naming what is wrong."""
    try:
        campaign = Campaign.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise WrongUsage(f"{path} cannot be read: {error}") from None
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        raise WrongUsage(f"{path}: {'.'.join(map(str, fault['loc']))} = {fault['input']!r}: {fault['msg']}") from None
    for name, variant in campaign.variants.items():
        if variant.profile:
            campaign.variants[name] = _with_profile(variant, campaign, path)
    for name, variant in campaign.variants.items():
        if variant.like:
            model = campaign.variants.get(variant.like)
            if model is None or model.like:
                raise WrongUsage(
                    f"{path}: variant {name} is like {variant.like}, which is no variant with flags of its own"
                )
            flags, environment = _changed(model.flags, variant.flags), {**model.environment, **variant.environment}
            campaign.variants[name] = variant.model_copy(update={"flags": flags, "environment": environment})
        if unknown := set(variant.loads) - set(campaign.loads):
            raise WrongUsage(f"{path}: variant {name} has no such loads: {', '.join(sorted(unknown))}")
    return campaign


def _with_profile(variant: Variant, campaign: Campaign, path: Path) -> Variant:
    try:
        profile = tomllib.loads((PROFILES / f"{variant.profile}.toml").read_text(encoding="utf-8"))
    except OSError:
        names = ", ".join(sorted(file.stem for file in PROFILES.glob("*.toml")))
        raise WrongUsage(f"{path}: there is no profile {variant.profile!r}; choose one of {names}") from None
    if profile.get("capability_flags"):
        raise WrongUsage(
            f"{path}: profile {variant.profile} has flags for some cards only; name what this one gets as flags"
        )
    ours = {*campaign.base, "max-model-len"}
    flags = {flag: value for flag, value in profile["flags"].items() if flag not in ours}
    environment = {**profile["environment"], **variant.environment}
    return Variant.model_validate(
        {**variant.model_dump(), "flags": _changed(flags, variant.flags), "environment": environment}
    )


def _changed(flags: dict[str, Flag], changes: dict[str, Flag]) -> dict[str, Flag]:
    objects = {name: _object(flags.get(name)) | given for name in changes if (given := _object(changes[name]))}
    return {**flags, **changes, **{name: json.dumps(value) for name, value in objects.items()}}


def _object(value: Flag | None) -> dict[str, Any]:
    """Of a flag that is a JSON object; empty for any other."""
    return dict(json.loads(value)) if isinstance(value, str) and value.startswith("{") else {}
