# mypy: ignore-errors
"""LangChain for Python."""

from picture_form import Picture
from tasks import BASE64, CALLED, FILL, FIRST, KEY, MODEL, SECOND, URL, WEATHER, WHAT, WHO, get_weather, perform

from langchain_core.messages import HumanMessage, ToolMessage

# configuration
from langchain_openai import ChatOpenAI

model = ChatOpenAI(model=MODEL, base_url=URL, api_key=KEY, temperature=0, max_tokens=128)
# end


def shown(question):
    picture = {"type": "image", "base64": BASE64, "mime_type": "image/png"}
    return HumanMessage([picture, {"type": "text", "text": question}])


def second_turn():
    messages = [shown(FIRST)]
    messages += [model.invoke(messages), HumanMessage(SECOND)]
    return model.invoke(messages).content


def tools():
    able = model.bind_tools([get_weather])
    messages = [HumanMessage(WEATHER)]
    messages.append(able.invoke(messages))
    for call in messages[-1].tool_calls:
        messages.append(ToolMessage(get_weather(**call["args"]), tool_call_id=call["id"]))
    return {"cities": CALLED, "text": able.invoke(messages).content}


perform(
    {
        "chat": lambda: model.invoke(WHO).content,
        "image": lambda: model.invoke([shown(WHAT)]).content,
        "stream": lambda: [piece.content for piece in model.stream([shown(WHAT)])],
        "second turn": second_turn,
        "tools": tools,
        "schema": lambda: model.with_structured_output(Picture).invoke([shown(FILL)]).model_dump(),
    }
)
