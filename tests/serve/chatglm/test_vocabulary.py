"""tokenizer.model is read whole or refused with the line's number; needs no engine."""

import base64
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.chatglm.vocabulary import SPECIAL_TOKENS, VocabularyBroken, parse_ranks, read_ranks, special_ids

BYTES = [bytes([byte]) for byte in range(256)]


def lines_of(tokens: list[bytes]) -> list[str]:
    return [f"{base64.b64encode(token).decode()} {rank}\n" for rank, token in enumerate(tokens)]


@given(st.lists(st.binary(min_size=2, max_size=12), unique=True, max_size=50))
def test_what_was_written_is_read_back(longer: list[bytes]) -> None:
    tokens = BYTES + longer
    assert parse_ranks(lines_of(tokens)) == {token: rank for rank, token in enumerate(tokens)}


@pytest.mark.parametrize(
    ("mutate", "said"),
    [
        (lambda lines: lines[:40] + lines[41:], "line 41 "),
        (lambda lines: [*lines[:7], "\n", *lines[7:]], "line 8 "),
        (lambda lines: [*lines, "YWI= 300\n"], "line 257 "),
        (lambda lines: [*lines, "YWI=\n"], "line 257 "),
        (lambda lines: [*lines, "YWI= 256 x\n"], "line 257 "),
        (lambda lines: [*lines, "Y%I= 256\n"], "line 257 "),
        (lambda lines: [*lines, "YWI= 0256\n"], "line 257 "),
        (lambda lines: [*lines, "QQ== 256\n"], "line 257 repeats the token of line 66"),
        (lambda lines: lines[:255], "1 of the 256 single bytes"),
        (lambda lines: [], "256 of the 256 single bytes"),
    ],
    ids=["lost", "blank", "jump", "no rank", "third column", "not base64", "zero-padded", "repeated", "cut", "empty"],
)
def test_a_changed_line_is_refused_by_number(mutate: Callable[[list[str]], list[str]], said: str) -> None:
    with pytest.raises(VocabularyBroken, match=said):
        parse_ranks(mutate(lines_of(BYTES)))


def test_a_file_that_is_not_text_says_what_it_may_be(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes(b"\x0a\x0e\xff\xfe sentencepiece")
    with pytest.raises(VocabularyBroken, match="not ASCII text"):
        read_ranks(tmp_path / "tokenizer.model")


def test_the_special_tokens_of_the_full_vocabulary_have_their_published_ids() -> None:
    ids = special_ids({rank.to_bytes(3): rank for rank in range(151_329)})
    assert [ids[token] for token in SPECIAL_TOKENS] == list(range(151_329, 151_343))
    assert (ids["<|endoftext|>"], ids["<|user|>"], ids["<|observation|>"]) == (151_329, 151_336, 151_338)
    assert (ids["[gMASK]"], ids["<sop>"], ids["<|begin_of_image|>"]) == (151_331, 151_333, 151_339)
