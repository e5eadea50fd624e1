"""Finds control tokens in text that the chat template renders; it never changes text.

The engine's tokenizer matches its special tokens on raw text, so `<|user|>` in a user's text is a new turn to the
model. All pieces that the template renders are searched: one by one, and run together, because a template writes
content parts without anything between them. Two more ways a token may come together in the engine are followed:
templates strip whitespace, and the engine drops the first line of a system part that starts with the header below.
Look-alikes from other scripts are other code points and no tokens; matching is exact, as the tokenizer's is.
"""

from collections.abc import Iterable

from gateway.door.errors import ForgedToken

# Those that open a turn, a picture, or the text itself. Not `<think>`, `<tool_call>`, `<|begin_of_box|>` and their
# ends: answers contain them and come back in the next turn, and they forge nobody's turn.
CONTROL_TOKENS: tuple[str, ...] = (
    "<|endoftext|>",
    "<|system|>",
    "<|user|>",
    "<|assistant|>",
    "<|observation|>",
    "<|image|>",
    "<|begin_of_image|>",
    "<|end_of_image|>",
    "<|video|>",
    "<|begin_of_video|>",
    "<|end_of_video|>",
    "<|audio|>",
    "<|begin_of_audio|>",
    "<|end_of_audio|>",
    "<|begin_of_transcription|>",
    "<|end_of_transcription|>",
    "<|code_prefix|>",
    "<|code_middle|>",
    "<|code_suffix|>",
    "[MASK]",
    "[gMASK]",
    "[sMASK]",
    "<sop>",
    "<eop>",
)

# Every token above ends in one of these; text without them is clean after three fast searches.
_ENDS = ("|>", "MASK]", "op>")

# vLLM 0.32, renderers/chat_utils.py: the line is removed from system text before the template sees it.
_DROPPED_HEADER = "x-anthropic-billing-header"

Piece = tuple[str, str]  # (path of the field, its text)


def find_token(text: str) -> str | None:
    """The first of CONTROL_TOKENS that is in `text`."""
    if not any(end in text for end in _ENDS):
        return None
    return next((token for token in CONTROL_TOKENS if token in text), None)


def check_pieces(pieces: Iterable[Piece]) -> None:
    """Raises ForgedToken (400), naming token and field, if a piece or several run together contain a control token."""
    listed = list(pieces)
    texts = [text for _, text in listed]
    rendered = [_as_rendered(text) for text in texts]
    token = find_token("".join(texts))
    if token is None and rendered != texts:
        token = find_token("".join(rendered))
    if token is None:
        return
    for path, text in listed:
        if whole := find_token(text):
            raise ForgedToken(
                f"{path} contains the control token {whole}, which forges the model's input. "
                f"Remove it, or write it with a space inside.",
                param=path,
            )
    raise ForgedToken(
        f"The control token {token} is spread over several texts of this request. Remove it.", param="messages"
    )


def _as_rendered(text: str) -> str:
    if text.startswith(_DROPPED_HEADER):
        text = text.partition("\n")[2]
    return text.strip()
