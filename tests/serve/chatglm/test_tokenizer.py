"""The written tokenizer gives every text the published ids, and a conversation the published prompt."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve.chatglm.tokenizer import write_tokenizer
from serve.chatglm.vocabulary import SPECIAL_TOKENS, SPLIT_PATTERN, parse_ranks, special_ids
from tests.serve.chatglm.published import CORPUS

pytestmark = pytest.mark.process  # transformers asks programs of the system when it is imported

ALPHABETS = [
    "".join(CORPUS),
    "的一是在不了有和人这中大为上个国我以要他，。！？：“”",
    " \t\r\n\u00a0\u3000\u200b\u2028",
    "'s'T'Re'VE'm'll'D’ſK",
    "😀👍🏽👨\u200d👩\u200d👧🇨🇳é\u0301ñ\ufe0f",
    "0123456789½²٣",
    "{}[]()<>=+-*/\\|\"'`#@$%^&_;:,.!?~",
]
words = st.one_of(
    *(st.text(alphabet=sorted(set(letters)), min_size=1, max_size=12) for letters in ALPHABETS), st.text(max_size=6)
)
# A special token's name inside a text is that token here: to keep clients from writing one is the door's work.
texts = st.lists(words, max_size=10).map("".join).filter(lambda text: not any(name in text for name in SPECIAL_TOKENS))


@pytest.fixture(scope="module")
def tiktoken_encoding(ranks: str) -> Any:
    tiktoken = pytest.importorskip("tiktoken", reason="needs an engine's packages: make setup")
    mergeable = parse_ranks(ranks.splitlines())
    return tiktoken.Encoding("published", pat_str=SPLIT_PATTERN, mergeable_ranks=mergeable, special_tokens={})


@pytest.fixture(scope="module")
def tokenizer(ranks: str, tmp_path_factory: pytest.TempPathFactory) -> Any:
    transformers = pytest.importorskip("transformers")
    folder: Path = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(parse_ranks(ranks.splitlines()), folder, context_tokens=512)
    return transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


@given(text=texts)
@settings(max_examples=1500, deadline=None)
def test_any_text_gets_the_ids_that_tiktoken_gives_it(text: str, tokenizer: Any, tiktoken_encoding: Any) -> None:
    assert tokenizer.encode(text, add_special_tokens=False) == tiktoken_encoding.encode_ordinary(text)


@given(text=texts)
@settings(max_examples=300, deadline=None)
def test_any_text_comes_back_from_its_ids(text: str, tokenizer: Any) -> None:
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


def test_the_merges_are_really_used(tokenizer: Any) -> None:
    assert len(tokenizer.encode(" picture", add_special_tokens=False)) == 1


def test_text_is_cut_where_the_published_pattern_cuts_it(tokenizer: Any) -> None:
    text = "I'LL pay 12345 yuan!\n\n  好的"
    pieces = tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str(text)
    cut = ["I", "'LL", " pay", " ", "123", "45", " yuan", "!\n\n", " ", " 好的"]
    assert [text[start:end] for _, (start, end) in pieces] == cut


def test_special_tokens_follow_the_ranks_and_vanish_from_answers(tokenizer: Any, ranks: str) -> None:
    ids = special_ids(parse_ranks(ranks.splitlines()))
    assert tokenizer.convert_tokens_to_ids(list(SPECIAL_TOKENS)) == list(ids.values())
    assert tokenizer.encode("".join(SPECIAL_TOKENS), add_special_tokens=False) == list(ids.values())
    assert tokenizer.decode([*ids.values(), *tokenizer.encode("ok")], skip_special_tokens=True) == "ok"


def test_a_conversation_becomes_the_published_prompt(tokenizer: Any, ranks: str, tiktoken_encoding: Any) -> None:
    ids, encode = special_ids(parse_ranks(ranks.splitlines())), tiktoken_encoding.encode_ordinary
    # The published code encodes the role's line and the text apart and puts the picture between them.
    role = {name: [ids[f"<|{name}|>"], *encode("\n")] for name in ("system", "user", "assistant")}
    picture = [ids["<|begin_of_image|>"], ids["<|endoftext|>"], ids["<|end_of_image|>"]]
    conversation = [
        {"role": "system", "content": "Be brief. 请简短。"},
        {"role": "user", "content": [{"type": "text", "text": "图片里有什么？"}, {"type": "image"}]},
        {"role": "assistant", "content": "A red circle."},
        {"role": "user", "content": [{"type": "text", "text": "  Where?"}, {"type": "text", "text": "Left?"}]},
    ]
    expected = [ids["[gMASK]"], ids["<sop>"], *role["system"], *encode("Be brief. 请简短。")]
    expected += [*role["user"], *picture, *encode("图片里有什么？")]
    expected += [*role["assistant"], *encode("A red circle."), *role["user"], *encode("  Where?\nLeft?")]
    expected += role["assistant"]
    rendered = tokenizer.apply_chat_template(conversation, add_generation_prompt=True, return_dict=False)
    assert rendered == expected


@pytest.mark.parametrize(
    ("request_parts", "said"),
    [
        ({"conversation": [{"role": "tool", "content": "4"}]}, "not from tool"),
        ({"conversation": [{"role": "user", "content": "2+2"}], "tools": [{"type": "function"}]}, "has no tools"),
    ],
    ids=["role", "tools"],
)
def test_what_the_model_was_not_made_for_is_refused(tokenizer: Any, request_parts: Any, said: str) -> None:
    with pytest.raises(Exception, match=said):
        tokenizer.apply_chat_template(**request_parts)
