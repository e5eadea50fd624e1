"""The parameters that depend on each other or on limits: what is in effect, and what contradicts itself; never defaults
of the model's own."""

import msgspec

from gateway.door.body_limits import DoorLimits
from gateway.door.chat_body import AllowedToolChoice, AssistantMessage, ChatBody, FunctionTool, NamedTool, TextPart
from gateway.door.errors import BadValue, OverBound

ToolChoiceValue = str | dict[str, object]
_MOST_TOKENS = 10**9  # no context is so long


def check_choices(chat: ChatBody, limits: DoorLimits) -> None:
    """Raises BadValue or OverBound (400) for counts beyond `limits` and for parameters that exclude each other."""
    if chat.n is not None and chat.n > limits.n:
        raise OverBound(f"`n` is {chat.n}; the limit is {limits.n}. Ask for fewer answers.", param="n")
    if chat.top_logprobs is not None:
        if chat.top_logprobs > limits.top_logprobs:
            raise OverBound(
                f"`top_logprobs` is {chat.top_logprobs}; the limit is {limits.top_logprobs}. Ask for fewer.",
                param="top_logprobs",
            )
        if chat.top_logprobs > 0 and not chat.logprobs:
            raise BadValue("`top_logprobs` needs `logprobs: true`. Set both.", param="top_logprobs")
    if chat.seed is not None and not -(2**63) <= chat.seed < 2**63:
        raise BadValue("`seed` does not fit in 64 bits. Send a smaller one.", param="seed")
    if chat.stream_options is not None and not chat.stream:
        raise BadValue("`stream_options` needs `stream: true`. Set both or neither.", param="stream_options")
    if chat.stop_token_ids is not None and len(chat.stop_token_ids) > limits.stop_token_ids:
        raise OverBound(
            f"`stop_token_ids` has {len(chat.stop_token_ids)} tokens; the limit is {limits.stop_token_ids}. Send fewer.",
            param="stop_token_ids",
        )
    if chat.min_tokens:
        _check_min_tokens(chat.min_tokens, effective_max_tokens(chat, limits), limits)
    if chat.continue_final_message or chat.add_generation_prompt is False:
        _check_continuation(chat)
    _check_stop(chat, limits)
    _check_logit_bias(chat, limits)
    _check_tools(chat, limits)


def effective_max_tokens(chat: ChatBody, limits: DoorLimits) -> int | None:
    """How many tokens each answer may have; None leaves it to the engine. Raises BadValue or OverBound (400)."""
    asked, older = chat.max_completion_tokens, chat.max_tokens
    name = "max_completion_tokens"
    if asked is None:
        asked, name = older, "max_tokens"
    elif older is not None and older != asked:
        raise BadValue("`max_tokens` and `max_completion_tokens` differ. Send one of them.", param="max_tokens")
    if asked is None:
        asked = limits.default_max_tokens
    if asked is None:
        return None
    asked = min(asked, _MOST_TOKENS)
    if limits.max_tokens is None or asked <= limits.max_tokens:
        return asked
    if limits.over_max_tokens == "cap":
        return limits.max_tokens
    raise OverBound(f"`{name}` is {asked}; the limit is {limits.max_tokens}. Ask for fewer.", param=name)


def effective_thinking(chat: ChatBody) -> bool | None:
    """Whether the model thinks before it answers; None leaves it to the profile. Raises BadValue (400).

    `thinking.type`, `enable_thinking` and both names in `chat_template_kwargs` say the same and must agree.
    `reasoning_effort` decides only where they are absent: none is off, anything else on.
    """
    switches = chat.chat_template_kwargs
    if chat.thinking is None and switches is None and chat.enable_thinking is None:
        return None if chat.reasoning_effort is None else chat.reasoning_effort != "none"
    kind = None if chat.thinking is None else chat.thinking.type
    said = {
        "thinking": None if kind is None else kind == "enabled",
        "enable_thinking": chat.enable_thinking,
        "chat_template_kwargs.enable_thinking": None if switches is None else switches.enable_thinking,
        "chat_template_kwargs.thinking": None if switches is None else switches.thinking,
    }
    given = {name: on for name, on in said.items() if on is not None}
    if len(set(given.values())) > 1:
        names = " and ".join(f"`{name}`" for name in given)
        raise BadValue(f"{names} contradict each other. Send one of them.", param=next(iter(given)))
    if given:
        return next(iter(given.values()))
    return None if chat.reasoning_effort is None else chat.reasoning_effort != "none"


def effective_tools(chat: ChatBody) -> tuple[tuple[FunctionTool, ...], ToolChoiceValue | None]:
    """The tools that the model sees and the engine's `tool_choice`. Raises BadValue (400) for a tool that is not there.

    vLLM has no `allowed_tools`: the tools are narrowed to those allowed, and the choice becomes its mode.
    """
    tools, choice = tuple(chat.tools or ()), chat.tool_choice
    if not tools:
        if choice is None or choice in ("none", "auto"):
            return (), None
        raise BadValue("`tool_choice` needs `tools`. Send both.", param="tool_choice")
    names = {tool.function.name for tool in tools}
    if isinstance(choice, NamedTool):
        _check_known(choice.function.name, names)
        return tools, {"type": "function", "function": {"name": choice.function.name}}
    if isinstance(choice, AllowedToolChoice):
        allowed = {tool.function.name for tool in choice.allowed_tools.tools}
        if not allowed:
            raise BadValue("`tool_choice.allowed_tools.tools` is empty. Name at least one.", param="tool_choice")
        for name in allowed:
            _check_known(name, names)
        return tuple(tool for tool in tools if tool.function.name in allowed), choice.allowed_tools.mode
    return tools, choice


def _check_known(name: str, names: set[str]) -> None:
    if name not in names:
        raise BadValue("`tool_choice` names a tool that is not in `tools`. Send it there, too.", param="tool_choice")


def _check_min_tokens(asked: int, most: int | None, limits: DoorLimits) -> None:
    if most is None:
        most = limits.max_tokens
    if most is not None and asked > most:
        raise BadValue(f"`min_tokens` is {asked} and the answer has at most {most}. Ask for fewer.", param="min_tokens")


def _check_continuation(chat: ChatBody) -> None:
    """The engine's renderer looks for the last turn's text in what the template wrote: it must be there, and be its end."""
    if not chat.continue_final_message:
        raise BadValue(
            "`add_generation_prompt: false` needs `continue_final_message: true`. Set both, or leave it out.",
            param="add_generation_prompt",
        )
    if chat.add_generation_prompt:
        raise BadValue(
            "`continue_final_message` excludes `add_generation_prompt: true`. Leave that out.",
            param="add_generation_prompt",
        )
    last = chat.messages[-1]
    text = ""
    if isinstance(last, AssistantMessage):
        content = last.content or ""
        parts = [content] if isinstance(content, str) else [p.text for p in content if isinstance(p, TextPart)]
        text = "".join(parts)
    if not isinstance(last, AssistantMessage) or last.tool_calls or not text.strip():
        raise BadValue(
            "`continue_final_message` needs a last message of role assistant with text and without tool calls. "
            "Send one, or leave it out.",
            param="continue_final_message",
        )
    if "<think>" in text or "</think>" in text:
        raise BadValue(
            "`continue_final_message` can't continue a text with `<think>` or `</think>`. "
            "Send the thinking as `reasoning_content`.",
            param="continue_final_message",
        )


def _check_stop(chat: ChatBody, limits: DoorLimits) -> None:
    stops = [chat.stop] if isinstance(chat.stop, str) else chat.stop or []
    if len(stops) > limits.stops:
        raise OverBound(f"`stop` has {len(stops)} texts; the limit is {limits.stops}. Send fewer.", param="stop")
    for stop in stops:
        if not stop:
            raise BadValue("`stop` has an empty text. Leave it out.", param="stop")
        if len(stop) > limits.stop_chars:
            raise OverBound(
                f"`stop` has a text of {len(stop)} characters; the limit is {limits.stop_chars}.", param="stop"
            )


def _check_logit_bias(chat: ChatBody, limits: DoorLimits) -> None:
    biases = chat.logit_bias or {}
    if len(biases) > limits.logit_biases:
        raise OverBound(
            f"`logit_bias` has {len(biases)} tokens; the limit is {limits.logit_biases}. Send fewer.",
            param="logit_bias",
        )
    seen: set[int] = set()
    for token in biases:
        if not (token.isascii() and token.isdecimal() and len(token) <= 7) or int(token) in seen:
            raise BadValue(
                "`logit_bias` has a key that is not a token id. Use decimal numbers, each once.", param="logit_bias"
            )
        seen.add(int(token))


def _check_tools(chat: ChatBody, limits: DoorLimits) -> None:
    tools = chat.tools or []
    if len(tools) > limits.tools:
        raise OverBound(f"The request has {len(tools)} tools; the limit is {limits.tools}. Send fewer.", param="tools")
    size = sum(len(msgspec.json.encode(tool)) for tool in tools)
    if size > limits.tools_bytes:
        raise OverBound(f"The tools have {size} bytes; the limit is {limits.tools_bytes}. Shorten them.", param="tools")
    names = [tool.function.name for tool in tools]
    if len(set(names)) != len(names):
        raise BadValue("Two tools have the same name. Name each once.", param="tools")
