# mypy: ignore-errors
"""zai-sdk, of the model's own vendor."""

import json

from tasks import BASE64, CALLED, FILL, FIRST, KEY, MODEL, SCHEMA, SECOND, TOOL, URL, WEATHER, WHAT, WHO
from tasks import asked, get_weather, perform, seen

# configuration
from zai import ZaiClient

client = ZaiClient(base_url=URL, api_key=KEY)
# client.chat.completions.create(model=MODEL, messages=...)
# end

options = {"model": MODEL, "temperature": 0, "max_tokens": 128}


def shown(question):
    """As the vendor's examples have it: base64 without a prefix."""
    return seen(question, BASE64)


def answer(messages, **more):
    return client.chat.completions.create(messages=messages, **options, **more).choices[0].message


def stream():
    chunks = client.chat.completions.create(messages=[shown(WHAT)], stream=True, **options)
    return [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]


def second_turn():
    messages = [shown(FIRST)]
    messages += [answer(messages).model_dump(), asked(SECOND)]
    return answer(messages).content


def tools():
    messages = [asked(WEATHER)]
    messages.append(answer(messages, tools=[TOOL], tool_choice="auto").model_dump())
    for call in messages[-1]["tool_calls"]:
        result = get_weather(**json.loads(call["function"]["arguments"]))
        messages.append({"role": "tool", "tool_call_id": call["id"], "content": result})
    return {"cities": CALLED, "text": answer(messages, tools=[TOOL]).content}


def schema():
    form = {"type": "json_schema", "json_schema": {"name": "picture", "schema": SCHEMA}}
    return json.loads(answer([shown(FILL)], response_format=form).content)


perform(
    {
        "chat": lambda: answer([asked(WHO)]).content,
        "image": lambda: answer([shown(WHAT)]).content,
        "stream": stream,
        "second turn": second_turn,
        "tools": tools,
        "schema": schema,
    }
)
