"""Changes events and whole answers where a client asked for another form, or the gateway for more than the client; pure."""

from collections.abc import Sequence
from typing import Any

import msgspec

from gateway.relay.boxes import Boxes, BoxText


class Rewriting:
    """Of one answer. ``counted``: the gateway asked for usage in every event and the client did not, so it is taken out."""

    def __init__(self, boxes: Boxes | None, sizes: Sequence[tuple[int, int]] = (), *, counted: bool = False) -> None:
        self._boxes, self._sizes, self._counted = boxes, sizes, counted
        self._texts: dict[int, BoxText] = {}
        self._last: dict[str, Any] = {}

    def event(self, data: bytes) -> bytes:
        """The data of an event with choices, as the client gets it."""
        event = msgspec.json.decode(data)
        if self._counted:
            event.pop("usage", None)
        if self._boxes is not None:
            for choice in event["choices"]:
                delta = choice.get("delta") or {}
                text = self._text(choice)
                said = text.feed(delta.get("content") or "")
                if choice.get("finish_reason"):
                    said += text.finish()
                if said or delta.get("content"):
                    choice["delta"] = {**delta, "content": said}
            self._last = event
        return msgspec.json.encode(event)

    def rest(self) -> bytes:
        """The data of one more event, with what is held back of choices that never said that they finished; mostly empty."""
        choices = []
        for index, text in self._texts.items():
            if said := text.finish():
                choices.append({"index": index, "delta": {"content": said}, "finish_reason": None})
        return msgspec.json.encode({**self._last, "choices": choices}) if choices else b""

    def whole(self, body: bytes) -> bytes:
        """A whole answer, as the client gets it."""
        if self._boxes is None:
            return body
        answer = msgspec.json.decode(body)
        for choice in answer["choices"]:
            message = choice.get("message") or {}
            if message.get("content"):
                text = BoxText(self._boxes, self._sizes)
                message["content"] = text.feed(message["content"]) + text.finish()
        return msgspec.json.encode(answer)

    def _text(self, choice: dict[str, Any]) -> BoxText:
        index = choice.get("index", 0)
        if index not in self._texts:
            assert self._boxes is not None
            self._texts[index] = BoxText(self._boxes, self._sizes)
        return self._texts[index]
