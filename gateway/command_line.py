"""How a command of the gateway ends: one sentence on standard error and the exit status of its kind. Knows no command."""

import sys

import typer
from typer.exceptions import TyperException

from gateway.ledger.format.printable import printable, printable_lines

WRONG_USAGE = 64


def run_command(
    app: typer.Typer, *failures: type[Exception], arguments: list[str] | None = None, program: str | None = None
) -> int:
    """Run a command line; its exit status: that of the error's kind, 64 for wrong usage, 1 for other ``failures``.

    ``arguments`` are the process's own unless they are given, and ``program`` is what usage lines call it.
    """
    try:
        status = app(args=arguments, prog_name=program, standalone_mode=False)
    except failures as error:
        print(printable(f"error: {error}"), file=sys.stderr)
        return int(getattr(error, "exit_code", 1))
    except TyperException as error:
        context = getattr(error, "ctx", None)
        command = f"{context.command_path} --help" if context else "--help"
        print(printable_lines(f"error: {error.format_message()} (see {command})"), file=sys.stderr)
        return WRONG_USAGE
    return int(status or 0)
