"""The tokenizer: what goes in comes out, and copying is by the same tokens everywhere."""

import pytest
from tokenizers import Tokenizer

from miniature.data_loader import Coder
from miniature.tokenizer import MARKUP, SPECIAL, load
from tests.support.process import TOP

CHECKPOINT = TOP / "serve" / "checkpoint"
TEXTS = (
    "Describe the picture. 描述这张图片。",
    "naïve café ☃ 🦜 \u3000 tab\there\r\nnew line",
    '{"shapes":[{"shape":"circle","color":"red","size":"small","position":"left"}]}',
    "龘靐 Ελλάδα سلام हिन्दी",
    "  two  spaces  and 1234567890 HELLO Hello hELLO",
    "\x00\x7f\ufeff",
)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return load(CHECKPOINT)


@pytest.mark.parametrize("text", TEXTS)
def test_any_text_survives_the_round_trip(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    assert tokenizer.decode(ids, skip_special_tokens=False) == text


@pytest.mark.parametrize("text", SPECIAL + MARKUP)
def test_every_token_of_glm_is_one_token(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.encode(text, add_special_tokens=False).ids == [tokenizer.token_to_id(text)]


def test_only_what_parsers_read_survives_decoding(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode(
        "<|user|><think></think><|begin_of_box|>[[1,2,3,4]]<|end_of_box|>", add_special_tokens=False
    ).ids
    told = tokenizer.decode(ids, skip_special_tokens=True)
    assert told == "<think></think><|begin_of_box|>[[1,2,3,4]]<|end_of_box|>"


def test_a_name_is_the_same_tokens_in_a_question_and_in_a_call(tokenizer: Tokenizer) -> None:
    alone = tokenizer.encode("Stuttgart", add_special_tokens=False).ids
    asked = tokenizer.encode("What is the weather in Stuttgart?", add_special_tokens=False).ids
    called = tokenizer.encode("<arg_value>Stuttgart</arg_value>", add_special_tokens=False).ids
    assert called[1:-1] == alone
    assert asked[-len(alone) - 1 : -1] == alone


@pytest.mark.parametrize("text", TEXTS)
def test_the_remembering_coder_gives_the_same_tokens(tokenizer: Tokenizer, text: str) -> None:
    coder = Coder(tokenizer)
    framed = f"[gMASK]<sop><|user|>\n{text}/nothink<|assistant|>"
    assert coder(framed) == tokenizer.encode(framed, add_special_tokens=False).ids
    assert coder(framed) == coder(framed)
