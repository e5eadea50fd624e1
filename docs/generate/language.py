"""The words of a page in one language. English is what the code says; Chinese is looked up by it in chinese.toml."""

import re
import tomllib
from abc import ABC, abstractmethod
from pathlib import Path

CHINESE = Path(__file__).with_name("chinese.toml")
_PAGE = re.compile(r"(?<![\w/])docs/(?P<path>[\w/.-]+\.md)(?P<anchor>#[\w-]+)?")


class Untranslated(Exception):
    """English texts without a translation, or translations of a text that is gone."""


class Language(ABC):
    """``suffix`` is what a page's name has before ``.md``."""

    suffix: str

    def say(self, kind: str, text: str) -> str:
        """A text of the code as a page shows it: in this language, pages of docs/ as links."""
        return _PAGE.sub(r"[\g<path>](../\g<path>\g<anchor>)", self._word(kind, " ".join(text.split())))

    @abstractmethod
    def _word(self, kind: str, text: str) -> str: ...


class English(Language):
    suffix = ""

    def _word(self, kind: str, text: str) -> str:
        return text


class Chinese(Language):
    """Keyed by the English text: when that changes, its translation has to be looked at again."""

    suffix = ".zh"

    def __init__(self, path: Path = CHINESE) -> None:
        self._known: dict[str, dict[str, str]] = tomllib.loads(path.read_text(encoding="utf-8"))
        self._used: set[tuple[str, str]] = set()
        self._missing: list[tuple[str, str]] = []

    def _word(self, kind: str, text: str) -> str:
        self._used.add((kind, text))
        if text in self._known.get(kind, {}):
            return self._known[kind][text]
        if (kind, text) not in self._missing:
            self._missing.append((kind, text))
        return text

    def check(self) -> None:
        """Raises Untranslated, after all pages were made."""
        unused = {(kind, text) for kind, texts in self._known.items() for text in texts} - self._used
        lines = [f"no translation in [{kind}]: {text}" for kind, text in self._missing]
        lines += [f"nothing says this any more, in [{kind}]: {text}" for kind, text in sorted(unused)]
        if lines:
            raise Untranslated("mend docs/generate/chinese.toml\n  " + "\n  ".join(lines))
