"""``vitrine``: parses its own few words, hands all others on, and sets the exit status."""

import os
import sys
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.exceptions import TyperException

from vitrine import processes
from vitrine.dispatch import NotInstalled, group_of, hand_on
from vitrine.help_text import tree
from vitrine.subcommands import OWN_FIRST, OWN_LAST, ROOMS, Room

FAILED, WRONG_USAGE = 1, 64
COMPLETION = "_VITRINE_COMPLETE"  # how the CLI library's shell functions ask for completions


class HandedOn(TyperCommand):
    """A room's word: everything behind it is the room's, unread."""

    def __init__(self, room: Room) -> None:
        super().__init__(room.word, help=room.about, add_help_option=False)
        self.room = room

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.args = args
        return args

    def invoke(self, ctx: Any) -> int:
        return hand_on(self.room, ctx.args)


class Words(TyperGroup):
    """The command's own words and the rooms'. A room is imported when its word is said, or its verbs are completed."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for room in ROOMS:
            self.add_command(HandedOn(room))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        try:
            name, command, rest = super().resolve_command(ctx, args)
        except TyperException as error:
            if "Did you mean" not in error.message:
                error.message = f"{error.message.rstrip('.')}; there are {', '.join(self.list_commands(ctx))}"
            raise
        if ctx.resilient_parsing and isinstance(command, HandedOn):
            try:
                return name, group_of(command.room), rest
            except NotInstalled:
                return None, None, rest  # nothing to complete
        return name, command, rest

    def format_help(self, ctx: Any, formatter: Any) -> None:
        formatter.write(tree())


app = typer.Typer(cls=Words, pretty_exceptions_enable=False)


@app.command(help=OWN_FIRST["up"])
def up() -> int:
    return processes.up()


@app.command(help=OWN_LAST["version"])
def version() -> None:
    import platform
    from importlib import metadata

    print(f"vitrine {metadata.version('vitrine')} on Python {platform.python_version()}")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit status."""
    words = sys.argv[1:] if arguments is None else arguments
    if not words and COMPLETION not in os.environ:
        typer.echo(tree(), nl=False, err=True)
        return WRONG_USAGE
    try:
        status = app(args=words, prog_name="vitrine", standalone_mode=False)
    except NotInstalled as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    except TyperException as error:
        print(f"error: {error.format_message()} (see vitrine --help)", file=sys.stderr)
        return WRONG_USAGE
    return int(status or 0)


if __name__ == "__main__":
    sys.exit(main())
