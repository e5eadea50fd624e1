"""What workers know of each other's work, and what they leave behind."""

from pathlib import Path

import pytest

from gateway.engines.shared_load import SLOTS, SharedLoad, SharedLoadReader


@pytest.fixture
def boards(tmp_path: Path) -> list[SharedLoad]:
    SharedLoadReader(tmp_path / "board", 3)
    return [SharedLoad.shared(tmp_path / "board", 3, worker) for worker in range(3)]


def test_each_worker_sees_what_all_have_at_work(boards: list[SharedLoad]) -> None:
    boards[0].add("engine-0", exchanges=2, tokens=100)
    boards[1].add("engine-0", exchanges=1, tokens=50)
    boards[1].add("engine-1", exchanges=1, tokens=7)
    assert {board.at_work("engine-0") for board in boards} == {(3, 150)}
    boards[0].add("engine-0", exchanges=-2, tokens=-100)
    assert {board.at_work("engine-0") for board in boards} == {(1, 50)}
    assert boards[2].at_work("engine-1") == (1, 7)


def test_a_worker_knows_how_many_others_wait(boards: list[SharedLoad]) -> None:
    boards[0].add("engine-0", waiting=5)
    boards[1].add("engine-0", waiting=1)
    assert [board.others_waiting("engine-0") for board in boards] == [1, 1, 2]


def test_what_a_dead_worker_had_is_forgotten(tmp_path: Path) -> None:
    watch = SharedLoadReader(tmp_path / "board", 2)
    first, second = (SharedLoad.shared(tmp_path / "board", 2, worker) for worker in range(2))
    first.add("engine-0", exchanges=9, tokens=900)
    first.beat(1234)
    second.add("engine-0", exchanges=1, tokens=10)
    assert (watch.pulse_ms(0), watch.pulse_ms(1)) == (1234, 0)
    watch.clear(0)
    assert second.at_work("engine-0") == (1, 10)
    assert watch.pulse_ms(0) == 0


def test_names_that_share_a_place_are_kept_apart() -> None:
    board = SharedLoad.alone()
    names = [f"engine-{number}" for number in range(SLOTS)]
    for number, name in enumerate(names):
        board.add(name, exchanges=number + 1, tokens=number)
    assert [board.at_work(name) for name in names] == [(number + 1, number) for number in range(SLOTS)]
    with pytest.raises(RuntimeError, match="restart the gateway"):
        board.add("one too many", exchanges=1)
