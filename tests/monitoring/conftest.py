"""One town for all tests of this folder: it takes half a minute to come to life."""

from collections.abc import Iterator

import pytest

from tests.monitoring.town import Town, town


@pytest.fixture(scope="package")
def living(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    with town(tmp_path_factory.mktemp("town")) as one:
        yield one
