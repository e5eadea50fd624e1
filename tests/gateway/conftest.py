"""A gateway in front of a fake engine, one for a test module."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.audit import Ledger
from tests.support.fake_engine import Behaviour, FakeEngine
from tests.support.gateway import Gateway
from tests.support.pictures import Pictures


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def running_engine(home: Path) -> Iterator[FakeEngine]:
    with FakeEngine(home / "run") as engine:
        yield engine


@pytest.fixture
def engine(running_engine: FakeEngine) -> FakeEngine:
    """The module's fake engine, well behaved and with nothing remembered."""
    running_engine.behaviour = Behaviour.ANSWERS
    running_engine.bodies.clear()
    running_engine.headers.clear()
    running_engine.left = 0
    running_engine.go_on.clear()
    running_engine.raw, running_engine.raw_status = None, 200
    return running_engine


@pytest.fixture(scope="module")
def ledger(home: Path) -> Iterator[Ledger]:
    with Ledger(home) as running:
        yield running


@pytest.fixture(scope="module")
def gateway(home: Path, running_engine: FakeEngine, ledger: Ledger) -> Iterator[Gateway]:
    with Gateway(home, VITRINE_SILENCE_TIMEOUT_S="2", VITRINE_ANSWER_TIMEOUT_S="8") as running:
        yield running


@pytest.fixture(scope="module")
def key(gateway: Gateway) -> str:
    return gateway.create_key()


@pytest.fixture(scope="module")
def running_pictures(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pictures]:
    with Pictures(tmp_path_factory.mktemp("pictures")) as running:
        yield running


@pytest.fixture
def pictures(running_pictures: Pictures) -> Pictures:
    """The module's server of pictures, with nothing remembered."""
    running_pictures.asked.clear()
    running_pictures.moves.clear()
    running_pictures.most_at_once = 0
    return running_pictures
