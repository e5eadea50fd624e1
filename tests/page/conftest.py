"""One real browser for all tests of the page, in front of a real gateway, a real ledger and a fake engine."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext

from tests.page.reader import Reader
from tests.support.audit import Ledger
from tests.support.browser import chromium
from tests.support.fake_engine import Behaviour, FakeEngine
from tests.support.gateway import Gateway


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="package")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("page")


@pytest.fixture(scope="package")
def running_engine(home: Path) -> Iterator[FakeEngine]:
    with FakeEngine(home / "run") as engine:
        yield engine


@pytest.fixture
def engine(running_engine: FakeEngine) -> FakeEngine:
    """The fake engine, well behaved and with nothing remembered."""
    running_engine.behaviour, running_engine.script, running_engine.finish = Behaviour.ANSWERS, [], "stop"
    running_engine.bodies.clear()
    running_engine.go_on.clear()
    running_engine.left = 0
    return running_engine


@pytest.fixture(scope="package")
def ledger(home: Path) -> Iterator[Ledger]:
    with Ledger(home) as running:
        yield running


@pytest.fixture(scope="package")
def gateway(home: Path, running_engine: FakeEngine, ledger: Ledger) -> Iterator[Gateway]:
    with Gateway(
        home, VITRINE_FAILED_LOGINS_PER_MIN="8", VITRINE_BUSY_EXCHANGES="1", VITRINE_QUEUE_EXCHANGES="1"
    ) as running:
        yield running


@pytest.fixture(scope="package")
def key(gateway: Gateway) -> str:
    return gateway.create_key("--scope", "inference")


@pytest.fixture(scope="package")
def usual_context(browser: Browser, gateway: Gateway) -> Iterator[BrowserContext]:
    """One context for most tests: a new one for each would cost them more than what they do."""
    context = browser.new_context(locale="en-GB", viewport={"width": 1100, "height": 800}, base_url=gateway.url)
    yield context
    context.close()


@pytest.fixture
def context(usual_context: BrowserContext) -> Iterator[BrowserContext]:
    yield usual_context
    usual_context.clear_permissions()


@pytest.fixture
def visitor(context: BrowserContext, engine: FakeEngine) -> Iterator[Reader]:
    """Someone who has the page open and is not signed in; the page must break no rule whatever they do."""
    reader = Reader(context)
    reader.open()
    yield reader
    reader.leave()


@pytest.fixture
def reader(visitor: Reader, key: str) -> Reader:
    """Someone who has the page open and is signed in."""
    visitor.sign_in(key)
    return visitor
