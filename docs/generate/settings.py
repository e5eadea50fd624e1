"""Every setting: its name in the environment and in vitrine.toml, its default, what it may be, what it means."""

import enum
import re
import types
import typing
from pathlib import Path
from typing import Any, Literal

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from docs.generate.language import Language
from docs.generate.markdown import code, table
from gateway import settings as gateway
from gateway.ledger import settings as ledger
from serve import settings as serve

ROOMS: tuple[tuple[str, str, str, type[BaseModel]], ...] = (
    ("gateway settings", gateway.PREFIX, "", gateway.Settings),
    ("engine settings", serve.PREFIX, "engine.", serve.EngineSettings),
    ("ledger settings", ledger.PREFIX, "ledger.", ledger.LedgerSettings),
)
_HEAD = ("environment", "`vitrine.toml`", "default", "may be", "meaning")
_PLAIN = {bool: "true or false", int: "integer", float: "number", str: "text", Path: "path"}
_WORDS = re.compile(r"\^\((?P<words>[\w|-]+)\)\$")


def sections(language: Language) -> dict[str, str]:
    """One table for each room."""
    head = [language.say("words", word) for word in _HEAD]
    return {name: table(head, _rows(language, prefix, place, model)) for name, prefix, place, model in ROOMS}


def _rows(language: Language, prefix: str, place: str, model: type[BaseModel]) -> list[list[str]]:
    # Signing in, which the gateway's settings have before the state folder, comes last.
    names = list(model.model_fields)
    begin = names.index("home")
    # The state folder is every room's and stands in the gateway's table.
    order = [name for name in names[begin:] + names[:begin] if name != "home" or not place]
    fields = {name: model.model_fields[name] for name in order}
    return [
        [
            code(prefix + name.upper()),
            code(place + name),
            default(language, field.get_default(call_default_factory=True)),
            may_be(language, field),
            language.say("settings", field.description or f"{place}{name} has no description"),
        ]
        for name, field in fields.items()
    ]


def default(language: Language, value: Any) -> str:
    """How a default is written."""
    if value is None or value in ("", (), []):
        return language.say("words", "none")
    if isinstance(value, bool):
        return code(str(value).lower())
    return code(f"{value:g}" if isinstance(value, float) else value)


def may_be(language: Language, field: FieldInfo) -> str:
    """What is accepted: words, or a type with its bounds."""
    kind = _without_none(field.annotation)
    pattern = next((one.pattern for one in field.metadata if getattr(one, "pattern", None)), "")
    words = _WORDS.fullmatch(pattern)
    if words:
        return ", ".join(code(word) for word in words["words"].split("|"))
    if typing.get_origin(kind) is Literal:
        return ", ".join(code(word) for word in typing.get_args(kind))
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return ", ".join(code(word.value) for word in kind)
    origin = typing.get_origin(kind)
    if origin in (list, tuple):
        inner = typing.get_args(kind)[0]
        return language.say("words", "list of paths" if inner is Path else "list of tables")
    return language.say("words", _PLAIN[typing.cast(Any, kind)]) + ",".join(_bounds(field.metadata))


def _bounds(metadata: list[Any]) -> list[str]:
    signs = {annotated_types.Ge: ("≥", "ge"), annotated_types.Gt: (">", "gt"), annotated_types.Le: ("≤", "le")}
    return [f" {signs[type(one)][0]} {getattr(one, signs[type(one)][1])}" for one in metadata if type(one) in signs]


def _without_none(annotation: Any) -> Any:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return next(one for one in typing.get_args(annotation) if one is not type(None))
    return annotation
