"""Gives a room its words and returns its exit status; says in a sentence that a room is not installed."""

import importlib
import importlib.util
from types import ModuleType
from typing import Any

from vitrine.subcommands import ROOMS, Room

OURS = {room.module.partition(".")[0] for room in ROOMS}


class NotInstalled(Exception):
    """A room or what it needs is missing here (exit 1)."""


def hand_on(room: Room, arguments: list[str]) -> int:
    """Run a room's command line with ``arguments``; its exit status. Raises NotInstalled."""
    status: int = module_of(room).main(arguments, f"vitrine {room.word}")
    return status


def group_of(room: Room) -> Any:
    """A room's commands as the CLI library's object, for shell completion. Raises NotInstalled."""
    import typer.main

    module = module_of(room)
    # A room whose commands lie in several files joins them when it is asked to.
    return typer.main.get_command(module.make_app() if hasattr(module, "make_app") else module.app)


def module_of(room: Room) -> ModuleType:
    """A room's module, imported now. Raises NotInstalled."""
    missing = [name for name in room.needs if importlib.util.find_spec(name) is None]
    if missing:
        raise _not_installed(room, missing)
    try:
        return importlib.import_module(room.module)
    except ModuleNotFoundError as error:
        name = error.name or ""
        top = name.partition(".")[0]
        if top in OURS and name != top:
            raise  # a module of ours that is gone is a fault of ours, not of the installation
        raise _not_installed(room, [top]) from None


def _not_installed(room: Room, missing: list[str]) -> NotInstalled:
    wheel = f"install the wheel with its extra {room.extra!r}" if room.extra else "install the wheel again"
    lacks = f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing"
    return NotInstalled(
        f"`vitrine {room.word}` is not installed here, {lacks}; run `make setup` in a clone, or {wheel}"
    )
