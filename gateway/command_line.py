"""How this room's commands end: one sentence on standard error and the exit status of its kind; knows no command."""

import sys

import typer
from typer.exceptions import TyperException

from gateway.ledger.errors import BadSettings as BadLedgerSettings
from gateway.settings import BadSettings

WRONG_USAGE, BAD_SETTINGS = 64, 78


def run(
    app: typer.Typer, *failures: type[Exception], arguments: list[str] | None = None, program: str | None = None
) -> int:
    """Run the command line; its exit status as in the README's table. ``failures`` end with 1.

    ``arguments`` are the process's own unless they are given, and ``program`` is what usage lines call it.
    """
    try:
        status = app(args=arguments, prog_name=program, standalone_mode=False)
    except (BadSettings, BadLedgerSettings) as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_SETTINGS
    except failures as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except TyperException as error:
        context = getattr(error, "ctx", None)
        command = f"{context.command_path} --help" if context else "--help"
        print(f"error: {error.format_message()} (see {command})", file=sys.stderr)
        return WRONG_USAGE
    return int(status or 0)
