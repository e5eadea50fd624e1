"""Every command with its arguments and options, as `--help` has them, and every target of the Makefile."""

import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from docs.generate.language import Language
from docs.generate.markdown import code, table

TOP = Path(__file__).parents[2]
ROOMS = ("serve", "gateway", "loadtest", "bench", "dashboards")
# The rooms that `vitrine` hands words on to; the others are for development and are asked by `python -m`.
VITRINE = {
    "serve": "vitrine serve",
    "gateway": "vitrine gateway",
    "gateway.keys": "vitrine keys",
    "gateway.engines": "vitrine engines",
    "gateway.ledger": "vitrine ledger",
    "loadtest": "vitrine loadtest",
}
_HEAD = ("argument or option", "default", "meaning")
_TARGET = re.compile(r"^(?P<name>[a-z-]+):.*?## (?P<text>.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Command:
    """One command: the words that start it, what `--help` says, its parameters as Typer knows them."""

    words: str
    help: str
    parameters: tuple[Any, ...]

    @property
    def names(self) -> set[str]:
        """Arguments, and options by their long names."""
        return {name for one in self.parameters for name in one.opts if name.startswith("--") or "-" not in name}


def commands() -> list[Command]:
    """All commands of all rooms."""
    found: list[Command] = []
    for path in sorted(path for room in ROOMS for path in (TOP / room).rglob("__main__.py")):
        name = ".".join(path.parent.relative_to(TOP).parts)
        module = importlib.import_module(f"{name}.__main__")
        # A room whose commands lie in several files joins them when it is asked to.
        app = module.make_app() if hasattr(module, "make_app") else getattr(module, "app", None)
        if app is not None:
            found += _of(typer.main.get_command(app), VITRINE.get(name, f"python -m {name}"))
    order = [*VITRINE.values()]
    return sorted(found, key=lambda command: _place(order, " ".join(command.words.split()[:2])))


def targets() -> dict[str, str]:
    """Every target of the Makefile's menu, and its text."""
    text = (TOP / "Makefile").read_text(encoding="utf-8")
    return {match["name"]: match["text"] for match in _TARGET.finditer(text)}


def sections(language: Language) -> dict[str, str]:
    """The commands, a heading for each, and the targets."""
    said = "\n".join(_section(language, command) for command in commands())
    head = [language.say("words", word) for word in ("target", "what it does")]
    rows = [[code(f"make {name}"), language.say("targets", text)] for name, text in targets().items()]
    return {"commands": said, "targets": table(head, rows)}


def _place(order: list[str], program: str) -> int:
    return order.index(program) if program in order else len(order)


def _of(command: Any, words: str) -> Iterator[Command]:
    if hasattr(command, "commands"):
        for name, inner in command.commands.items():
            yield from _of(inner, f"{words} {name}")
    else:
        parameters = tuple(one for one in command.params if "--help" not in one.opts)
        yield Command(words, command.help or "", parameters)


def _section(language: Language, command: Command) -> str:
    text = f"### `{command.words}`\n\n{language.say('commands', command.help or f'{command.words} has no help')}\n"
    rows = [[_name(one), _default(language, one), _meaning(language, command, one)] for one in command.parameters]
    return text + ("\n" + table([language.say("words", word) for word in _HEAD], rows) if rows else "")


def _name(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return code((parameter.metavar or parameter.name).upper())
    return ", ".join(code(name) for name in sorted(parameter.opts, key=len, reverse=True))


def _default(language: Language, parameter: Any) -> str:
    value = parameter.default
    if parameter.required:
        return language.say("words", "required")
    if value is None or value is False or value == "":
        return ""
    if isinstance(value, Path) and value.is_relative_to(TOP):
        value = value.relative_to(TOP)
    return code(f"{value:g}" if isinstance(value, float) else value)


def _meaning(language: Language, command: Command, parameter: Any) -> str:
    said = language.say("options", parameter.help or f"{command.words}: {parameter.name} has no help")
    return f"{said} ({code(parameter.envvar)})" if parameter.envvar else said
