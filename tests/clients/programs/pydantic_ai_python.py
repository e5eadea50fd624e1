# mypy: ignore-errors
"""pydantic-ai."""

from picture_form import Picture
from tasks import CALLED, FILL, FIRST, KEY, MODEL, PICTURE, SECOND, URL, WEATHER, WHAT, WHO, get_weather, perform

from pydantic_ai import Agent, BinaryContent, NativeOutput

# configuration
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

model = OpenAIChatModel(MODEL, provider=OpenAIProvider(base_url=URL, api_key=KEY))
# end

settings = {"temperature": 0, "max_tokens": 128}
agent = Agent(model, model_settings=settings)
picture = BinaryContent(PICTURE, media_type="image/png")


def stream():
    result = agent.run_stream_sync([picture, WHAT])
    return list(result.stream_text(delta=True, debounce_by=None))


def second_turn():
    first = agent.run_sync([picture, FIRST])
    return agent.run_sync(SECOND, message_history=first.all_messages()).output


def tools():
    able = Agent(model, model_settings=settings, tools=[get_weather])
    text = able.run_sync(WEATHER).output
    return {"cities": CALLED, "text": text}


def schema():
    formed = Agent(model, model_settings=settings, output_type=NativeOutput(Picture))
    return formed.run_sync([picture, FILL]).output.model_dump()


perform(
    {
        "chat": lambda: agent.run_sync(WHO).output,
        "image": lambda: agent.run_sync([picture, WHAT]).output,
        "stream": stream,
        "second turn": second_turn,
        "tools": tools,
        "schema": schema,
    }
)
