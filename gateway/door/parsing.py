"""From bytes to a ChatRequest: strict syntax, typed parse, limits, control tokens, in this order; it never does I/O."""

import codecs
import json
import secrets
from collections.abc import Iterator
from typing import Any

import msgspec

from gateway.door.body_limits import DoorLimits
from gateway.door.chat_body import (
    AssistantMessage,
    ChatBody,
    ImagePart,
    ImageURL,
    JsonSchemaFormat,
    PlainURL,
    ToolMessage,
    UserMessage,
)
from gateway.door.control_tokens import Piece, check_pieces
from gateway.door.engine_messages import message_texts
from gateway.door.errors import BadSyntax, BadValue, DoorError, OverBound, OverBytes
from gateway.door.explanations import explain
from gateway.door.image import Image, check_payloads
from gateway.door.json_schema_limits import check_schema, texts
from gateway.door.parameters import check_choices, effective_max_tokens, effective_thinking, effective_tools
from gateway.door.request import ChatRequest
from gateway.door.syntax import check_syntax, check_text, cut_base64, values_at_most
from gateway.door.unknown_fields import UnknownFields

_decoder = msgspec.json.Decoder(ChatBody)
# Stands where a payload was; drawn anew by each process, so that no client can write it.
_STAND_IN = b"!" + secrets.token_hex(16).encode() + b"!"


def parse_chat(body: bytes, limits: DoorLimits) -> ChatRequest:
    """A request for `POST /v1/chat/completions`. Cheap (no base64 is decoded): call `digest_images` in a thread next.

    Keeps `body` alive, since images are views of it. Raises DoorError, with the names that were ignored until then.
    """
    unknown = UnknownFields(limits)
    try:
        return _parse(body, limits, unknown)
    except DoorError as error:
        error.ignored = unknown.names
        raise


def _parse(body: bytes, limits: DoorLimits, unknown: UnknownFields) -> ChatRequest:
    if len(body) > limits.body_bytes:
        raise OverBytes(f"The body has {len(body)} bytes; the limit is {limits.body_bytes}. Send a smaller one.")
    if body.startswith(codecs.BOM_UTF8):
        body = body[len(codecs.BOM_UTF8) :]
    tree = check_syntax(
        body,
        depth=limits.depth,
        text_bytes=limits.text_bytes,
        values=limits.values,
        extreme_numbers=limits.extreme_numbers,
    )
    try:
        chat = _decode(body, unknown)
    except msgspec.ValidationError as error:
        raise explain(error, tree) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadSyntax("The body is not JSON in UTF-8.") from None
    _check_messages(chat, limits)
    check_choices(chat, limits)
    images = tuple(_image(index, number, url, limits) for index, number, url in _image_urls(chat))
    check_payloads(images, limits)
    _check_schemas(chat, limits)
    tools, tool_choice = effective_tools(chat)
    check_pieces(_rendered(chat))
    return ChatRequest(
        body=chat,
        limits=limits,
        images=images,
        max_tokens=effective_max_tokens(chat, limits),
        thinking=effective_thinking(chat),
        tools=tools,
        tool_choice=tool_choice,
        ignored=unknown.names,
    )


def _decode(body: bytes, unknown: UnknownFields) -> ChatBody:
    """The typed body. Its images are views of `body`; that they are not read byte by byte saves a third of the parse."""
    skeleton, cuts = cut_base64(body, _STAND_IN)
    chat = _read(skeleton, unknown)
    taken: set[int] = set()
    for _, _, image in _image_urls(chat):
        head, mark, number = bytes(image.url)[:-1].rpartition(_STAND_IN)
        if mark:
            start, end = cuts[int(number)]
            taken.add(int(number))
            url = memoryview(body)[start - len(head) : end + 1]
            if url[: len(head)] != head:  # its escapes were written otherwise in the second reading
                url = memoryview(b"".join((head, body[start : end + 1])))
            msgspec.structs.force_setattr(image, "url", msgspec.Raw(url))
    # A payload that stands in no image is missing in some text, which must be read as it is; or in a field left out.
    return chat if len(taken) == len(cuts) else _read(body, unknown)


def _read(body: bytes, unknown: UnknownFields) -> ChatBody:
    """An ordinary body is read once. One that the types refuse is read again without nulls and without unknown fields."""
    try:
        return _decoder.decode(body)
    except msgspec.ValidationError:
        plain = unknown.without(msgspec.json.decode(body))
    return _decoder.decode(msgspec.json.encode(plain))


def _image_urls(chat: ChatBody) -> Iterator[tuple[int, int, ImageURL]]:
    """The URLs of the images in the order of the conversation, with the numbers of message and part; as objects also where
    they are strings."""
    for index, message in enumerate(chat.messages):
        if isinstance(message, UserMessage | ToolMessage) and not isinstance(message.content, str):
            for number, part in enumerate(message.content):
                if isinstance(part, ImagePart):
                    if isinstance(part.image_url, str):
                        part.image_url = PlainURL(url=msgspec.Raw(msgspec.json.encode(part.image_url)))
                    yield index, number, part.image_url


def _image(index: int, number: int, url: ImageURL, limits: DoorLimits) -> Image:
    place = "image_url" if isinstance(url, PlainURL) else "image_url.url"
    return Image(url.url, url.detail, f"messages[{index}].content[{number}].{place}", limits.remote_images)


def _check_messages(chat: ChatBody, limits: DoorLimits) -> None:
    if not chat.messages:
        raise BadValue("`messages` is empty. Send at least one.", param="messages")
    if len(chat.messages) > limits.messages:
        raise OverBound(
            f"The request has {len(chat.messages)} messages; the limit is {limits.messages}. Send fewer.",
            param="messages",
        )
    parts = chars = values = 0
    for index, message in enumerate(chat.messages):
        if isinstance(message.content, list):
            parts += len(message.content)
            if not message.content:
                raise BadValue(
                    "The content is an empty list. Send at least one part.", param=f"messages[{index}].content"
                )
        chars += sum(map(len, message_texts(message)))
        if isinstance(message, AssistantMessage) and message.tool_calls:
            if len(message.tool_calls) > limits.tool_calls:
                raise OverBound(
                    f"The message has {len(message.tool_calls)} tool calls; the limit is {limits.tool_calls}.",
                    param=f"messages[{index}].tool_calls",
                )
            for call in message.tool_calls:
                chars += len(call.function.arguments)
                values += values_at_most(call.function.arguments.encode(), limits.values)
    if parts > limits.parts:
        raise OverBound(f"The messages have {parts} parts; the limit is {limits.parts}. Send fewer.", param="messages")
    if values > limits.values:
        raise OverBound(f"The tool calls have more than {limits.values} values in their arguments.", param="messages")
    if chars > limits.text_chars:
        raise OverBound(
            f"The messages have {chars} characters; the limit is {limits.text_chars}. Send less text.", param="messages"
        )


def _check_schemas(chat: ChatBody, limits: DoorLimits) -> None:
    if isinstance(chat.response_format, JsonSchemaFormat):
        schema = chat.response_format.json_schema.schema
        if schema is None:
            raise BadValue(
                "`response_format.json_schema.schema` is missing. Send it, or use type json_object.",
                code="missing_parameter",
                param="response_format.json_schema.schema",
            )
        check_schema(schema, "response_format.json_schema.schema", limits)
    for index, tool in enumerate(chat.tools or ()):
        if tool.function.parameters is not None:
            check_schema(tool.function.parameters, f"tools[{index}].function.parameters", limits)


def _rendered(chat: ChatBody) -> Iterator[Piece]:
    """Every text that a chat template may render, with its path; texts that it may join stand side by side."""
    for index, tool in enumerate(chat.tools or ()):
        for text in texts(msgspec.to_builtins(tool)):
            yield f"tools[{index}]", text
    for index, message in enumerate(chat.messages):
        path = f"messages[{index}]"
        if message.name is not None:
            yield f"{path}.name", message.name
        for text in message_texts(message):
            yield f"{path}.content", text
        if isinstance(message, AssistantMessage):
            for number, call in enumerate(message.tool_calls or ()):
                yield f"{path}.tool_calls[{number}].id", call.id
                yield f"{path}.tool_calls[{number}].function.name", call.function.name
                at = f"{path}.tool_calls[{number}].function.arguments"
                for text in _argument_texts(call.function.arguments, at):
                    yield at, text
        elif hasattr(message, "tool_call_id"):
            yield f"{path}.tool_call_id", message.tool_call_id
    if chat.response_format is not None:
        for text in texts(msgspec.to_builtins(chat.response_format)):
            yield "response_format", text


def _argument_texts(arguments: str, path: str) -> Iterator[str]:
    """The text itself and, since the engine parses it again and renders the values, every string inside."""
    yield arguments
    try:
        value: Any = json.loads(arguments)
    except json.JSONDecodeError:
        return  # The engine renders such arguments as {}; models do write them, cut short.
    except (ValueError, RecursionError):
        raise BadValue("The arguments have a number too long or nest too deep.", param=path) from None
    for text in texts(value):
        check_text(text)
        yield text
