"""What ``vitrine --help`` shows: every word and verb in a line, from the table alone; imports no room."""

import typer

from vitrine.subcommands import OWN_FIRST, OWN_LAST, ROOMS

_ABOUT = "Serve GLM-4V vision models behind one door, with a record of every use."
_OPTIONS = {
    "--help": "Show this; behind a word or a verb: its own help",
    "--install-completion": "Have this shell complete words, verbs and options",
    "--show-completion": "Print what would be installed",
}
_COLUMN = 23


def tree() -> str:
    """All words, each with its verbs, for 80 columns. Words are bold: a printer to no terminal takes that out."""
    lines = ["Usage: vitrine WORD [VERB] [OPTIONS]", "", _ABOUT, ""]
    lines += [_line(word, about, bold=True) for word, about in OWN_FIRST.items()]
    for room in ROOMS:
        lines.append(_line(room.word, room.about, bold=True))
        lines += [_line(f"  {verb}", about) for verb, about in room.verbs.items()]
    lines += [_line(word, about, bold=True) for word, about in OWN_LAST.items()]
    lines += ["", *(_line(option, about) for option, about in _OPTIONS.items())]
    return "\n".join(lines) + "\n"


def _line(name: str, about: str, *, bold: bool = False) -> str:
    gap = " " * (_COLUMN - len(name))
    return f"  {typer.style(name, bold=True) if bold else name}{gap}{about}"
