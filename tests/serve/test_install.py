"""``install.py`` as `make setup` runs it: faults before and during an installation; nothing is fetched here."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from serve.install import lacking
from tests.support.process import TOP

PROGRAM = TOP / "serve" / "install.py"
LOCKS = ("uv.txt", "cpu.txt", "dev.txt")
OLDER = ("3.7", "3.8", "3.9", "3.10")


def install(folder: Path, *words: str, python: str = sys.executable) -> subprocess.CompletedProcess[str]:
    # -I: as a system's Python, without a package of ours on its path.
    return subprocess.run(
        [python, "-I", str(PROGRAM), *words], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )


def clone(folder: Path) -> Path:
    """What `install.py` reads of a clone."""
    (folder / "locks").mkdir()
    for name in LOCKS:
        (folder / "locks" / name).write_text(f"# {name}\n")
    (folder / "pyproject.toml").write_text("")
    return folder


def venv(folder: Path, *, python: str) -> Path:
    """A .venv whose Python is this shell script and whose pip is there."""
    binaries = folder / ".venv" / "bin"
    binaries.mkdir(parents=True)
    for name, text in (("python", python), ("pip", "")):
        (binaries / name).write_text(f"#!/bin/sh\n{text}\n")
        (binaries / name).chmod(0o755)
    return folder / ".venv"


@pytest.mark.parametrize("words", [[], ["cpu", ".venv", "more"]])
def test_a_wrong_number_of_words_is_one_sentence(tmp_path: Path, words: list[str]) -> None:
    done = install(clone(tmp_path), *words)
    assert (done.returncode, done.stderr) == (1, "error: name the engine: install.py cpu, or install.py gpu\n")


def test_an_unknown_engine_is_refused(tmp_path: Path) -> None:
    done = install(clone(tmp_path), "tpu")
    assert (done.returncode, done.stderr) == (1, "error: there is no lock for 'tpu'; ENGINE is cpu or gpu\n")


TOO_OLD = "error: this is Python {}, Vitrine needs 3.11 to 3.14; name another: make setup PYTHON=python3.11\n"


@pytest.mark.parametrize("version", [(3, 9, 2), (3, 15, 0)])
def test_a_python_that_is_too_old_or_too_new_is_named(tmp_path: Path, version: tuple[int, ...]) -> None:
    """The interpreter is told that it is another one; the program is ours as it is."""
    pretend = f"import sys, runpy; sys.version_info = {version}; sys.argv = ['x', 'cpu']; "
    done = subprocess.run(
        [sys.executable, "-c", pretend + f"runpy.run_path({str(PROGRAM)!r}, run_name='__main__')"],
        cwd=clone(tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, TOO_OLD.format(f"{version[0]}.{version[1]}"))


def test_every_older_python_of_this_machine_can_read_far_enough_to_say_so(tmp_path: Path) -> None:
    compile(PROGRAM.read_bytes(), str(PROGRAM), "exec")
    for version in OLDER:
        python = shutil.which(f"python{version}")
        if python and subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0:
            assert install(clone(tmp_path), "cpu", python=python).stderr == TOO_OLD.format(version)


def test_an_installed_venv_is_left_alone_until_a_lock_changes(tmp_path: Path) -> None:
    made = venv(clone(tmp_path), python="echo called >> called; exit 1")
    content = [(tmp_path / "locks" / name).read_bytes() for name in LOCKS] + [
        (tmp_path / "pyproject.toml").read_bytes()
    ]
    (made / "installed").write_text(hashlib.sha256(b"\0".join(content)).hexdigest())
    done = install(tmp_path, "cpu")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not (tmp_path / "called").exists()
    (tmp_path / "locks" / "cpu.txt").write_text("# another\n")
    assert install(tmp_path, "cpu").returncode == 1
    assert (tmp_path / "called").exists()
    assert not (made / "installed").exists()


def test_a_failing_step_is_one_sentence_after_its_own_lines(tmp_path: Path) -> None:
    venv(clone(tmp_path), python="echo the disk is full >&2; exit 1")
    done = install(tmp_path, "cpu")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "the disk is full",
        "error: `.venv/bin/python -m pip install -q --disable-pip-version-check ...` failed: look at the lines above; "
        "a full disk, a closed network or a proxy are the usual reasons; then run it again",
    ]


@pytest.mark.slow("makes a virtual environment twice")
def test_a_venv_that_was_stopped_half_way_is_made_again(tmp_path: Path) -> None:
    """Its Python was there before its pip: the next run once failed for ever."""
    made = venv(clone(tmp_path), python="exit 1")
    (made / "bin" / "pip").unlink()
    (made / "bin" / "python").unlink()
    (made / "bin" / "python").symlink_to(sys.executable)
    (tmp_path / "locks" / "uv.txt").write_text(
        "--no-index\nnot-a-real-distribution==1 --hash=sha256:" + "0" * 64 + "\n"
    )
    done = install(tmp_path, "cpu")
    assert "making .venv" in done.stdout
    assert (made / "bin" / "pip").exists()
    assert "No module named pip" not in done.stderr
    assert "failed: look at the lines above" in done.stderr  # the lock of this test has nothing to fetch


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    done = mount and subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if not done or done.returncode != 0:
        pytest.skip("only root can mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_too_little_space_is_told_before_anything_is_made(small_disk: Path) -> None:
    done = install(clone(small_disk), "cpu")
    assert done.returncode == 1
    assert done.stderr == f"error: {small_disk} has 0.0 GB free, 9 GB are needed; free some, or clone elsewhere\n"
    assert sorted(os.listdir(small_disk)) == ["locks", "pyproject.toml"]


def test_a_library_that_the_machine_lacks_is_named_by_its_package() -> None:
    assert lacking({"libc.so.6": "libc6", "libnone-such.so.1": "libnone-such1"}) == ["libnone-such1"]
