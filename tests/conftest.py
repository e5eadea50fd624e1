"""The real stack, started once for the whole run by the newcomer's own command; and skips that must not hide."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.support.ports import free_port
from tests.support.process import default_signals
from tests.support.stack import Stack

FIRST_START_S = 600  # the contract's bound

# A busy machine is no fault of the code's.
settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--no-skips", action="store_true", help="fail if any test was skipped (for machines that have everything)"
    )


def pytest_configure() -> None:
    default_signals()


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if session.config.getoption("--no-skips") and reporter and reporter.stats.get("skipped") and exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(tryfirst=True)  # xdist writes the groups into the tests' names in its own, and would find none
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # The stack's start is waited for once: its tests come last, so that all others fail first.
    items.sort(key=_needs_stack)
    # With several processes (-n): one of them starts the stack, and the tests of a file share what they start.
    for item in items:
        item.add_marker(pytest.mark.xdist_group("stack" if _needs_stack(item) else item.location[0]))


def _needs_stack(item: pytest.Item) -> bool:
    return "stack" in getattr(item, "fixturenames", ())


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """``make serve`` on free ports with the miniature on the real vLLM."""
    home = tmp_path_factory.mktemp("stack")
    with Stack(home, port=free_port(), metrics_port=free_port(), within_s=FIRST_START_S) as running:
        yield running
