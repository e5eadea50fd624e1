"""`vitrine ledger VERB`: maps every ending to the exit code of its kind."""

from __future__ import annotations

import errno
import sys

import typer

from gateway.ledger.commands import check, export, receipts, retain, run, search
from gateway.ledger.errors import EXIT_FAILED, EXIT_USAGE, BadSettings, LedgerError
from gateway.ledger.format.printable import printable

_FORBIDDEN = (errno.EROFS, errno.EACCES, errno.EPERM)
_FULL = (errno.ENOSPC, errno.EDQUOT)
MODULES = (run, check, receipts, search, export, retain)


def make_app() -> typer.Typer:
    app = typer.Typer(
        help="The audit log: what is remembered, and why it can be believed.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
    )
    for module in MODULES:
        app.registered_commands += module.app.registered_commands
    return app


def main(arguments: list[str] | None = None, program: str = "python -m gateway.ledger") -> int:
    """Run one command; its exit code. ``program`` is what usage lines call it."""
    try:
        make_app()(args=arguments, prog_name=program)
    except LedgerError as error:
        typer.echo(printable(f"{type(error).__name__}: {error}"), err=True)
        return error.exit_code
    except BrokenPipeError:
        sys.stderr.close()
        return EXIT_FAILED
    except OSError as error:
        # The world's fault, outside the writer's own path: a folder we may not write is a setting to change.
        typer.echo(printable(_sentence(error)), err=True)
        return BadSettings.exit_code if error.errno in _FORBIDDEN else EXIT_FAILED
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else EXIT_FAILED
        return EXIT_USAGE if code == 2 else code  # the CLI library's own 2 for wrong usage
    return 0


def _sentence(error: OSError) -> str:
    """What could not be done where, and the way out."""
    place = f" {error.filename}" if error.filename else ""
    way_out = ""
    if error.errno in _FULL:
        way_out = ": make room, then start again; nothing that was recorded is lost"
    elif error.errno in _FORBIDDEN:
        way_out = ": it must be writable for the ledger's user"
    return f"cannot use{place or ' a file'}: {error.strerror}{way_out}"


if __name__ == "__main__":
    sys.exit(main())
