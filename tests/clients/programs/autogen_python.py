# mypy: ignore-errors
"""AutoGen."""

import asyncio
import json

from picture_form import Picture
from tasks import BASE64, CALLED, FILL, FIRST, KEY, MODEL, SECOND, URL, WEATHER, WHAT, WHO, get_weather, perform

from autogen_agentchat.agents import AssistantAgent
from autogen_core import Image
from autogen_core.models import AssistantMessage, UserMessage

# configuration
from autogen_ext.models.openai import OpenAIChatCompletionClient

able = {"vision": True, "function_calling": True, "json_output": True, "structured_output": True, "family": "unknown"}
client = OpenAIChatCompletionClient(
    model=MODEL,
    base_url=URL,
    api_key=KEY,
    model_info=able,
    temperature=0,
    max_tokens=128,
)
# end

picture = Image.from_base64(BASE64)


def asked(*content):
    return UserMessage(content=content[0] if len(content) == 1 else list(content), source="user")


async def answer(*messages, **more):
    return (await client.create(list(messages), **more)).content


async def stream():
    return [piece async for piece in client.create_stream([asked(picture, WHAT)]) if isinstance(piece, str)]


async def second_turn():
    question = asked(picture, FIRST)
    said = AssistantMessage(content=await answer(question), source="assistant")
    return await answer(question, said, asked(SECOND))


async def tools():
    agent = AssistantAgent("assistant", client, tools=[get_weather], reflect_on_tool_use=True, system_message=None)
    return {"cities": CALLED, "text": (await agent.run(task=WEATHER)).messages[-1].content}


async def schema():
    return json.loads(await answer(asked(picture, FILL), json_output=Picture))


loop = asyncio.new_event_loop()
perform(
    {
        "chat": lambda: loop.run_until_complete(answer(asked(WHO))),
        "image": lambda: loop.run_until_complete(answer(asked(picture, WHAT))),
        "stream": lambda: loop.run_until_complete(stream()),
        "second turn": lambda: loop.run_until_complete(second_turn()),
        "tools": lambda: loop.run_until_complete(tools()),
        "schema": lambda: loop.run_until_complete(schema()),
    }
)
