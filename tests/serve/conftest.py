"""What the tests of this room share."""

from collections.abc import Iterator

import pytest

from tests.serve.house import House


@pytest.fixture
def house() -> Iterator[House]:
    with House() as made:
        yield made
