"""Gateways that encode pictures anew."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.audit import Ledger
from tests.support.fake_engine import FakeEngine
from tests.support.gateway import Gateway

PATIENCE_S = 3.0


@pytest.fixture(scope="module")
def sanitizing(home: Path, running_engine: FakeEngine, ledger: Ledger) -> Iterator[Gateway]:
    with Gateway(home, VITRINE_SANITIZE="true", VITRINE_SANITIZE_TIMEOUT_S="60") as running:
        yield running


@pytest.fixture(scope="module")
def hurried(home: Path, running_engine: FakeEngine, ledger: Ledger) -> Iterator[Gateway]:
    """With little patience."""
    with Gateway(home, VITRINE_SANITIZE="true", VITRINE_SANITIZE_TIMEOUT_S=str(PATIENCE_S)) as running:
        yield running


@pytest.fixture(scope="module")
def key(sanitizing: Gateway) -> str:
    return sanitizing.create_key()
