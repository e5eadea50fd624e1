# mypy: ignore-errors
"""What the drivers in Python share: the questions, the picture, the tool, and how results are told. It knows no client.

A driver runs in the environment of its client, so this file needs the standard library alone.
"""

import base64
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

URL = os.environ["VITRINE_API_URL"]
KEY = os.environ["VITRINE_API_KEY"]
MODEL = os.environ["VITRINE_MODEL"]
FOLDER = Path(os.environ["VITRINE_CLIENT_FOLDER"])  # where a program may leave files

PICTURE = Path(os.environ["VITRINE_PICTURE"]).read_bytes()
BASE64 = base64.b64encode(PICTURE).decode()
DATA_URL = f"data:image/png;base64,{BASE64}"

WHO = "Who are you?"
WHAT = "What is in this picture?"
FIRST, SECOND = "图里有什么？", "圆形是什么颜色？"
FILL = "Describe the picture."
WEATHER = "What is the weather in Paris?"


def seen(question: str, url: str = DATA_URL) -> dict[str, Any]:
    """A message of the user with the picture and a question, as OpenAI's API has it."""
    return {
        "role": "user",
        "content": [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": question}],
    }


def asked(question: str) -> dict[str, Any]:
    """A message of the user with a question alone."""
    return {"role": "user", "content": question}


TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
CALLED: list[str] = []  # the cities that get_weather was asked for


def get_weather(city: str) -> str:
    """The weather in a city."""
    CALLED.append(city)
    return json.dumps({"city": city, "weather": "sunny", "temperature": 21})


SHAPE = {
    "type": "object",
    "properties": {"shape": {"type": "string"}, "color": {"type": "string"}},
    "required": ["shape", "color"],
    "additionalProperties": False,
}
SCHEMA = {
    "type": "object",
    "properties": {"shapes": {"type": "array", "items": SHAPE}},
    "required": ["shapes"],
    "additionalProperties": False,
}


def perform(tasks: dict[str, Callable[[], Any]]) -> None:
    """Do the tasks that the environment names, and print a line of JSON for each: what came, or the error."""
    for name in os.environ["VITRINE_TASKS"].split(","):
        try:
            line = {"task": name, "ok": True, "got": tasks[name]()}
        except Exception as error:  # noqa: BLE001  # whatever a client raises is the result
            line = {"task": name, "ok": False, "got": f"{type(error).__name__}: {error}"[:2000]}
        print("\n" + json.dumps(line, default=str), flush=True)
