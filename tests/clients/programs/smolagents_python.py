# mypy: ignore-errors
"""smolagents."""

import io

from PIL import Image
from tasks import CALLED, FILL, FIRST, KEY, MODEL, PICTURE, SCHEMA, SECOND, URL, WEATHER, WHAT, WHO
from tasks import get_weather, perform

from smolagents import ChatMessage, MessageRole, tool

# configuration
from smolagents import OpenAIModel

model = OpenAIModel(
    model_id=MODEL,
    api_base=URL,
    api_key=KEY,
    temperature=0,
    max_tokens=128,
)
# end

import json

picture = Image.open(io.BytesIO(PICTURE))


def asked(question, *images):
    content = [*({"type": "image", "image": image} for image in images), {"type": "text", "text": question}]
    return ChatMessage(role=MessageRole.USER, content=content)


def second_turn():
    messages = [asked(FIRST, picture)]
    first = model.generate(messages)
    said = ChatMessage(role=MessageRole.ASSISTANT, content=[{"type": "text", "text": first.content}])
    return model.generate([*messages, said, asked(SECOND)]).content


@tool
def weather(city: str) -> str:
    """The weather in a city.

    Args:
        city: Its name.
    """
    return get_weather(city)


def tools():
    first = model.generate([asked(WEATHER)], tools_to_call_from=[weather])
    for call in first.tool_calls:
        arguments = call.function.arguments
        result = weather(**(json.loads(arguments) if isinstance(arguments, str) else arguments))
    return {"cities": CALLED, "text": result}


def schema():
    form = {"type": "json_schema", "json_schema": {"name": "picture", "schema": SCHEMA}}
    return json.loads(model.generate([asked(FILL, picture)], response_format=form).content)


perform(
    {
        "chat": lambda: model.generate([asked(WHO)]).content,
        "image": lambda: model.generate([asked(WHAT, picture)]).content,
        "stream": lambda: [piece.content or "" for piece in model.generate_stream([asked(WHAT, picture)])],
        "second turn": second_turn,
        "tools": tools,
        "schema": schema,
    }
)
