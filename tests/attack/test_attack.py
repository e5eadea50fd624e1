"""A slice of `make attack`: the shield's table over a real socket, and a seeded part of the mutated heads, bodies and pictures."""

from collections.abc import Iterator

import pytest

from tests.attack.run import Attack, Siege
from tests.attack.shield import places, rows
from tests.support.audit import Ledger
from tests.support.fake_engine import FakeEngine
from tests.support.gateway import Gateway
from tests.support.pictures import Pictures

GROWTH_BYTES = 48 << 20  # buffers for bodies of tens of megabytes are kept; what leaks grows with each input

LONG = pytest.mark.long("more inputs of the same kinds")


@pytest.fixture(scope="module")
def siege(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Siege]:
    home = tmp_path_factory.mktemp("siege")
    with FakeEngine(home / "run") as engine, Ledger(home), Gateway(home) as gateway:
        yield Siege(gateway, engine, gateway.create_key())


def check(attack: Attack) -> None:
    assert attack.wrong == []
    assert attack.sent > 0
    assert attack.rss_after - attack.rss_before < GROWTH_BYTES


def test_nothing_of_the_shields_table_reaches_the_engine(siege: Siege) -> None:
    attack = siege.shield()
    check(attack)
    assert attack.passed == sum(row.passes for row in rows())  # what must go on working, and nothing else


def test_no_picture_by_url_reaches_the_engine_or_an_address_that_is_not_permitted(siege: Siege) -> None:
    home, engine = siege.gateway.home, siege.engine
    with Pictures(home) as pictures, Gateway(home, VITRINE_REMOTE_IMAGES=places(pictures.port)) as fetching:
        attack = Siege(fetching, engine, siege.gateway.create_key()).remote(pictures.port)
    check(attack)
    assert attack.passed == 0
    assert pictures.asked == []


@pytest.mark.parametrize("inputs", [800, pytest.param(3000, marks=LONG)])
def test_mutated_bodies_and_pictures_reach_the_engine_clean_or_not_at_all(siege: Siege, inputs: int) -> None:
    attack = siege.fuzz(inputs)
    check(attack)
    # Some must get through, or the mutations only ever meet the first check.
    assert 0 < attack.passed < attack.sent


@pytest.mark.parametrize("inputs", [150, pytest.param(500, marks=LONG)])
def test_mutated_heads_are_answered_or_closed(siege: Siege, inputs: int) -> None:
    check(siege.heads(inputs))


@pytest.mark.parametrize("requests", [300, pytest.param(1000, marks=LONG)])
def test_good_questions_leave_nothing_behind(siege: Siege, requests: int) -> None:
    check(siege.soak(requests))
