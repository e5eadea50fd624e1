"""A disk that fills up: what is new is refused in time, what runs is recorded, and all goes on when there is room again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import structlog

from gateway.ledger.client.messages import Abandon, StatusAsk
from gateway.ledger.errors import LedgerRefused
from gateway.ledger.service.free_space import FreeSpace
from tests.support.ledger import admit, client_of, complete, of_kind, running


class Disk:
    """A disk and a clock of the test's own; ``said`` is what was logged."""

    def __init__(self, tmp_path: Path, reserve_bytes: int = 100, warn_bytes: int = 1000) -> None:
        self.free, self.now_s = 10_000, 0.0
        self.said: list[str] = []
        logger: Any = structlog.wrap_logger(None, processors=[self._note], wrapper_class=structlog.BoundLogger)
        self.space = FreeSpace(
            tmp_path, reserve_bytes, warn_bytes, logger, clock_s=lambda: self.now_s, free_bytes=lambda _: self.free
        )

    def _note(self, _: Any, level: str, event: Any) -> Any:
        self.said.append(f"{level}: {event['event'].partition(':')[0]}")
        raise structlog.DropEvent

    def at(self, free: int, after_s: float = 1.0) -> bool:
        """Whether it is full with so many bytes free, a while later."""
        self.free, self.now_s = free, self.now_s + after_s
        self.space.look()
        return self.space.full


def test_what_is_new_is_refused_below_the_reserve_and_ends_are_not(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    assert disk.space.refusal(admit()) == ""
    assert disk.at(99)
    assert disk.space.refusal(admit()).startswith("the disk of the audit log is full: free some space in ")
    for ask in (complete("x"), Abandon(1), StatusAsk()):
        assert disk.space.refusal(ask) == ""


def test_it_comes_back_by_itself_but_not_to_and_fro(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    assert [disk.at(free) for free in (99, 100, 124, 125, 100, 99)] == [True, True, True, False, False, True]


def test_little_space_is_said_at_once_and_then_each_minute_whatever_the_second_is(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    disk.now_s = 30.0  # in the middle of a minute
    disk.at(999)
    for _ in range(130):
        disk.at(999)
    assert disk.said == ["warning: little space is left for the log"] * 3


def test_a_reserve_of_nothing_refuses_nothing(tmp_path: Path) -> None:
    disk = Disk(tmp_path, reserve_bytes=0)
    assert not disk.at(0)


async def test_a_ledger_without_room_says_so_and_records_the_end_of_what_runs(tmp_path: Path) -> None:
    with running(tmp_path / "home", reserve_bytes=1 << 20) as ledger:
        async with client_of(ledger) as client:
            running_one = (await client.admit(admit())).id
        assert ledger.stop() == 0
    with running(tmp_path / "home", reserve_bytes=1 << 60) as ledger:
        async with client_of(ledger) as client:
            with pytest.raises(LedgerRefused, match="the disk of the audit log is full"):
                await client.admit(admit())
            assert (await client.status()).full
            assert (await client.complete(complete(running_one))).index >= 0
        assert ledger.stop() == 0
    assert "the disk is full: no exchange is admitted until there is room" in ledger.said()
    assert len(of_kind(ledger, "admit")) == 1
