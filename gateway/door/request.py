"""A chat request that passed the door, as the rest of the gateway sees it; it holds no field that was not checked."""

import hashlib
from dataclasses import dataclass
from typing import Any

import msgspec

from gateway.door.body_limits import DoorLimits
from gateway.door.chat_body import AssistantMessage, ChatBody, FunctionTool, TextPart, UserMessage
from gateway.door.engine_messages import message_texts, wire_message
from gateway.door.errors import DoorError
from gateway.door.image import Image, check_decoding, check_payloads
from gateway.door.image_headers import Steps
from gateway.door.parameters import ToolChoiceValue


@dataclass(eq=False)
class ChatRequest:
    """`images` in the order of the conversation; `max_tokens` and `thinking` as in effect (None: the default).

    `ignored`: names of the client's fields that were left out, in their order, as the client wrote them.
    """

    body: ChatBody
    limits: DoorLimits
    images: tuple[Image, ...]
    max_tokens: int | None
    thinking: bool | None
    tools: tuple[FunctionTool, ...]
    tool_choice: ToolChoiceValue | None
    ignored: tuple[str, ...] = ()

    @property
    def model(self) -> str:
        return self.body.model

    @property
    def stream(self) -> bool:
        return bool(self.body.stream)

    @property
    def include_usage(self) -> bool:
        """Whether the client asked for the usage event of a stream."""
        return self.body.stream_options is not None and bool(self.body.stream_options.include_usage)

    @property
    def continuous_usage(self) -> bool:
        """Whether the client asked for usage in every event. As with vLLM, it must ask for the usage event, too."""
        return self.include_usage and bool(self.body.stream_options and self.body.stream_options.continuous_usage_stats)

    @property
    def temperature(self) -> float | None:
        """The temperature in effect: `do_sample: false` is 0, whatever else was sent."""
        return 0.0 if self.body.do_sample is False else self.body.temperature

    @property
    def remote(self) -> tuple[Image, ...]:
        """The images that are URLs: each `take`s its bytes before `digest_images`."""
        return tuple(image for image in self.images if image.remote is not None)

    @property
    def n(self) -> int:
        return self.body.n or 1

    @property
    def prompt_text(self) -> bytes:
        """UTF-8 of the last user message's text parts, joined by LF; empty if there is none."""
        for message in reversed(self.body.messages):
            if isinstance(message, UserMessage):
                if isinstance(message.content, str):
                    return message.content.encode()
                return "\n".join(part.text for part in message.content if isinstance(part, TextPart)).encode()
        return b""

    @property
    def subject(self) -> bytes:
        """32 bytes that the turns of one conversation share: its first picture's SHA-256, else that of how it begins (what
        stands before the first answer). After `digest_images`."""
        if self.images:
            return self.images[0].sha256
        digest = hashlib.sha256()
        for message in self.body.messages:
            if isinstance(message, AssistantMessage):
                break
            for text in message_texts(message):
                digest.update(text.encode())
                digest.update(b"\0")
        return digest.digest()

    @property
    def text_chars(self) -> int:
        """Characters of all messages and tools that the engine's template may render: a base for estimating tokens."""
        messages = sum(len(text) for message in self.body.messages for text in message_texts(message))
        return messages + len(msgspec.json.encode(self.tools))

    @property
    def conversation(self) -> bytes:
        """Canonical bytes of messages and tools: JSON, keys sorted, images by their SHA-256. After `digest_images`."""
        images = iter(self.images)
        said = [wire_message(message, images, _digested) for message in self.body.messages]
        whole: dict[str, Any] = {"messages": said}
        if self.tools:
            whole["tools"] = [msgspec.to_builtins(tool) for tool in self.tools]
        return msgspec.json.encode(whole, order="deterministic")

    @property
    def free_form(self) -> dict[str, bytes]:
        """What a client may write freely besides messages, by field, as canonical bytes; absent fields are absent."""
        body = self.body
        found: dict[str, bytes] = {}
        for name, text in (
            ("user", body.user),
            ("safety_identifier", body.safety_identifier),
            ("prompt_cache_key", body.prompt_cache_key),
        ):
            if text is not None:
                found[name] = text.encode()
        if body.metadata is not None:
            found["metadata"] = msgspec.json.encode(body.metadata, order="deterministic")
        if body.stop is not None:
            found["stop"] = msgspec.json.encode([body.stop] if isinstance(body.stop, str) else body.stop)
        return found


def digest_images(request: ChatRequest) -> Steps:
    """Decodes, checks and digests all images of `request`. Slow: run it in a thread. Raises DoorError.

    Returns the steps that reading the files took.
    """
    steps = Steps(request.limits.image_steps, request.limits.images_steps)
    try:
        if request.remote:
            check_payloads(request.images, request.limits)  # once more: only now it is known how much they are
        for image in request.images:
            image.digest(request.limits, steps)
        check_payloads(request.images, request.limits)  # exact now, in whatever form they came
        check_decoding(request.images, request.limits)
    except DoorError as error:
        error.ignored = request.ignored
        raise
    return steps


def _digested(image: Image) -> dict[str, Any]:
    if not image.sha256:
        raise RuntimeError("the conversation has its bytes only after digest_images")
    return {"type": "image", "sha256": image.sha256.hex()}
