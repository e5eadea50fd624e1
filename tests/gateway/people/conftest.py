"""A real directory and a gateway that people sign in to with it, one of each for a test module."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gateway.people.browser import GROUPS, Browser
from tests.support.audit import Ledger
from tests.support.fake_engine import FakeEngine
from tests.support.gateway import Gateway
from tests.support.slapd import Slapd, missing


@pytest.fixture(scope="module")
def slapd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slapd]:
    if missing():
        pytest.skip(missing())
    with Slapd(tmp_path_factory.mktemp("slapd")) as running:
        yield running


@pytest.fixture(scope="module")
def gateway(home: Path, running_engine: FakeEngine, ledger: Ledger, slapd: Slapd) -> Iterator[Gateway]:
    settings = slapd.settings(
        VITRINE_GROUPS=json.dumps(GROUPS),
        VITRINE_LDAP_TIMEOUT_S="6",
        VITRINE_FAILED_LOGINS_PER_MIN="1000",
        VITRINE_TRUSTED_PROXIES="127.0.0.0/8",
        VITRINE_TENANT_CONCURRENT="64",
        VITRINE_SIGN_INS_PER_MIN="1000",
    )
    with Gateway(home, **settings) as running:
        yield running


@pytest.fixture
def browser(gateway: Gateway) -> Browser:
    return Browser(gateway)
