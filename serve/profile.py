"""A profile: how one engine is started, frozen, read from TOML; never starts anything and never looks at the machine."""

import hashlib
import json
import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from serve.errors import BadSettings

BUILT_IN = Path(__file__).parent / "profiles"

FlagValue = bool | int | float | str | list[str]
FlagName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")]

# The supervisor sets these itself: a profile that set them too would open a second door.
OURS = frozenset({"uds", "host", "port", "model", "served-model-name", "api-key", "shutdown-timeout", "grpc-port"})
# Each of these runs code, or reads files, that did not come with Vitrine.
FORBIDDEN = frozenset(
    {
        "trust-remote-code",
        "allowed-local-media-path",
        "allowed-media-domains",
        "middleware",
        "tool-parser-plugin",
        "reasoning-parser-plugin",
        "config",
        "logits-processors",
        "io-processor-plugin",
        "scheduler-cls",
        "worker-cls",
        "worker-extension-cls",
    }
)
# The one plugin of vLLM that VLLM_PLUGINS may name: serve/plugin.py, by its entry point in pyproject.toml.
PLUGIN = "vitrine"
# The one scheduler that scheduler-cls may name; vLLM has its own where nobody names one.
SCHEDULER = "serve.paced_scheduler.PacedScheduler"
MOST_NAME_CHARS = 256


def _name_fault(name: str) -> str:
    if not name.strip() or len(name) > MOST_NAME_CHARS:
        return f"write 1 to {MOST_NAME_CHARS} characters"
    return "" if name.isprintable() else "leave out the characters that have no look"


def _served_name(name: str) -> str:
    fault = _name_fault(name)
    if fault:
        raise ValueError(fault)
    return name


# As a model is called in requests, in reports and in the audit log.
ServedName = Annotated[str, AfterValidator(_served_name)]


class Needs(BaseModel):
    """What the machine must have. ``gpus`` cards of at least ``gpu_memory_bytes`` each and CUDA compute capability
    ``compute_capability``; ``memory_bytes`` of RAM."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    gpus: int = Field(0, ge=0)
    gpu_memory_bytes: int = Field(0, ge=0)
    compute_capability: float = Field(0.0, ge=0)
    memory_bytes: int = Field(0, ge=0)


class Profile(BaseModel):
    """One way to start one engine.

    ``flags`` are vLLM's long option names without the dashes; ``true`` is a bare switch, ``false`` its ``--no-`` form,
    a list repeats the values. ``environment`` is added to the engine's environment. ``model`` is a folder; empty when
    the operator must name one. ``demo`` tells users what a model that is only for trying out knows; empty for any other.
    ``capability_flags`` maps a CUDA compute capability ("8.9") to flags that are added on
    cards of at least that capability.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")]
    description: str
    demo: str = ""
    model: str
    served_names: Annotated[list[ServedName], Field(min_length=1)]
    device: Literal["cpu", "gpu"]
    flags: dict[FlagName, FlagValue] = {}
    capability_flags: dict[Annotated[str, Field(pattern=r"^\d+\.\d$")], dict[FlagName, FlagValue]] = {}
    environment: dict[str, str] = {}
    needs: Needs = Needs()

    def with_model(self, model: Path) -> "Profile":
        """The same profile for the model in another folder; its folder's name is added to the served names."""
        names = [*self.served_names, *({model.name} - set(self.served_names))]
        fault = _name_fault(model.name)
        if fault:
            raise BadSettings(f"model folder {str(model)!r} gives the model its name, which can't be used: {fault}")
        # What is said of the profile's own model need not be true of this one.
        return self.model_copy(update={"model": str(model), "served_names": names, "demo": ""})

    def on(self, capability: float) -> "Profile":
        """The same profile with the flags that cards of this compute capability add."""
        added = {
            name: value
            for needed, flags in sorted(self.capability_flags.items(), key=lambda item: float(item[0]))
            if capability >= float(needed)
            for name, value in flags.items()
        }
        return self.model_copy(update={"flags": {**self.flags, **added}, "capability_flags": {}})

    def arguments(self) -> list[str]:
        """vLLM's command line for the flags, in the profile's order."""
        words: list[str] = []
        for name, value in self.flags.items():
            if value is True:
                words.append(f"--{name}")
            elif value is False:
                words.append(f"--no-{name}")
            elif isinstance(value, list):
                words += [f"--{name}", *value]
            else:
                words += [f"--{name}", str(value)]
        return words

    @property
    def max_num_seqs(self) -> int | None:
        """How many requests the engine works on at once, all of its replicas together; None where vLLM decides."""
        each, replicas = self.flags.get("max-num-seqs"), self.flags.get("data-parallel-size", 1)
        try:
            return int(str(each)) * int(str(replicas))
        except ValueError:
            return None

    def digest(self) -> str:
        """SHA-256 (hex) of flags and environment: what the audit log says an engine was started with."""
        canonical = json.dumps([self.flags, self.environment], sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(canonical.encode()).hexdigest()


def names() -> list[str]:
    """The names of the built-in profiles, sorted."""
    return sorted(path.stem for path in BUILT_IN.glob("*.toml"))


def load(name: str) -> Profile:
    """Read a built-in profile by name, or any profile by the path of its TOML file.

    Raises BadSettings naming file, key, value and what was expected.
    """
    path = Path(name) if name.endswith(".toml") else BUILT_IN / f"{name}.toml"
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadSettings(
            f"there is no profile {name!r}; choose one of {', '.join(names())}, or a .toml file"
        ) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadSettings(f"profile {path} cannot be read: {error}; mend the file") from None
    try:
        profile = Profile.model_validate(table)
    except ValidationError as error:
        raise BadSettings(f"profile {path}: {_first_fault(error)}") from None
    for flags in (profile.flags, *profile.capability_flags.values()):
        for flag, value in flags.items():
            fault = _flag_fault(flag, value)
            if fault:
                raise BadSettings(f"profile {path}: {fault}")
    if profile.environment.get("VLLM_PLUGINS", "") not in ("", PLUGIN):
        raise BadSettings(
            f"profile {path}: environment.VLLM_PLUGINS = {profile.environment['VLLM_PLUGINS']!r}: an engine loads no plugin but "
            f"Vitrine's own; write {PLUGIN!r} or remove it"
        )
    if profile.model and not Path(profile.model).is_absolute():
        profile = profile.model_copy(update={"model": str((path.parent / profile.model).resolve())})
    return profile


def _flag_fault(flag: str, value: FlagValue) -> str:
    if (flag in OURS or flag in FORBIDDEN) and (flag, value) != ("scheduler-cls", SCHEDULER):
        why = "Vitrine sets it itself" if flag in OURS else "it would run or read what did not come with Vitrine"
        return f"flags.{flag} is not allowed, {why}; remove it"
    for word in value if isinstance(value, list) else [value]:
        if isinstance(word, str) and word.startswith("-"):
            return f"flags.{flag} = {word!r}: vLLM would read it as one more flag; write a value that starts without a dash"
    return ""


def _first_fault(error: ValidationError) -> str:
    fault = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        return f"unknown name {where!r}; remove it or correct its spelling"
    if fault["type"] == "missing":
        return f"{where} is missing; add it"
    if fault["loc"][-1] == "bool":  # a flag's value is a union, and its first type is all that would be named
        where = where.removesuffix(".bool")
        return f"{where} = {fault['input']!r}: expected true, false, a number, a string or a list of strings"
    return f"{where} = {fault['input']!r}: {fault['msg'][0].lower()}{fault['msg'][1:]}"
