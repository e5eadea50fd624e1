"""How the door refuses, each time with a way out in the text; it never repeats what a prompt or an image said.

DoorError                status, code, param, message
├── BadSyntax       400  not one strict JSON object
├── UnknownField    400  a field that must not be ignored: a slip, or one whose absence would show
├── BadValue        400  a field with the wrong type or value
├── Unsupported     400  a part of OpenAI's API that this service does not have
├── ForgedToken     400  a control token where only text may stand
├── BadImage        400  an image that is broken, animated, of another format, or not sent inline
├── OverBound       400  more, longer, larger in number than the limits allow
└── OverBytes        413  more bytes than the limits allow
"""

from typing import ClassVar

from gateway.door.field_paths import printable


class DoorError(Exception):
    """A refusal: HTTP `status`, `code` and `param` (`messages[2].content[0]`) as in OpenAI's errors, and a message."""

    default_status: ClassVar[int] = 400
    default_code: ClassVar[str] = "invalid_request"

    def __init__(
        self, message: str, *, status: int | None = None, code: str | None = None, param: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = self.default_status if status is None else status
        self.code = self.default_code if code is None else code
        self.param = param
        self.ignored: tuple[str, ...] = ()  # names that were ignored before the refusal


class BadSyntax(DoorError):
    default_code = "invalid_json"


class UnknownField(DoorError):
    default_code = "unknown_parameter"


class BadValue(DoorError):
    default_code = "invalid_value"


class Unsupported(DoorError):
    default_code = "unsupported_parameter"


class ForgedToken(DoorError):
    default_code = "control_token"


class BadImage(DoorError):
    default_code = "invalid_image"


class OverBound(DoorError):
    default_code = "over_limit"


class OverBytes(DoorError):
    default_status = 413
    default_code = "too_large"


def quoted(name: str) -> str:
    """A client's own name for something, in backticks, printable and of bounded length."""
    return f"`{printable(name)}`"
