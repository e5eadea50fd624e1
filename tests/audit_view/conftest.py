"""One real browser in front of a real gateway, a real ledger, a real directory and a fake engine."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from tests.gateway.people.browser import GROUPS
from tests.support import browser
from tests.support.audit import Ledger
from tests.support.fake_engine import FakeEngine
from tests.support.gateway import Gateway
from tests.support.slapd import Slapd, missing


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser.chromium() as running:
        yield running


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def slapd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slapd]:
    if missing():
        pytest.skip(missing())
    with Slapd(tmp_path_factory.mktemp("slapd")) as running:
        yield running


@pytest.fixture(scope="module")
def gateway(home: Path, slapd: Slapd) -> Iterator[Gateway]:
    """With eleven exchanges of the tenant lab, the last two about a picture, and a refusal."""
    with FakeEngine(home / "run"), Ledger(home):
        settings = slapd.settings(VITRINE_GROUPS=json.dumps(GROUPS))
        with Gateway(home, **settings) as running:
            key = running.create_key("--tenant", "lab")
            for _ in range(9):
                assert running.chat(key, messages=[{"role": "user", "content": "a word"}]).status == 200
            for _ in range(2):
                assert running.chat(key).status == 200
            assert running.chat(key, priority=1).status == 400
            yield running


@pytest.fixture(scope="module")
def auditor(gateway: Gateway) -> str:
    return gateway.create_key("--scope", "audit")


@pytest.fixture
def faults() -> list[str]:
    """What the page did that it may not: empty at the end of every test that uses a page."""
    return []


@pytest.fixture
def context(chromium: Browser, gateway: Gateway) -> Iterator[BrowserContext]:
    context = chromium.new_context(locale="en-GB", viewport={"width": 1200, "height": 900}, base_url=gateway.url)
    context.set_default_timeout(20_000)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext, gateway: Gateway, faults: list[str]) -> Iterator[Page]:
    page = context.new_page()
    page.on("pageerror", lambda error: faults.append(f"error: {error}"))
    page.on("console", lambda said: faults.append(said.text) if "Content Security Policy" in said.text else None)
    page.on("request", lambda asked: faults.append(asked.url) if not _ours(asked.url, gateway) else None)
    page.goto("/audit")
    yield page
    assert faults == []


def _ours(url: str, gateway: Gateway) -> bool:
    return url.startswith(gateway.url + "/")
