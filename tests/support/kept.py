"""A state folder that a released version left (tests/fixtures): copied, and opened with the commands of today."""

import contextlib
import io
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway.engines.__main__ import app as engines_app
from gateway.keys.__main__ import app as keys_app
from gateway.ledger.__main__ import main as ledger_main

FIXTURES = Path(__file__).parents[1] / "fixtures"


def versions() -> list[str]:
    """All versions of which a state folder is kept, by name."""
    return sorted(path.parent.name for path in FIXTURES.glob("*/expected.json"))


@dataclass(frozen=True)
class Said:
    """What a command printed on standard output, and its exit code."""

    code: int
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def rows(self) -> list[Any]:
        return [json.loads(line) for line in self.text.splitlines()]


class Kept:
    """A copy in ``folder``, which holds vitrine.toml and is where commands run; ``expected`` is what must be found in it.

    Commands run in this process: the code is that of ``python -m``, the start is not paid for.
    """

    def __init__(self, version: str, folder: Path) -> None:
        self.original = FIXTURES / version
        self.folder, self.state = folder, folder / "state"
        self.expected: dict[str, Any] = json.loads((self.original / "expected.json").read_text())
        shutil.copytree(self.original, folder, dirs_exist_ok=True)
        for path in [folder, *folder.rglob("*")]:
            path.chmod(0o700 if path.is_dir() else 0o600)  # git does not keep these modes, secrets need them

    def ledger(self, *words: str) -> Said:
        """``python -m gateway.ledger WORDS``."""
        return self._said(lambda: ledger_main(list(words)))

    def keys(self, *words: str) -> Said:
        """``python -m gateway.keys WORDS``."""
        return self._said(lambda: keys_app(list(words), standalone_mode=False))

    def engines(self, *words: str) -> Said:
        """``python -m gateway.engines WORDS``."""
        return self._said(lambda: engines_app(list(words), standalone_mode=False))

    def _said(self, command: Callable[[], int | None]) -> Said:
        out = io.StringIO()
        with self.inside(), contextlib.redirect_stdout(out):
            code = command()
        return Said(code or 0, out.getvalue())

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """The working folder and the environment of whoever keeps this state: settings come from its vitrine.toml alone."""
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.folder)
            for name in [name for name in os.environ if name.startswith("VITRINE_")]:
                patch.delenv(name)
            yield
