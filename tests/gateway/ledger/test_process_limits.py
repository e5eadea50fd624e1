"""Limits over the real socket: exact over all workers, settled by use, and still known after the ledger was killed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from gateway.ledger.client.messages import Receipt, Refusal
from tests.support.deadline import eventually, until
from tests.support.ledger import admit, client_of, complete, exchanges, limit, of_kind, running


async def test_two_workers_share_one_exact_limit(tmp_path: Path) -> None:
    with running(tmp_path / "home") as ledger:
        async with client_of(ledger) as one, client_of(ledger) as two:
            asks = [
                client.admit(admit(number, limits=(limit(requests_per_min=20),)))
                for number, client in enumerate([one, two] * 25)
            ]
            answers = await asyncio.gather(*asks)
        refused = [answer for answer in answers if isinstance(answer, Refusal)]
        assert len(refused) == 30
        assert (refused[0].limit, refused[0].value, refused[0].remaining) == ("requests_per_min", 20, 0)
        assert 0 < refused[0].reset_ms <= 60_000
        assert ledger.stop() == 0
        denies = of_kind(ledger, "deny")
        assert sum(record.get("count", 1) for record in denies) == 30
        assert len(denies) == 11, "ten one by one, the rest in a roll-up"


async def test_a_settled_exchange_gives_back_what_it_did_not_use(tmp_path: Path) -> None:
    limits = (limit(tokens_per_min=1000, concurrent=2),)
    with running(tmp_path / "home") as ledger:
        async with client_of(ledger) as client:
            first = await client.admit(admit(tokens=900, limits=limits))
            assert isinstance(first, Receipt)
            assert {left.limit: left.remaining for left in first.left} == {"tokens_per_min": 100, "concurrent": 1}
            refused = await client.admit(admit(tokens=900, limits=limits))
            assert isinstance(refused, Refusal)
            await client.complete(complete(first.id, prompt_tokens=40, answer_tokens=12))
            second = await client.admit(admit(tokens=900, limits=limits))
            assert isinstance(second, Receipt)
            assert {left.limit: left.remaining for left in second.left} == {"tokens_per_min": 48, "concurrent": 1}


async def test_an_exchange_refused_in_the_queue_burns_nothing(tmp_path: Path) -> None:
    limits = (limit(requests_per_min=1, images_per_min=1, tokens_per_day=100),)
    with running(tmp_path / "home") as ledger:
        async with client_of(ledger) as client:
            for _ in range(3):
                receipt = await client.admit(admit(picture=b"x", tokens=100, limits=limits))
                assert isinstance(receipt, Receipt)
                await client.complete(complete(receipt.id, outcome="refused", status=503))


async def test_limits_survive_a_restart_of_the_ledger(tmp_path: Path) -> None:
    limits = (limit(requests_per_min=3),)
    with running(tmp_path / "home") as ledger:
        async with client_of(ledger) as client:
            for number in range(3):
                assert isinstance(await client.admit(admit(number, limits=limits)), Receipt)
        ledger.kill()
    with running(tmp_path / "home") as ledger:
        async with client_of(ledger) as client:
            assert isinstance(await client.admit(admit(limits=limits)), Refusal)


async def test_a_restart_counts_a_successors_use_as_its_predecessors(tmp_path: Path) -> None:
    limits = (limit(requests_per_min=3),)
    with running(tmp_path / "home") as ledger:
        async with client_of(ledger) as client:
            for number in range(3):
                asked = admit(number, limits=limits)
                asked = msgspec.structs.replace(asked, key="key_new", params={"limits_of": asked.key})
                assert isinstance(await client.admit(asked), Receipt)
        ledger.kill()
    with running(tmp_path / "home") as ledger:
        async with client_of(ledger) as client:
            assert isinstance(await client.admit(admit(limits=limits)), Refusal)


async def test_a_worker_that_dies_frees_what_it_held(tmp_path: Path) -> None:
    limits = (limit(concurrent=1),)
    with running(tmp_path / "home") as ledger:
        async with client_of(ledger) as client:
            assert isinstance(await client.admit(admit(limits=limits)), Receipt)
            assert isinstance(await client.admit(admit(limits=limits)), Refusal)
        async with client_of(ledger) as client:

            async def admitted() -> bool:
                return isinstance(await client.admit(admit(limits=limits)), Receipt)

            await eventually(admitted)


async def test_a_killed_ledger_still_knows_what_was_used_and_not_only_what_was_reserved(tmp_path: Path) -> None:
    limits = (limit(tokens_per_min=1000, tokens_per_day=10_000, concurrent=2),)
    with running(tmp_path / "home") as ledger:
        async with client_of(ledger) as client:
            used, open_one = [await client.admit(admit(tokens=400, limits=limits)) for _ in range(2)]
            await client.complete(complete(used.id, prompt_tokens=40, answer_tokens=10))
            refused = await client.admit(admit(tokens=300, limits=limits))
            await client.complete(complete(refused.id, outcome="refused", status=503))
            assert isinstance(open_one, Receipt)
        ledger.kill()
    with running(tmp_path / "home") as ledger:
        async with client_of(ledger) as client:
            answer = await client.admit(admit(tokens=1, limits=limits))
            assert isinstance(answer, Receipt)
            left = {left.limit: left.remaining for left in answer.left}
            assert left == {"tokens_per_min": 1000 - 451, "tokens_per_day": 10_000 - 451, "concurrent": 1}
            await client.complete(complete(open_one.id, prompt_tokens=90, answer_tokens=10))
            answer = await client.admit(admit(tokens=1, limits=limits))
            left = {left.limit: left.remaining for left in answer.left}
            assert left == {"tokens_per_min": 1000 - 152, "tokens_per_day": 10_000 - 152, "concurrent": 0}


async def test_a_days_tokens_are_counted_again_from_segments_that_were_closed(tmp_path: Path) -> None:
    limits = (limit(tokens_per_day=100_000),)
    with running(tmp_path / "home", segment_bytes=65_536) as ledger:
        async with client_of(ledger) as client:
            for _ in range(6):
                await exchanges(client, 50, tokens=60, limits=limits)
        # Another thread writes the seals: it may be behind.
        until(lambda: len(list(ledger.layout.segments.glob("*.seal"))) >= 3, what="three segments are sealed")
        ledger.kill()
    with running(tmp_path / "home") as ledger:
        async with client_of(ledger) as client:
            answer = await client.admit(admit(tokens=1, limits=limits))
            assert isinstance(answer, Receipt)
            assert answer.left[0].remaining == 100_000 - 300 * 52 - 1


async def test_segments_are_sealed_where_the_log_is_also_if_its_folder_is_named_from_here(tmp_path: Path) -> None:
    relative = {"folder": "home/ledger", "keys": "home/ledger-keys"}
    with running(tmp_path / "home", segment_bytes=65_536, **relative) as ledger:
        async with client_of(ledger) as client:
            await exchanges(client, 100)
        until(lambda: list(ledger.layout.segments.glob("*.seal")), what="a segment is sealed")
        assert ledger.stop() == 0


async def test_a_worker_whose_connection_broke_may_still_settle(tmp_path: Path) -> None:
    limits = (limit(tokens_per_min=1000, concurrent=1),)
    with running(tmp_path / "home") as ledger:
        async with client_of(ledger) as client:
            held = await client.admit(admit(tokens=900, limits=limits))
        async with client_of(ledger) as client:
            await client.complete(complete(held.id, prompt_tokens=40, answer_tokens=10))
            answer = await client.admit(admit(tokens=1, limits=limits))
            assert isinstance(answer, Receipt)
            assert {left.limit: left.remaining for left in answer.left} == {"tokens_per_min": 949, "concurrent": 0}
