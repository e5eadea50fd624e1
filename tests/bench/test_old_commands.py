"""Commands by the names that they had before they moved: each starts the new one and says so."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.process import TOP, clean_environment, run

MOVED = {
    "loadtest.bench": "bench",
    "loadtest.affinity": "bench.affinity",
    "gateway.ledger.bench": "bench.ledger",
    "gateway.engines.simulation": "bench.simulation",
}


@pytest.mark.parametrize("old", MOVED)
def test_an_old_command_starts_the_new_one_and_says_so_on_one_line(old: str) -> None:
    done = run(old, "--help", env={})
    assert done.returncode == 0, done.stderr
    assert f"usage: python -m {MOVED[old]} [" in done.stdout.replace("Usage", "usage")
    assert done.stderr == f"python -m {old} is now python -m {MOVED[old]}\n"


@pytest.mark.parametrize("old", MOVED)
def test_an_old_command_of_a_package_without_the_bench_says_that_it_is_missing(old: str, tmp_path: Path) -> None:
    room = old.partition(".")[0]
    (tmp_path / room).symlink_to(TOP / room)
    done = subprocess.run(
        [sys.executable, "-S", "-m", old],
        env={**clean_environment({}), "PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: bench is not installed: ")
    assert done.stderr.count("\n") == 1


def test_the_old_command_that_draws_dashboards_starts_the_new_one() -> None:
    done = run("dashboards", "draw", "--help", env={})
    assert done.returncode == 0, done.stderr
    assert "Usage: python -m tests.monitoring.draw [" in done.stdout
    assert done.stderr == "python -m dashboards draw is now python -m tests.monitoring.draw\n"


def test_an_old_command_of_the_training_code_starts_the_new_one() -> None:
    done = run("serve.miniature.evaluate", "--help", env={})
    assert done.returncode == 0, done.stderr
    assert "--no-transformers" in done.stdout
    assert done.stderr == "python -m serve.miniature... is now python -m miniature...\n"
