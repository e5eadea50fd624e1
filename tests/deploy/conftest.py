"""Two gateway hosts for a test module, and each proxy in front of them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.proxies import PROXIES, Proxy
from tests.deploy.site import Site, two_hosts


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with two_hosts(tmp_path_factory.mktemp("site"), *[{"VITRINE_STALL_TIMEOUT_S": "2"}] * 2) as running:
        yield running


@pytest.fixture
def site(both: Site) -> Site:
    both.reset()
    return both


@pytest.fixture(params=PROXIES)
def proxy(request: pytest.FixtureRequest, site: Site, tmp_path: Path) -> Iterator[Proxy]:
    with Proxy(request.param, tmp_path, site.ports) as running:
        yield running
