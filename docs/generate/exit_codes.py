"""Every exit code that a command ends with, and whose it is."""

from docs.generate.language import Language
from docs.generate.markdown import code, table
from gateway import command_line
from gateway import settings as gateway
from gateway.ledger import errors as ledger_errors
from loadtest import __main__ as loadtest
from serve import __main__ as serve
from serve import errors as serve_errors

_HEAD = ("code", "meaning")
_MEANING = {
    0: "Done, or stopped as asked.",
    1: "Failed; the text says why and what to do. `vitrine loadtest run`: a goal was missed, or nothing was measured.",
    3: "The engine never served.",
    10: "The log was tampered with.",
    11: "The log was truncated or rolled back.",
    12: "The log has a gap.",
    13: "The log is unreadable.",
    64: "Wrong usage.",
    78: "Bad settings.",
}


def used() -> set[int]:
    """The codes that the rooms' errors and command lines name."""
    errors = [*vars(serve_errors).values(), *vars(ledger_errors).values()]
    found = {error.exit_code for error in errors if hasattr(error, "exit_code")}
    return found | {0, serve.WRONG_USAGE, loadtest.WRONG_USAGE, command_line.WRONG_USAGE, gateway.BadSettings.exit_code}


def sections(language: Language) -> dict[str, str]:
    """The one table. A code without a meaning here is a KeyError: write it."""
    rows = [[code(number), language.say("exit codes", _MEANING[number])] for number in sorted(used())]
    return {"exit codes": table([language.say("words", word) for word in _HEAD], rows)}
