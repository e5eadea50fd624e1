"""Reads a README: its fenced blocks with their info strings, and its tables by the comment before them; checks nothing."""

import re
from dataclasses import dataclass
from pathlib import Path

TOP = Path(__file__).parents[2]
NAMES = ("README.md", "README.zh.md")
BASE_URL = "http://127.0.0.1:8080"

_BLOCK = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
_TABLE = re.compile(r"^<!-- table: (?P<name>[a-z ]+) -->\n\n(?P<rows>(?:\|[^\n]*\n)+)", re.MULTILINE)
_CODE_SPAN = re.compile(r"`([^`]+)`")


@dataclass(frozen=True)
class Block:
    """One fenced block; ``info`` is what follows its opening fence, as in ``bash run``."""

    info: str
    code: str

    @property
    def language(self) -> str:
        return self.info.partition(" ")[0]

    @property
    def runs(self) -> bool:
        """Whether it asks the running stack something, and so is executed."""
        return self.info.endswith(" run")


def blocks(name: str) -> list[Block]:
    """Every fenced block of a README, in order."""
    return [Block(match["info"], match["code"]) for match in _BLOCK.finditer(_text(name))]


def tables(name: str) -> dict[str, dict[str, list[str]]]:
    """Every named table of a README: its rows by the code in their first cell, as the cells that follow."""
    return {match["name"]: _rows(match["rows"]) for match in _TABLE.finditer(_text(name))}


def codes(cell: str) -> list[str]:
    """All `code` of a cell."""
    return _CODE_SPAN.findall(cell)


def _rows(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in text.splitlines()[2:]:
        first, *others = [cell.strip() for cell in line.strip().strip("|").split("|")]
        key = codes(first)[0]
        assert key not in found, f"{key} is there twice"
        found[key] = others
    return found


def _text(name: str) -> str:
    return (TOP / name).read_text(encoding="utf-8")
