"""Callers take turns for seats: who has much work delays others by a turn; no processes."""

import asyncio

import pytest

from gateway.front.fair_scheduler import FairSemaphore


class House:
    """Seats whose work ends when told to; ``served`` has who sat down, in order."""

    def __init__(self, seats: int, worth: int = 10) -> None:
        self.seats = FairSemaphore(seats, worth)
        self.served: list[str] = []
        self.ends: list[asyncio.Event] = []

    def ask(self, key: str, cost: int = 10) -> "asyncio.Task[None]":
        return asyncio.create_task(self._ask(key, cost))

    async def _ask(self, key: str, cost: int) -> None:
        async with self.seats.seat(key, cost):
            self.served.append(key)
            self.ends.append(asyncio.Event())
            await self.ends[-1].wait()

    async def end_one(self) -> None:
        self.ends.pop(0).set()
        await settle()


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_hundred_of_one_caller_delay_another_by_a_turn() -> None:
    house = House(2)
    tasks = [house.ask("many") for _ in range(100)]
    await settle()
    tasks.append(house.ask("one"))
    await settle()
    assert house.served == ["many", "many"]
    await house.end_one()
    await house.end_one()
    assert "one" in house.served
    while house.ends:
        await house.end_one()
    await asyncio.gather(*tasks)


async def test_a_turn_is_worth_cost_and_not_pieces() -> None:
    house = House(1)
    tasks = [house.ask("large", 100) for _ in range(5)]
    await settle()
    tasks += [house.ask("small", 10) for _ in range(15)]
    while house.ends or len(house.served) < 20:
        await settle()
        await house.end_one()
    await asyncio.gather(*tasks)
    assert house.served[0] == "large"  # nobody else was there
    assert house.served[1:].index("large") >= 9
    assert house.served.count("large") == 5


@pytest.mark.parametrize("moment", ["waiting", "its turn", "cancelled before its turn"])
async def test_who_leaves_takes_no_seat_with_it_and_gives_back_none_that_is_not_its_own(moment: str) -> None:
    house = House(1)
    first, leaving, last = house.ask("a"), house.ask("b"), house.ask("c")
    await settle()
    if moment == "waiting":
        leaving.cancel()
        await settle()
        house.ends.pop().set()
    elif moment == "its turn":
        house.ends.pop().set()
        await asyncio.sleep(0)  # the first gives its seat back, and the second has not run yet
        leaving.cancel()
    else:
        leaving.cancel()
        house.ends.pop().set()
    await settle()
    assert house.served == ["a", "c"]
    another = house.ask("d")
    await settle()
    assert house.served == ["a", "c"]  # one seat, still
    await house.end_one()
    assert house.served == ["a", "c", "d"]
    await house.end_one()
    await asyncio.gather(first, last, another)
    assert leaving.cancelled()
