"""A conversation as the chat template writes it, with what the model must learn marked; sees no pixels."""

import json
from dataclasses import dataclass, field
from typing import Any, NamedTuple

PICTURE = "<|begin_of_image|><|image|><|end_of_image|>"
QUIET = "/nothink"


class Piece(NamedTuple):
    """A piece of a conversation's text: whether the model learns to say it, and as part of which skill."""

    text: str
    learn: bool
    skill: str = "other"
    # Where it counts in full, (start, end) in characters; elsewhere it counts little. Nothing here: everywhere in full.
    marks: tuple[tuple[int, int], ...] = ()


@dataclass
class Call:
    """A tool call: the tool's name and its arguments."""

    name: str
    arguments: dict[str, Any]


@dataclass
class Turn:
    """A question and its answer; `pictures` come before the question's text, `results` after the calls."""

    question: str
    answer: str
    thought: str = ""
    pictures: int = 0
    calls: list[Call] = field(default_factory=list)
    results: list[str] = field(default_factory=list)
    conclusion: str = ""
    skill: str = "other"
    # The answer's beginning that the client wrote: it is not learnt, and only a last turn may have it.
    lead: str = ""
    # What of a JSON answer is a value (see Piece).
    marks: list[tuple[int, int]] = field(default_factory=list)


@dataclass
class Conversation:
    """Turns about the same pictures. With `thinking` only the last turn's thought is shown, as GLM does it."""

    turns: list[Turn]
    system: str = ""
    tools: list[dict[str, Any]] = field(default_factory=list)
    thinking: bool = False


def call_text(call: Call) -> str:
    """A call as GLM-4.5 writes it."""
    lines = [f"<tool_call>{call.name}"]
    for key, value in call.arguments.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        lines += [f"<arg_key>{key}</arg_key>", f"<arg_value>{text}</arg_value>"]
    return "\n".join([*lines, "</tool_call>"])


def said(turn: Turn) -> str:
    """What the assistant says before any result: words, calls or both."""
    return "\n".join([turn.answer] * bool(turn.answer) + [call_text(call) for call in turn.calls])


def spans(conversation: Conversation) -> list[Piece]:
    """The conversation in pieces; joined they are the template's text, and the stop token that ends the last turn."""
    pieces = [Piece("[gMASK]<sop>" + _tools_text(conversation.tools), False)]
    if conversation.system:
        pieces.append(Piece(f"<|system|>\n{conversation.system}", False))
    for number, turn in enumerate(conversation.turns):
        last = number == len(conversation.turns) - 1
        tail = "" if conversation.thinking else QUIET
        pieces.append(Piece(f"<|user|>\n{PICTURE * turn.pictures}{turn.question}{tail}", False))
        pieces += _answer(turn, conversation.thinking, last)
    return _merged(pieces)


def _answer(turn: Turn, thinking: bool, last: bool) -> list[Piece]:
    # With thinking on, earlier answers stand without their thoughts: nobody speaks like that, so nobody learns it.
    learn = last or not thinking
    aloud = thinking and last
    stop = "<|observation|>" if turn.calls else "<|user|>"
    if aloud:
        opening = [Piece("<|assistant|>\n", False)]
        # No line break between: it would be the answer's first character for whoever reads it.
        told = f"<think>{turn.thought}</think>{said(turn)}"
    else:
        opening = [Piece(f"<|assistant|>\n<think></think>\n{turn.lead}", False)]
        told = said(turn).removeprefix(turn.lead)
    marks = () if aloud else tuple(turn.marks)
    pieces = [*opening, Piece(told, learn, turn.skill, marks), Piece(stop, learn, turn.skill)]
    if turn.results and turn.conclusion:
        results = "".join(f"\n<tool_response>\n{result}\n</tool_response>" for result in turn.results)
        pieces.append(Piece(results + "<|assistant|>\n", False))
        # After a result there is nothing left to think about: the thought is empty, and the model says so itself.
        pieces.append(Piece("<think></think>" if aloud else "<think></think>\n", aloud, "result"))
        pieces += [Piece(turn.conclusion, learn, "result"), Piece("<|user|>", learn, "result")]
    return pieces


def _merged(pieces: list[Piece]) -> list[Piece]:
    """The stop token that ends a turn also begins the next one: write it once."""
    out: list[Piece] = []
    for piece in pieces:
        if piece.text.startswith("<|user|>\n") and out and out[-1].text == "<|user|>":
            piece = piece._replace(text=piece.text[len("<|user|>") :])
        if piece.text:
            out.append(piece)
    return out


def _tools_text(tools: list[dict[str, Any]]) -> str:
    if not tools:
        return ""
    lines = "".join(json.dumps(tool, ensure_ascii=False) + "\n" for tool in tools)
    return (
        f"<|system|>\n# Tools\n\n<tools>\n{lines}</tools>\n\nTo call: <tool_call>{{name}}\n"
        "<arg_key>{key}</arg_key>\n<arg_value>{value}</arg_value>\n</tool_call>"
    )


def messages(conversation: Conversation, upto: int | None = None) -> list[dict[str, Any]]:
    """The same conversation as chat messages, ending with question number `upto` (the last one by default)."""
    out: list[dict[str, Any]] = []
    if conversation.system:
        out.append({"role": "system", "content": conversation.system})
    last = len(conversation.turns) - 1 if upto is None else upto
    for number, turn in enumerate(conversation.turns[: last + 1]):
        pictures = [{"type": "image"} for _ in range(turn.pictures)]
        out.append({"role": "user", "content": [*pictures, {"type": "text", "text": turn.question}]})
        if number < last:
            out += answered(turn)
    return out


def answered(turn: Turn) -> list[dict[str, Any]]:
    """The assistant's and the tools' messages of a finished turn."""
    calls = [{"type": "function", "function": {"name": c.name, "arguments": c.arguments}} for c in turn.calls]
    first: dict[str, Any] = {"role": "assistant", "content": turn.answer}
    if calls:
        first["tool_calls"] = calls
    out = [first]
    if turn.results and turn.conclusion:
        out += [{"role": "tool", "content": result} for result in turn.results]
        out.append({"role": "assistant", "content": turn.conclusion})
    return out
