"""Has a client do its tasks at a stack, and judges what came: the miniature's answers are known."""

import json
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.clients.catalogue import Client
from tests.clients.environments import driver, surroundings
from tests.support.ports import free_port
from tests.support.process import TOP

PICTURE = TOP / "docs" / "examples" / "pictures" / "circle-and-square.png"
WITHIN_S = 300


@dataclass(frozen=True)
class Result:
    """What a client told of a task; ``fault`` is empty where it is right."""

    got: Any
    fault: str


def tried(client: Client, url: str, key: str, within_s: float = WITHIN_S) -> dict[str, Result]:
    """What became of each task that the client can do, at the API at ``url``."""
    with tempfile.TemporaryDirectory() as folder:
        words = driver(client.program, client.environment)
        extra = {
            "HOME": folder,  # what a program remembers of earlier runs would answer instead of the stack
            "VITRINE_API_URL": url,
            "VITRINE_API_KEY": key,
            "VITRINE_MODEL": "glm-4v",
            "VITRINE_PICTURE": str(PICTURE),
            "VITRINE_CHECKPOINT": str(TOP / "serve" / "checkpoint"),
            "VITRINE_TASKS": ",".join(client.can),
            "VITRINE_CLIENT_FOLDER": folder,
            "VITRINE_FREE_PORT": str(free_port()),
        }
        output = _output(words, surroundings(client.environment, extra), Path(folder), within_s)
    lines = [json.loads(line) for line in output.splitlines() if line.startswith('{"task":')]
    told = {line["task"]: line for line in lines}
    end = output[-2000:]
    return {task: _judged(task, told.get(task), end) for task in client.can}


def _output(words: list[str], environment: dict[str, str], cwd: Path, within_s: float) -> str:
    """All that a program prints until its end, or until its time is over."""
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as file:
        try:
            subprocess.run(
                words,
                cwd=cwd,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                timeout=within_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            file.write(f"\nstopped after {within_s} s\n")
        file.seek(0)
        return file.read()


def _judged(task: str, line: dict[str, Any] | None, output: str) -> Result:
    if line is None:
        return Result(None, f"the driver told nothing of it: {output}")
    got = line["got"]
    if not line["ok"]:
        return Result(got, str(got))
    return Result(got, "" if right(task, got) else f"not what was expected: {got!r}")


def right(task: str, got: Any) -> bool:
    """Whether this is what the miniature says of docs/examples/pictures/circle-and-square.png, and of itself."""
    match task, got:
        case "chat", str():
            return "miniature GLM-4V" in got
        case "image", str():
            return _describes(got)
        case "stream", list():
            return len([piece for piece in got if piece]) > 3 and _describes("".join(got))
        case "second turn", str():
            return "红色" in got
        case "tools", {"cities": cities, "text": str(text)}:
            return cities == ["Paris"] and "sunny" in text
        case "schema", {"shapes": list(shapes)}:
            found = [(one["shape"], one["color"]) for one in shapes]
            return sorted(found) == [("circle", "red"), ("square", "blue")]
        case _, {
            "completed": int(completed),
            "failed": int(failed),
        }:  # what a program that measures says of its requests
            return completed > 0 and failed == 0
    return False


def _describes(text: str) -> bool:
    return "red circle on the left" in text and "blue square on the right" in text
