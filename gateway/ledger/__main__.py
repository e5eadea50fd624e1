"""`vitrine ledger VERB`: maps every ending to the exit code of its kind."""

from __future__ import annotations

import errno
import sys

import typer

from gateway.ledger.commands import check, export, receipts, retain, run, search
from gateway.ledger.errors import EXIT_FAILED, EXIT_USAGE, BadSettings, LedgerError
from gateway.ledger.format.printable import printable

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
        typer.echo(printable(f"{type(error).__name__}: {error.filename or ''} {error.strerror}"), err=True)
        return BadSettings.exit_code if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM) else EXIT_FAILED
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else EXIT_FAILED
        return EXIT_USAGE if code == 2 else code  # the CLI library's own 2 for wrong usage
    return 0


if __name__ == "__main__":
    sys.exit(main())
