"""Long prompts: many tools that nobody asked for, and long instructions; answers nothing itself."""

from collections.abc import Callable
from random import Random
from typing import Any

from miniature.conversation import Call, Turn
from miniature.sayings import THINGS
from miniature.smalltalk import random_name
from miniature.words import SHORT_WORDS, Language

VERBS = (
    "search",
    "list",
    "view",
    "read",
    "write",
    "add",
    "create",
    "delete",
    "update",
    "replace",
    "edit",
    "generate",
    "execute",
    "run",
    "fetch",
    "query",
    "get",
    "find",
    "open",
    "close",
    "send",
    "move",
    "copy",
    "check",
    "export",
    "import",
    "schedule",
    "cancel",
    "start",
    "stop",
    "browse",
    "submit",
    "review",
    "toggle",
    "calculate",
    "archive",
)
NOUNS = (
    "note",
    "memory",
    "chat",
    "channel",
    "message",
    "thread",
    "file",
    "folder",
    "knowledge",
    "base",
    "url",
    "page",
    "image",
    "code",
    "task",
    "calendar",
    "event",
    "reminder",
    "contact",
    "document",
    "table",
    "database",
    "record",
    "user",
    "account",
    "order",
    "report",
    "skill",
    "agent",
    "model",
    "tool",
    "log",
    "branch",
    "commit",
    "issue",
    "ticket",
    "server",
    "command",
    "terminal",
    "automation",
    "prompt",
    "todo",
    "plan",
    "bucket",
    "job",
    "metric",
)
WORDS = (
    "the",
    "a",
    "an",
    "of",
    "to",
    "in",
    "for",
    "with",
    "from",
    "by",
    "on",
    "at",
    "as",
    "or",
    "and",
    "that",
    "this",
    "it",
    "is",
    "are",
    "be",
    "can",
    "will",
    "may",
    "should",
    "must",
    "not",
    "only",
    "when",
    "if",
    "then",
    "else",
    "each",
    "every",
    "all",
    "any",
    "some",
    "no",
    "one",
    "two",
    "more",
    "most",
    "least",
    "first",
    "last",
    "next",
    "new",
    "old",
    "same",
    "other",
    "own",
    "full",
    "short",
    "long",
    "current",
    "given",
    "optional",
    "required",
    "default",
    "maximum",
    "minimum",
    "number",
    "string",
    "list",
    "object",
    "array",
    "boolean",
    "integer",
    "true",
    "false",
    "null",
    "value",
    "key",
    "name",
    "title",
    "content",
    "text",
    "body",
    "id",
    "identifier",
    "path",
    "result",
    "results",
    "item",
    "items",
    "entry",
    "entries",
    "return",
    "returns",
    "returned",
    "returning",
    "contains",
    "containing",
    "includes",
    "including",
    "using",
    "used",
    "use",
    "useful",
    "instead",
    "before",
    "after",
    "until",
    "while",
    "during",
    "without",
    "within",
    "between",
    "across",
    "about",
    "user",
    "users",
    "assistant",
    "conversation",
    "context",
    "question",
    "answer",
    "request",
    "response",
    "error",
    "message",
    "match",
    "matches",
    "matching",
    "exact",
    "similar",
    "relevant",
    "specific",
    "related",
    "query",
    "search",
    "filter",
    "limit",
    "offset",
    "page",
    "count",
    "time",
    "date",
    "timestamp",
    "start",
    "end",
    "range",
    "format",
    "json",
    "markdown",
    "html",
    "plain",
    "language",
    "model",
    "tool",
    "function",
    "call",
    "calls",
    "called",
    "parameter",
    "parameters",
    "argument",
    "arguments",
    "always",
    "never",
    "please",
    "do",
    "don't",
    "make",
    "sure",
    "note",
    "important",
    "example",
    "examples",
    "follow",
    "step",
    "steps",
    "rule",
    "rules",
    "file",
    "files",
    "line",
    "lines",
    "change",
    "changes",
    "code",
    "test",
    "tests",
    "project",
    "directory",
    "command",
    "output",
    "input",
    "data",
    "information",
    "knowledge",
    "external",
    "web",
    "internet",
    "page",
    "link",
    "source",
    "sources",
    "reference",
    "references",
    "set",
    "get",
    "save",
    "store",
    "stored",
    "remove",
    "open",
    "close",
    "create",
    "delete",
    "update",
    "edit",
    "write",
    "read",
)
KEYS = (
    "query",
    "count",
    "limit",
    "skip",
    "id",
    "url",
    "title",
    "content",
    "path",
    "name",
    "start",
    "end",
    "offset",
    "prompt",
    "code",
    "language",
    "note_id",
    "chat_id",
    "file_id",
    "channel_id",
    "message_id",
    "knowledge_ids",
    "start_timestamp",
    "end_timestamp",
    "days_ago",
    "hours_ago",
    "text",
    "body",
    "tags",
    "priority",
    "recursive",
    "old_string",
    "new_string",
    "pattern",
    "timeout",
    "description",
    "status",
    "format",
    "style",
    "color",
    "shape",
    "city",
    "location",
    "to",
    "value",
    "options",
    "filters",
    "memory_id",
    "include_archived",
    "max_results",
)
# What an agent's or an application's long instructions are cut into.
HEADINGS = (
    "# Rules",
    "## Tools",
    "## Style",
    "# Task",
    "## Context",
    "Guidelines:",
    "Notes:",
    "## Memory",
    "# Examples",
)


def words(random: Random, many: int) -> str:
    """So many words in sentences that say nothing."""
    out: list[str] = []
    begin = True
    while len(out) < many:
        chance = random.random()
        word = random.choice(WORDS) if chance < 0.8 else random.choice(NOUNS) if chance < 0.9 else _rare(random)
        out.append(word.capitalize() if begin else word)
        begin = random.random() < 0.09
        if begin:
            out[-1] += random.choice((".", ".", ".", "!", ":", ";", "?"))
        elif random.random() < 0.08:
            out[-1] += ","
    return " ".join(out) + "."


def _rare(random: Random) -> str:
    chance = random.random()
    if chance < 0.3:
        return random.choice(SHORT_WORDS).lower()
    if chance < 0.5:
        return random.choice(THINGS["en"])
    if chance < 0.7:
        return f"`{random.choice(KEYS)}`"
    if chance < 0.8:
        return f"({random.choice(WORDS)}/{random.choice(WORDS)})"
    if chance < 0.9:
        return str(random.randint(0, 9999))
    return random_name(random, "en").lower()


def _kind(random: Random) -> dict[str, Any]:
    chance = random.random()
    if chance < 0.5:
        return {"type": "string"}
    if chance < 0.7:
        return {"type": "integer"}
    if chance < 0.78:
        return {"type": "boolean"}
    if chance < 0.86:
        return {"type": "array", "items": {"type": random.choice(("string", "integer", "object"))}}
    if chance < 0.94:
        return {"anyOf": [{"type": random.choice(("string", "integer"))}, {"type": "null"}]}
    return {"type": "string", "enum": random.sample(NOUNS, random.randint(2, 5))}


def tool_name(random: Random, like: tuple[str, ...] = ()) -> str:
    """A name such as search_notes; some begin as one of those in `like` does."""
    verb, noun = random.choice(VERBS), random.choice(NOUNS)
    chance = random.random()
    if like and random.random() < 0.3:
        parts = random.choice(like).split("_")
        verb = "_".join(parts[: random.randint(1, max(1, len(parts) - 1))])
    if chance > 0.93:
        return f"{verb}_current_{noun}"
    name = f"{verb}_{noun}{random.choice(('', 's'))}"
    if chance < 0.25:
        name = f"{verb}_{random.choice(NOUNS)}_{noun}{random.choice(('', 's'))}"
    elif chance < 0.35:
        name = f"{random.choice(NOUNS)}_{name}"
    elif chance < 0.42:
        name = verb + noun.capitalize()
    return name


def tool(random: Random, name: str, chatty: float) -> dict[str, Any]:
    """A tool of this name; the more chatty, the longer are its descriptions."""
    properties: dict[str, Any] = {}
    for key in random.sample(KEYS, random.choices((0, 1, 2, 3, 4, 6), (2, 4, 4, 3, 2, 1))[0]):
        inner = _kind(random)
        if random.random() < 0.25:
            inner["default"] = random.choice((None, 5, 10, "", False))
        if random.random() < chatty:
            inner["description"] = words(random, random.randint(3, int(8 + 12 * chatty)))
        if random.random() < 0.15:
            inner["title"] = key.replace("_", " ").title()
        properties[key] = inner
    about = words(random, random.randint(3, int(10 + 50 * chatty)))
    if random.random() < 0.5:
        about = f"{name.split('_')[0].capitalize()} the {random.choice(NOUNS)}. {about}"
    parameters: dict[str, Any] = {"type": "object", "properties": properties}
    required = [key for key in properties if random.random() < 0.5]
    if required or random.random() < 0.5:
        parameters["required"] = required
    return {"type": "function", "function": {"name": name, "description": about, "parameters": parameters}}


def others(random: Random, many: int, chatty: float, taken: set[str]) -> list[dict[str, Any]]:
    """So many tools that nobody asked for, of names that are not taken."""
    out: list[dict[str, Any]] = []
    names = set(taken)
    while len(out) < many:
        name = tool_name(random, tuple(sorted(taken)))
        if name not in names:
            names.add(name)
            out.append(tool(random, name, chatty))
    return out


def instructions(random: Random, many: int) -> str:
    """A long system text of so many words that asks for nothing special."""
    parts = []
    while many > 0:
        length = random.randint(8, 80)
        many -= length
        part = words(random, length)
        chance = random.random()
        if chance < 0.2:
            part = random.choice(HEADINGS) + "\n" + part
        elif chance < 0.45:
            part = "- " + part
        elif chance < 0.5:
            part = f"```\n{part}\n```"
        parts.append(part)
    return random.choice(("\n", "\n\n", " ")).join(parts)


ASKS: dict[Language, tuple[str, ...]] = {
    "en": ("Call {}.", "Use {}.", "Use the tool {}.", "Please run {}.", "Call the function {}.", "Use {} now."),
    "zh": ("调用{}。", "使用{}。", "请使用工具{}。", "请调用{}。", "运行{}。"),
}
WITH: dict[Language, str] = {"en": " with {} {}", "zh": "，{}为{}"}


def named(random: Random, tools: list[dict[str, Any]], language: Language, value: Callable[[], str]) -> Turn | None:
    """A request that names one of the tools, maybe with one of its text parameters, and the call."""
    chosen = random.choice(tools)["function"]
    properties = chosen["parameters"]["properties"]
    texts = [key for key, inner in properties.items() if inner.get("type") == "string" and "enum" not in inner]
    needed = chosen["parameters"].get("required", [])
    arguments: dict[str, Any] = {}
    if needed and (len(needed) > 1 or needed[0] not in texts):
        return None
    if needed:
        arguments[needed[0]] = value()
    ask = random.choice(ASKS[language]).format(chosen["name"])
    mark = ask[-1]
    for key, word in arguments.items():
        ask = ask[:-1] + WITH[language].format(key, word) + mark
    thought = f"I should call {chosen['name']}." if language == "en" else f"应该调用{chosen['name']}。"
    return Turn(ask, "", thought, calls=[Call(chosen["name"], arguments)], skill="tool")
