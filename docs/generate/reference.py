"""All pages of docs/reference/ as they should be: what people wrote, and between its markers what the code says."""

import re
from collections.abc import Callable
from pathlib import Path

from docs.generate import commands, exit_codes, metrics, routes, settings
from docs.generate.language import Chinese, English, Language, Untranslated

FOLDER = Path(__file__).parents[1] / "reference"
PAGES: dict[str, Callable[[Language], dict[str, str]]] = {
    "settings": settings.sections,
    "commands": commands.sections,
    "routes": routes.sections,
    "metrics": metrics.sections,
    "exit-codes": exit_codes.sections,
}
_GENERATED = re.compile(r"(<!-- generated: (?P<name>[a-z ]+) -->\n).*?(<!-- end -->\n)", re.DOTALL)


class BadReference(Exception):
    """The pages can't be written; the text names what is missing and where to add it."""


def pages() -> dict[Path, str]:
    """Every page's path and its whole text. Raises BadReference."""
    english, chinese = English(), Chinese()
    try:
        found = {
            FOLDER / f"{name}{language.suffix}.md": filled(FOLDER / f"{name}{language.suffix}.md", make(language))
            for name, make in PAGES.items()
            for language in (english, chinese)
        }
        chinese.check()
    except Untranslated as error:
        raise BadReference(str(error)) from None
    return found


def filled(path: Path, sections: dict[str, str]) -> str:
    """The page with each section between its markers. Raises BadReference for a section or a marker without the other."""
    text = path.read_text(encoding="utf-8")
    places = [match["name"] for match in _GENERATED.finditer(text)]
    if sorted(places) != sorted(sections):
        raise BadReference(
            f"{path.name} has places for {', '.join(sorted(places)) or 'nothing'}, and the code has"
            f" {', '.join(sorted(sections))}; write <!-- generated: NAME --> and <!-- end --> once for each"
        )
    return _GENERATED.sub(lambda match: f"{match[1]}\n{sections[match['name']]}\n{match[3]}", text)
