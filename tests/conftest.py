"""The real stack, started once for the whole run by the newcomer's own command; which tests run, in which order, and what
must not hide: skips, tests that take long without a reason, starts of processes where none are expected."""

import os
import re
import timeit
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.kinds import Starts, Watch, in_part
from tests.support.ports import free_port
from tests.support.process import default_signals
from tests.support.stack import Stack

FIRST_START_S = 600  # the contract's bound
REFERENCE_S = 0.07  # what `slowness` takes on an idle machine

# A busy machine is no fault of the code's.
settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")
settings.register_profile("quick", settings.get_profile("house"), max_examples=25)  # make test takes all of them


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--no-skips", action="store_true", help="fail if any test was skipped (for machines that have everything)"
    )
    parser.addoption(
        "--long",
        default="none",
        help="tests marked long: none of them (but those that are named with ::), only, all, or K/N: the K-th part of N",
    )
    parser.addoption("--budget", type=float, default=0, help="fail if a test without the mark slow took more seconds")


def pytest_configure(config: pytest.Config) -> None:
    default_signals()
    workers = getattr(config.option, "numprocesses", None) or 1
    config.pluginmanager.register(Budget(config.getoption("--budget"), max(1.0, workers / (os.cpu_count() or 1))))


def slowness() -> float:
    """How much longer this machine takes now for the same work than an idle one of two cores in 2026; at least 1."""
    best_s = min(timeit.repeat("sum(number * number for number in range(1_000_000))", number=1, repeat=3))
    return max(1.0, best_s / REFERENCE_S)


class Budget:
    """Fails a run in which a test took long and does not say why. What tests share is not counted: one of them pays for all.

    A slow or busy machine has as much more time, and so have tests that share its cores: ``sharing`` is workers for each core.
    """

    def __init__(self, most_s: float, sharing: float) -> None:
        self._most_s = most_s * sharing
        self._slowness = slowness() if most_s else 1.0
        self._seen: list[tuple[str, float]] = []
        self._over: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        said = "slow" in report.keywords or "long" in report.keywords  # both say why
        if self._most_s and report.when == "call" and report.duration > self._most_s and not said:
            self._seen.append((report.nodeid, report.duration))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        if not self._seen:
            return
        self._most_s *= max(self._slowness, slowness())
        self._over = [f"{name} took {took_s:.1f} s" for name, took_s in self._seen if took_s > self._most_s]
        if self._over and exitstatus == 0:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for line in self._over:
            terminalreporter.write_line(
                f"{line}, more than {self._most_s:.1f}: make it faster, or say why (slow)", red=True
            )


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if session.config.getoption("--no-skips") and reporter and reporter.stats.get("skipped") and exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """A file whose tests all start processes is not imported where none of them is wanted: some of them import PyTorch."""
    if collection_path.suffix != ".py" or "not process" not in config.option.markexpr:
        return None
    return bool(_ALL_START.search(collection_path.read_text())) or None


_ALL_START = re.compile(r"^pytestmark = .*pytest\.mark\.(process|engine)\b", re.MULTILINE)


# Before the selection by -m, which reads the marks; and xdist writes the groups into the tests' names in its own hook.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    starts = Starts()
    for item in items:
        for name in ("slow", "long"):
            mark = item.get_closest_marker(name)
            if mark is not None and not (len(mark.args) == 1 and isinstance(mark.args[0], str)):
                raise pytest.UsageError(f"{item.nodeid}: say why it is {name}: @pytest.mark.{name}('...')")
        if isinstance(item, pytest.Function) and starts.of(item):
            item.add_marker("process")
    _choose(config, items)
    several = "PYTEST_XDIST_WORKER" in os.environ
    # One worker has the stack's start to wait for, and begins with it. A single one ends with it, so that all others fail first.
    with_processes = {_file(item) for item in items if item.get_closest_marker("process")}
    items.sort(key=lambda item: (_needs_stack(item) != several, _file(item) not in with_processes))
    # With several workers (-n): one of them starts the stack, and the tests of a file share what they start.
    for item in items:
        item.add_marker(pytest.mark.xdist_group("stack" if _needs_stack(item) else _file(item)))


def _choose(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the long tests that --long does not ask for."""
    asked = config.getoption("--long")
    kept: list[pytest.Item] = []
    left: list[pytest.Item] = []
    for item in items:
        long = item.get_closest_marker("long") is not None
        if asked == "all":
            wanted = True
        elif asked == "only":
            wanted = long
        elif asked == "none":
            wanted = not long or any("::" in word for word in config.args)
        else:
            wanted = not long or in_part(item.nodeid, asked)
        (kept if wanted else left).append(item)
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = kept


def _file(item: pytest.Item) -> str:
    return item.location[0]


def _needs_stack(item: pytest.Item) -> bool:
    return "stack" in getattr(item, "fixturenames", ())


_watch = Watch()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    return (yield from _watched(item))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    return (yield from _watched(item))


def _watched(item: pytest.Item) -> Generator[None, object, object]:
    """What `make quick` runs starts no process: it would soon be slow, and nobody would know why."""
    if item.get_closest_marker("process"):
        return (yield)
    with _watch.none():
        return (yield)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """``make serve`` on free ports with the miniature on the real vLLM."""
    home = tmp_path_factory.mktemp("stack")
    with Stack(home, port=free_port(), metrics_port=free_port(), within_s=FIRST_START_S) as running:
        yield running
