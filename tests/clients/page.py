"""Reads and writes docs/clients.md: one row and one block of configuration for each client, between markers; runs nothing.

The page itself is what is remembered: a row whose client was not tried this time stays as it is.
"""

import re
from dataclasses import dataclass

from tests.clients.catalogue import NOT_TRIED, TASKS, Client
from tests.clients.environments import PROGRAMS
from tests.clients.trial import Result
from tests.support.process import TOP

PAGE = TOP / "docs" / "clients.md"
HEAD = f"| program | version | tried | {' | '.join(TASKS)} | notes |"
_COMMENTS = ("#", "//")
_AS_WRITTEN = {"ROOT": "http://127.0.0.1:8080", "URL": "http://127.0.0.1:8080/v1", "KEY": "vt_...", "MODEL": "glm-4v"}
_LANGUAGES = {".py": "python", ".mjs": "js", ".java": "java"}
_KINDS = {".yaml": "yaml", ".json": "json", ".toml": "toml", ".sh": "bash"}


@dataclass(frozen=True)
class Block:
    """The lines of configuration that a driver runs with; ``title`` is empty for code, or says which file they are."""

    language: str
    title: str
    code: str


def configuration(client: Client) -> Block:
    """What stands between `configuration` and `end` in a driver, with an address, a key and a model instead of their names."""
    path = PROGRAMS / client.program
    found = re.search(
        r"^ *(?:#|//) configuration(?:: (?P<title>[^\n]+))?\n(?P<code>.*?)^ *(?:#|//) end$",
        path.read_text(encoding="utf-8"),
        re.MULTILINE | re.DOTALL,
    )
    assert found, f"{path.name} does not say what its configuration is"
    code, title = found["code"], found["title"] or ""
    if not title:
        shown = re.sub(r"\b(URL|KEY|MODEL)\b(?!\s*=)", lambda name: f'"{_AS_WRITTEN[name[0]]}"', code)
        shown = re.sub(r'f"([^"{]*)\{"([^"]*)"\}"', r'"\1\2"', shown)  # an f-string with a name in it
        return Block(_LANGUAGES[path.suffix], "", _dedented(shown))
    text = re.search(r'"""\n?(.*?)"""|`\n?(.*?)`', code, re.DOTALL)
    assert text, f"{path.name}: a file is a text in three quotes"
    shown = re.sub(r"\{(ROOT|URL|KEY|MODEL)\}", lambda name: _AS_WRITTEN[name[1]], text[1] or text[2])
    kind = next((language for ending, language in _KINDS.items() if ending in title), "text")
    return Block(kind, title, _dedented(shown.replace("{{", "{").replace("}}", "}").replace("\\\\", "\\")))


def _dedented(code: str) -> str:
    lines = code.strip("\n").splitlines()
    margin = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    return "".join(line[margin:] + "\n" for line in lines)


def rows() -> dict[str, str]:
    """The rows that the page has now, by the name of the program."""
    if not PAGE.exists():
        return {}
    table = PAGE.read_text(encoding="utf-8").partition("<!-- generated: table -->")[2].partition("<!-- end -->")[0]
    lines = [line for line in table.splitlines() if line.startswith("| ")][2:]
    return {line.split(" | ")[0].removeprefix("| "): line for line in lines}


def row(client: Client, version: str, date: str, results: dict[str, Result]) -> str:
    """A row of the table: ✓ works, ✗ does not, – is not done, for a reason in the notes."""
    cells = [_cell(client, task, results) for task in TASKS]
    reasons: dict[str, list[str]] = {}
    for task in TASKS:
        if task in client.cannot:
            reasons.setdefault(client.cannot[task], []).append(task)
    told = [f"{', '.join(tasks)}: {reason}" for reason, tasks in reasons.items()]
    notes = "; ".join([client.note, *told] if client.note else told)
    return " | ".join([f"| {client.name}", version, date, *cells, notes]).rstrip() + " |"


def _cell(client: Client, task: str, results: dict[str, Result]) -> str:
    if task not in results:
        return "–" if task in client.cannot else ""
    return "✗" if results[task].fault else "✓"


def written(clients: tuple[Client, ...], known: dict[str, str]) -> str:
    """The page's generated parts put into its text: the table, and the configurations."""
    table = [HEAD, "| --- " * (len(TASKS) + 4) + "|"]
    table += [known.get(client.name, f"| {client.name} | | not tried yet |{' |' * len(TASKS)} |") for client in clients]
    not_tried = ["| program | why it was not tried |", "| --- | --- |"]
    not_tried += [f"| {name} | {reason} |" for name, reason in NOT_TRIED.items()]
    blocks: list[str] = []
    for client in clients:
        block = configuration(client)
        title = f"In {block.title}:\n\n" if block.title and block.language != "bash" else ""
        blocks.append(f"### {client.name}\n\n{title}```{block.language}\n{block.code}```\n")
    text = PAGE.read_text(encoding="utf-8")
    parts = {"table": "\n".join(table), "not tried": "\n".join(not_tried), "configuration": "\n".join(blocks).rstrip()}
    for name, part in parts.items():
        place = re.compile(rf"(<!-- generated: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        assert place.search(text), f"{PAGE.name} has no place for {name}"
        text = place.sub(lambda found, part=part: f"{found[1]}\n{part}\n\n{found[2]}", text)  # type: ignore[misc]
    return text
