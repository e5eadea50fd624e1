# mypy: ignore-errors
"""LiteLLM's SDK."""

import json

from picture_form import Picture
from tasks import CALLED, FILL, FIRST, KEY, MODEL, SECOND, TOOL, URL, WEATHER, WHAT, WHO
from tasks import asked, get_weather, perform, seen

# configuration
import litellm

where = {"model": f"openai/{MODEL}", "api_base": URL, "api_key": KEY}
# litellm.completion(messages=..., **where)
# end

options = {**where, "temperature": 0, "max_tokens": 128}


def answer(messages, **more):
    return litellm.completion(messages=messages, **options, **more).choices[0].message


def second_turn():
    messages = [seen(FIRST)]
    messages += [answer(messages).model_dump(), asked(SECOND)]
    return answer(messages).content


def tools():
    messages = [asked(WEATHER)]
    messages.append(answer(messages, tools=[TOOL]))
    for call in messages[-1].tool_calls:
        result = get_weather(**json.loads(call.function.arguments))
        messages.append({"role": "tool", "tool_call_id": call.id, "name": call.function.name, "content": result})
    return {"cities": CALLED, "text": answer(messages, tools=[TOOL]).content}


def stream():
    chunks = litellm.completion(messages=[seen(WHAT)], stream=True, **options)
    return [chunk.choices[0].delta.content or "" for chunk in chunks]


perform(
    {
        "chat": lambda: answer([asked(WHO)]).content,
        "image": lambda: answer([seen(WHAT)]).content,
        "stream": stream,
        "second turn": second_turn,
        "tools": tools,
        "schema": lambda: json.loads(answer([seen(FILL)], response_format=Picture).content),
    }
)
