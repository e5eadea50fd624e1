# mypy: ignore-errors
"""Haystack."""

import json

from picture_form import Picture
from tasks import BASE64, CALLED, FILL, FIRST, KEY, MODEL, SECOND, URL, WEATHER, WHAT, WHO, get_weather, perform

from haystack.components.agents import Agent
from haystack.dataclasses import ChatMessage, ImageContent
from haystack.tools import Tool

# configuration
from haystack.components.generators.chat import OpenAIChatGenerator
from haystack.utils import Secret

generator = OpenAIChatGenerator(
    model=MODEL,
    api_base_url=URL,
    api_key=Secret.from_token(KEY),
    generation_kwargs={"temperature": 0, "max_tokens": 128},
)
# end

picture = ImageContent(base64_image=BASE64, mime_type="image/png")
weather = Tool(
    name="get_weather",
    description="The weather in a city.",
    parameters={"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    function=get_weather,
)


def shown(question):
    return ChatMessage.from_user(content_parts=[picture, question])


def answer(messages, **more):
    return generator.run(messages, **more)["replies"][0]


def stream():
    pieces = []
    answer([shown(WHAT)], streaming_callback=lambda chunk: pieces.append(chunk.content))
    return pieces


def second_turn():
    messages = [shown(FIRST)]
    messages += [answer(messages), ChatMessage.from_user(SECOND)]
    return answer(messages).text


def tools():
    told = Agent(chat_generator=generator, tools=[weather]).run([ChatMessage.from_user(WEATHER)])
    return {"cities": CALLED, "text": told["messages"][-1].text}


def schema():
    return json.loads(answer([shown(FILL)], generation_kwargs={"response_format": Picture}).text)


perform(
    {
        "chat": lambda: answer([ChatMessage.from_user(WHO)]).text,
        "image": lambda: answer([shown(WHAT)]).text,
        "stream": stream,
        "second turn": second_turn,
        "tools": tools,
        "schema": schema,
    }
)
