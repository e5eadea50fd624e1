# mypy: ignore-errors
"""LlamaIndex with its class for APIs like OpenAI's."""

from picture_form import Picture
from tasks import CALLED, FILL, FIRST, KEY, MODEL, PICTURE, SECOND, URL, WEATHER, WHAT, WHO, get_weather, perform

from llama_index.core.llms import ChatMessage, ImageBlock, TextBlock
from llama_index.core.tools import FunctionTool

# configuration
from llama_index.llms.openai_like import OpenAILike

llm = OpenAILike(
    model=MODEL,
    api_base=URL,
    api_key=KEY,
    context_window=32768,
    is_chat_model=True,
    is_function_calling_model=True,
    should_use_structured_outputs=True,
)
# end

llm.temperature, llm.max_tokens = 0, 128


def shown(question):
    return ChatMessage(
        role="user", blocks=[ImageBlock(image=PICTURE, image_mimetype="image/png"), TextBlock(text=question)]
    )


def asked(question):
    return ChatMessage(role="user", content=question)


def second_turn():
    messages = [shown(FIRST)]
    messages += [llm.chat(messages).message, asked(SECOND)]
    return llm.chat(messages).message.content


def tools():
    weather = FunctionTool.from_defaults(get_weather)
    messages = [asked(WEATHER)]
    first = llm.chat_with_tools([weather], chat_history=messages)
    messages.append(first.message)
    for call in llm.get_tool_calls_from_response(first):
        result = weather(**call.tool_kwargs)
        known = {"tool_call_id": call.tool_id}
        messages.append(ChatMessage(role="tool", content=result.content, additional_kwargs=known))
    return {"cities": CALLED, "text": llm.chat_with_tools([weather], chat_history=messages).message.content}


perform(
    {
        "chat": lambda: llm.chat([asked(WHO)]).message.content,
        "image": lambda: llm.chat([shown(WHAT)]).message.content,
        "stream": lambda: [piece.delta for piece in llm.stream_chat([shown(WHAT)])],
        "second turn": second_turn,
        "tools": tools,
        "schema": lambda: llm.as_structured_llm(Picture).chat([shown(FILL)]).raw.model_dump(),
    }
)
