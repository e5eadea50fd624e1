# mypy: ignore-errors
"""The tasks with OpenAI's client for Python, whatever server it is pointed at."""

import json
from collections.abc import Callable
from typing import Any

from openai import OpenAI
from picture_form import Picture
from tasks import CALLED, FILL, FIRST, SECOND, TOOL, WEATHER, WHAT, WHO, asked, get_weather, seen


def tasks(client: OpenAI, model: str) -> dict[str, Callable[[], Any]]:
    """All tasks, with this client and this name of the model."""
    options: Any = {"model": model, "temperature": 0, "max_tokens": 128}

    def answer(messages: Any, **more: Any) -> Any:
        return client.chat.completions.create(messages=messages, **options, **more).choices[0].message

    def stream() -> list[str]:
        chunks = client.chat.completions.create(
            messages=[seen(WHAT)], stream=True, stream_options={"include_usage": True}, **options
        )
        return [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]

    def second_turn() -> str:
        messages = [seen(FIRST)]
        messages += [answer(messages), asked(SECOND)]
        return str(answer(messages).content)

    def tools() -> dict[str, Any]:
        messages = [asked(WEATHER)]
        first = answer(messages, tools=[TOOL])
        messages.append(first)
        for call in first.tool_calls:
            result = get_weather(**json.loads(call.function.arguments))
            messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
        return {"cities": CALLED, "text": answer(messages, tools=[TOOL]).content}

    def schema() -> Any:
        parsed = client.chat.completions.parse(messages=[seen(FILL)], response_format=Picture, **options)
        return parsed.choices[0].message.parsed.model_dump()

    return {
        "chat": lambda: answer([asked(WHO)]).content,
        "image": lambda: answer([seen(WHAT)]).content,
        "stream": stream,
        "second turn": second_turn,
        "tools": tools,
        "schema": schema,
    }
