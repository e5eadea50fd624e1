"""Turning the log's pages: whole rows over pages and segments, a cursor where time ran out, what was deleted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.ledger.format.record import decode
from gateway.ledger.readers.browse import Page, RecordQuery, browse
from gateway.ledger.readers.reader import LogReader
from tests.gateway.ledger.logs import Hand


@pytest.fixture
def hand(tmp_path: Path) -> Iterator[Hand]:
    hand = Hand.new(tmp_path / "home")
    yield hand
    hand.close()


def begin(hand: Hand, count: int = 1) -> list[str]:
    """So many exchanges begin; their ids."""
    lines = [
        hand.record("admit", epoch="plain", images=[], key="key-1", model="glm-4v", tenant="lab") for _ in range(count)
    ]
    hand.log.commit()
    return [str(decode(line)["id"]) for line in lines]


def end(hand: Hand, ids: list[str], outcome: str = "completed") -> None:
    for identity in ids:
        hand.record("complete", id=identity, outcome=outcome)
    hand.log.commit()


def page(hand: Hand, seconds: float = 60, **wanted: Any) -> Page:
    return browse(LogReader(hand.layout, hand.keyring.verifier()), RecordQuery(**wanted), {}, seconds)


def pages(hand: Hand, seconds: float = 60, **wanted: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    before = None
    for _ in range(1000):
        part = page(hand, seconds, before=before, **wanted)
        rows += part.rows
        if part.next is None:
            return rows
        assert before is None or part.next < before
        before = part.next
    raise AssertionError("no last page")


def test_ends_above_the_page_are_found_without_looking_each_up(hand: Hand) -> None:
    ids = begin(hand, 120)
    end(hand, ids[::-1])
    rows = pages(hand, kind="exchange", limit=60)
    assert [row["record"]["id"] for row in rows] == ids[::-1]
    assert all(row["end"]["id"] == row["record"]["id"] for row in rows)
    assert not any("end_unknown" in row for row in rows)


def test_an_exchange_whose_end_stands_in_a_later_segment_is_one_row(hand: Hand) -> None:
    ids = begin(hand, 3)
    hand.sign()
    hand.rotate()
    end(hand, ids[:2])
    hand.sign()
    rows = pages(hand, kind="exchange")
    assert [row["end"] is None for row in rows] == [True, False, False]
    assert [row["record"]["id"] for row in pages(hand, outcome="running")] == ids[2:]


def test_a_page_whose_time_is_over_goes_on_from_its_cursor(hand: Hand) -> None:
    ids = begin(hand, 1)
    hand.write(5000)
    first = page(hand, seconds=0, kind="exchange")
    assert (first.rows, first.looked_at < 5000) == ([], True)
    assert first.next is not None
    assert [row["record"]["id"] for row in pages(hand, seconds=0, kind="exchange")] == ids


def test_deleted_records_are_told_and_the_others_shown(hand: Hand) -> None:
    begin(hand, 2)
    hand.sign()
    hand.rotate()
    ids = begin(hand, 2)
    hand.sign()
    for path in hand.layout.segments.glob("00000001.jsonl*"):
        path.unlink()
    found = page(hand, kind="exchange")
    assert (found.pruned, [row["record"]["id"] for row in found.rows]) == (True, ids[::-1])


def test_words_of_a_filter_must_be_the_whole_value(hand: Hand) -> None:
    begin(hand)
    assert len(page(hand, key="key-1").rows) == 1
    for name, value in (("key", "key-"), ("tenant", "la"), ("model", "glm"), ("tenant", "key-1")):
        wanted: dict[str, Any] = {name: value}
        assert page(hand, **wanted).rows == []
