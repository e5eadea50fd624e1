# mypy: ignore-errors
"""Semantic Kernel."""

import asyncio
import json

from picture_form import Picture
from tasks import CALLED, DATA_URL, FILL, FIRST, KEY, MODEL, SECOND, URL, WEATHER, WHAT, WHO, get_weather, perform

from semantic_kernel import Kernel
from semantic_kernel.connectors.ai import FunctionChoiceBehavior
from semantic_kernel.connectors.ai.open_ai import OpenAIChatPromptExecutionSettings
from semantic_kernel.contents import ChatHistory, ChatMessageContent, ImageContent, TextContent
from semantic_kernel.functions import kernel_function

# configuration
from openai import AsyncOpenAI
from semantic_kernel.connectors.ai.open_ai import OpenAIChatCompletion

chat = OpenAIChatCompletion(
    ai_model_id=MODEL,
    async_client=AsyncOpenAI(base_url=URL, api_key=KEY),
)
# end


def settings(**more):
    return OpenAIChatPromptExecutionSettings(temperature=0, max_tokens=128, **more)


def shown(question):
    history = ChatHistory()
    items = [ImageContent(data_uri=DATA_URL), TextContent(text=question)]
    history.add_message(ChatMessageContent(role="user", items=items))
    return history


def asked(question):
    history = ChatHistory()
    history.add_user_message(question)
    return history


async def answer(history, **more):
    return await chat.get_chat_message_content(history, settings(**more))


async def stream():
    return [str(piece) async for piece in chat.get_streaming_chat_message_content(shown(WHAT), settings())]


async def second_turn():
    history = shown(FIRST)
    history.add_message(await answer(history))
    history.add_user_message(SECOND)
    return str(await answer(history))


class Weather:
    """A plugin with one function."""

    @kernel_function(name="get_weather", description="The weather in a city.")
    def get_weather(self, city: str) -> str:
        """What the weather is in a city."""
        return get_weather(city)


async def tools():
    kernel = Kernel()
    kernel.add_plugin(Weather(), plugin_name="city")
    with_tools = settings(function_choice_behavior=FunctionChoiceBehavior.Auto())
    told = await chat.get_chat_message_content(asked(WEATHER), with_tools, kernel=kernel)
    return {"cities": CALLED, "text": str(told)}


async def schema():
    return json.loads(str(await answer(shown(FILL), response_format=Picture)))


async def chat_task():
    return str(await answer(asked(WHO)))


async def image():
    return str(await answer(shown(WHAT)))


loop = asyncio.new_event_loop()
perform(
    {
        "chat": lambda: loop.run_until_complete(chat_task()),
        "image": lambda: loop.run_until_complete(image()),
        "stream": lambda: loop.run_until_complete(stream()),
        "second turn": lambda: loop.run_until_complete(second_turn()),
        "tools": lambda: loop.run_until_complete(tools()),
        "schema": lambda: loop.run_until_complete(schema()),
    }
)
