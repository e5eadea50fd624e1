"""The clients that install within a minute together do their tasks at the real stack."""

import functools
from collections.abc import Callable

import pytest

from tests.clients.catalogue import CLIENTS, TASKS, Client
from tests.clients.environments import UnavailableError
from tests.clients.trial import Result, right, tried
from tests.support.stack import Stack

QUICK = [client for client in CLIENTS if client.quick]
Told = Callable[[Client], dict[str, Result]]


@pytest.fixture(scope="session")
def told(stack: Stack) -> Told:
    """What a client did; each is started once, for all its tasks."""

    @functools.cache
    def of(name: str) -> dict[str, Result] | UnavailableError:
        (client,) = (client for client in CLIENTS if client.name == name)
        try:
            return tried(client, f"{stack.url}/v1", stack.key)
        except UnavailableError as missing:
            return missing

    def ask(client: Client) -> dict[str, Result]:
        results = of(client.name)
        if isinstance(results, UnavailableError):
            pytest.skip(str(results))
        return results

    return ask


@pytest.fixture
def results(request: pytest.FixtureRequest, told: Told) -> dict[str, Result]:
    """What the client of the test did; here, so that its time is not counted as the first task's."""
    return told(request.node.callspec.params["client"])


@pytest.mark.engine
@pytest.mark.process
@pytest.mark.timeout(900)
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("client", QUICK, ids=lambda client: client.name.replace(" ", "_"))
def test_a_client_does_a_task(client: Client, task: str, results: dict[str, Result]) -> None:
    if task in client.cannot:
        assert task not in results
        assert client.cannot[task]  # the reason, which docs/clients.md tells
        return
    assert results[task].fault == ""


@pytest.mark.parametrize(
    ("task", "got"),
    [
        ("chat", "Hello!"),
        ("image", "A large red circle on the left."),
        ("stream", ["A large red circle on the left, a large blue square on the right."]),
        ("second turn", "蓝色"),
        ("tools", {"cities": [], "text": "The weather in Paris: sunny, 21 degrees."}),
        ("schema", {"shapes": []}),
        ("stream", {"completed": 3, "failed": 1}),
    ],
)
def test_an_answer_that_is_not_right_is_seen(task: str, got: object) -> None:
    assert not right(task, got)
