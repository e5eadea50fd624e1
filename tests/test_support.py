"""What all tests stand on: forks are programs like any other, starts are found and held, and the budget can fail a run."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import forks, process
from tests.support.forks import Fork
from tests.support.kinds import Starts, Watch, in_part
from tests.support.process import TOP, Process, clean_environment, run


@pytest.mark.parametrize("anew", [False, True])
def test_a_fork_ends_and_speaks_as_a_program_that_starts_anew(tmp_path: Path, anew: bool) -> None:
    env = {"VITRINE_HOME": str(tmp_path / "none"), "VITRINE_MOOD": "bright"}
    done = run("gateway", env=env, cwd=tmp_path, anew=anew)
    assert (done.returncode, done.stdout) == (78, "")
    assert "VITRINE_MOOD" in done.stderr
    helped = run("gateway.keys", "--help", env={"VITRINE_HOME": str(tmp_path)}, anew=anew)
    assert helped.returncode == 0
    assert "Usage: python -m gateway.keys" in helped.stdout
    assert run("gateway.keys", "renew", env={}, anew=anew).returncode == 64


@pytest.mark.parametrize(
    ("words", "extra", "as_fork"),
    [
        (["gateway.ledger", "serve"], {"VITRINE_HOME": "x"}, True),
        (["serve", "check"], {"PYTHONPATH": "x"}, True),
        (["gateway"], {"PYTHONWARNINGS": "error"}, False),
        (["gateway"], {"LC_ALL": "C"}, False),
        (["loadtest"], {}, False),
        (["tests.serve.supervise"], {}, False),
    ],
)
def test_what_is_read_as_python_starts_is_no_forks(words: list[str], extra: dict[str, str], as_fork: bool) -> None:
    assert forks.possible(words, extra) is as_fork


def test_a_fork_has_the_given_environment_alone_and_a_session_of_its_own(tmp_path: Path) -> None:
    env = {"VITRINE_HOME": str(tmp_path)}
    assert (
        run("gateway.keys", "list", env={**env, "VITRINE_LEDGER_MOOD": "strict", "VITRINE_MOOD": "x"}).returncode == 78
    )
    assert run("gateway.keys", "list", env=env).returncode == 0
    ledger = Process("gateway.ledger", "serve", env=env)
    ledger.line_with("the ledger is ready")
    assert os.getsid(ledger.pid) == ledger.pid != os.getsid(0)
    assert ledger.interrupt() == 0


def test_a_killed_fork_says_by_which_signal(tmp_path: Path) -> None:
    ledger = Process("gateway.ledger", "serve", env={"VITRINE_HOME": str(tmp_path)})
    ledger.line_with("the ledger is ready")
    assert isinstance(ledger._popen, Fork)
    assert ledger._popen.poll() is None
    assert ledger.end(signal.SIGKILL) == -signal.SIGKILL


PROGRAM = """
import signal, subprocess, sys
from tests.support.process import default_signals
default_signals()
shown = "import signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
print(subprocess.run([sys.executable, "-c", shown], capture_output=True, text=True).stdout)
"""


def test_what_a_shell_in_the_background_ignores_is_not_ignored_by_what_we_start() -> None:
    words = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", sys.executable, "-c", PROGRAM]
    done = subprocess.run(words, env=clean_environment({}), cwd=TOP, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


def starts_by_a_helper() -> None:
    process.run("gateway", env={})


def starts_in_a_class() -> None:
    Process("gateway", env={})


def starts_nothing() -> Path:
    return process.TOP


@pytest.mark.parametrize(
    ("function", "found"), [(starts_by_a_helper, True), (starts_in_a_class, True), (starts_nothing, False)]
)
def test_who_starts_a_process_is_found_by_what_it_calls(function: object, found: bool) -> None:
    assert Starts()._leads(function) is found


def test_a_start_where_none_is_expected_is_a_failure() -> None:
    with pytest.raises(pytest.fail.Exception, match="starts a process"), Watch().none():
        subprocess.run([sys.executable, "-c", ""], check=True)


TESTS = """
import time
import pytest

def test_takes_long():
    time.sleep(0.3)

@pytest.mark.slow("the pause is what it tests")
def test_takes_long_and_says_why():
    time.sleep(0.3)

@pytest.mark.long("many")
def test_is_for_another_run():
    pass
"""


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["--budget", "0.02"], 1, "test_takes_long took"),
        (["--budget", "5"], 0, "2 passed, 1 deselected"),
        ([], 0, "2 passed, 1 deselected"),
        (["--long", "only"], 0, "1 passed, 2 deselected"),
        (["--long", "all"], 0, "3 passed"),
    ],
)
def test_a_run_fails_by_a_test_that_takes_long_and_does_not_say_why(
    tmp_path: Path, words: list[str], status: int, said: str
) -> None:
    (tmp_path / "test_some.py").write_text(TESTS)
    config = ["-c", str(TOP / "pyproject.toml"), "--rootdir", str(tmp_path), "-p", "tests.conftest"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *config, "-p", "no:cacheprovider", "-q", *words, str(tmp_path)],
        env=clean_environment({}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stdout
    assert said in done.stdout
    assert "says_why took" not in done.stdout


def test_the_parts_of_the_long_tests_are_all_of_them() -> None:
    names = [f"tests/x.py::test[{number}]" for number in range(50)]
    parts = [[name for name in names if in_part(name, f"{part}/6")] for part in range(1, 7)]
    assert sorted(name for part in parts for name in part) == sorted(names)
    assert all(parts)
