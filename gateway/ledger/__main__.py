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
        typer.echo(printable(f"error: {_advice(error)}"), err=True)
        return BadSettings.exit_code if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM) else EXIT_FAILED
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else EXIT_FAILED
        return EXIT_USAGE if code == 2 else code  # the CLI library's own 2 for wrong usage
    return 0


def _advice(error: OSError) -> str:
    """What happened, to which file, and what to do."""
    where = f"{error.filename}: " if error.filename else ""
    # An error that Python raises by itself has no words of the system's.
    what = error.strerror or str(error) or type(error).__name__
    if "AF_UNIX path too long" in what:
        return "the socket's path has over 107 bytes; set VITRINE_HOME or VITRINE_LEDGER_SOCKET to a shorter one"
    return f"{where}{what}; {_WAYS_OUT.get(error.errno or 0, 'mend that and start again')}"


_FOLDERS = "the folders are those of VITRINE_HOME, VITRINE_LEDGER_FOLDER and VITRINE_LEDGER_KEYS"
_WAYS_OUT = {
    errno.EACCES: f"let this user read and write there, or name another folder: {_FOLDERS}",
    errno.EPERM: f"let this user read and write there, or name another folder: {_FOLDERS}",
    errno.EROFS: f"mount it for writing, or name another folder: {_FOLDERS}",
    errno.EEXIST: "it is there already: name another place, or move it away if it is not needed",
    errno.ENOTDIR: f"a file is where a folder should be: move it away, or name another folder: {_FOLDERS}",
    errno.EISDIR: "a folder is where a file should be: name another place",
    errno.ENOENT: "correct the path",
    errno.ENOSPC: "free some space (docs/runbook.md, Ledger disk fills)",
    errno.EDQUOT: "raise the quota of this user, or free some space",
    errno.EADDRINUSE: "another process listens there: stop it, or set VITRINE_LEDGER_SOCKET",
    errno.EMFILE: "raise the number of open files (ulimit -n)",
    errno.EIO: "the disk fails: look at dmesg",
}


if __name__ == "__main__":
    sys.exit(main())
