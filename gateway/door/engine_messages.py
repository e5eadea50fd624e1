"""Messages written anew, field by field, as the engine reads them; nothing passes that is not named here.

How vLLM 0.32 names things (entrypoints/openai/chat_completion/protocol.py, renderers/chat_utils.py): a turn's reasoning
is `reasoning`; it has no role `developer` that GLM's template would render; it ignores `refusal` beside `content`.
"""

from collections.abc import Callable, Iterator
from typing import Any

from gateway.door.chat_body import (
    AssistantMessage,
    DeveloperMessage,
    ImagePart,
    Message,
    RefusalPart,
    SystemMessage,
    TextPart,
    ToolCall,
    ToolMessage,
    UserMessage,
)
from gateway.door.image import Image

ShowImage = Callable[[Image], dict[str, Any]]


def wire_message(message: Message, images: Iterator[Image], show: ShowImage) -> dict[str, Any]:
    """One message as a plain object. Takes as many of `images` as the message has, each written by `show`."""
    if isinstance(message, SystemMessage | DeveloperMessage):
        said: dict[str, Any] = {"role": "system", "content": _content(message.content)}
    elif isinstance(message, UserMessage):
        said = {"role": "user", "content": _with_images(message.content, images, show)}
    elif isinstance(message, ToolMessage):
        # As it came, images too: GLM's templates show images in a tool's result (docs/decisions/0066).
        content = _with_images(message.content, images, show)
        said = {"role": "tool", "content": content, "tool_call_id": message.tool_call_id}
    else:
        said = _assistant(message)
    if message.name is not None:
        said["name"] = message.name
    return said


def message_texts(message: Message) -> Iterator[str]:
    """The texts of a message, in the order in which a template renders them, without those of tool calls."""
    if isinstance(message, AssistantMessage):
        for text in (message.reasoning, message.reasoning_content, message.refusal):
            if text is not None:
                yield text
    content = message.content
    if isinstance(content, str):
        yield content
    elif content is not None:
        for part in content:
            if isinstance(part, TextPart):
                yield part.text
            elif isinstance(part, RefusalPart):
                yield part.refusal


def _content(content: str | list[TextPart]) -> str | list[dict[str, Any]]:
    return content if isinstance(content, str) else [_text(part.text) for part in content]


def _with_images(
    content: str | list[TextPart | ImagePart], images: Iterator[Image], show: ShowImage
) -> str | list[dict[str, Any]]:
    if isinstance(content, str):
        return content
    return [show(next(images)) if isinstance(part, ImagePart) else _text(part.text) for part in content]


def _assistant(message: AssistantMessage) -> dict[str, Any]:
    content: str | list[dict[str, Any]] | None
    if isinstance(message.content, list):
        content = [_text(part.text if isinstance(part, TextPart) else part.refusal) for part in message.content]
    else:
        content = message.refusal if message.content is None else message.content
    said: dict[str, Any] = {"role": "assistant", "content": content}
    reasoning = message.reasoning_content if message.reasoning is None else message.reasoning
    if reasoning is not None:
        said["reasoning"] = reasoning
    if message.tool_calls:
        said["tool_calls"] = [_call(call) for call in message.tool_calls]
    return said


def _call(call: ToolCall) -> dict[str, Any]:
    return {
        "id": call.id,
        "type": "function",
        "function": {"name": call.function.name, "arguments": call.function.arguments},
    }


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}
