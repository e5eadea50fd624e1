"""Each syscall that the ledger makes on its files fails once: the answer stays away, and the log verifies.

strace injects the fault in the real process; what was acknowledged before it must be there after it.
"""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
from pathlib import Path

import pytest

from tests.crash.load import check, load, start_again
from tests.support.ledger import Ledger, command

pytestmark = pytest.mark.skipif(shutil.which("strace") is None, reason="needs the Debian program strace")

# Which call fails, and how, and the which-th one: early ones hit the start, later ones the load and the rotation.
FAULTS = [
    ("write", "error=EIO", 3),
    ("fdatasync", "error=EIO", 14),
    ("fdatasync", "signal=KILL", 9),
    ("rename", "error=EIO", 2),
]
LONG_FAULTS = [
    ("write", "error=ENOSPC", 9),
    ("write", "signal=KILL", 12),
    ("fdatasync", "error=EIO", 2),
    ("fdatasync", "error=ENOSPC", 7),
    ("fsync", "error=EIO", 2),
    ("fsync", "error=EIO", 8),
    ("fsync", "signal=KILL", 10),
    ("openat", "error=EMFILE", 30),
    ("openat", "signal=KILL", 34),
    ("pread64", "error=EIO", 2),
    ("rename", "signal=KILL", 3),
    ("unlink", "error=EIO", 2),
    ("unlink", "signal=KILL", 2),
    ("newfstatat", "error=EIO", 40),
    ("flock", "error=EIO", 1),
]
if os.environ.get("VITRINE_TEST_ALL_FAULTS"):
    LONG_FAULTS = [
        (call, fault, when)
        for call in ("write", "fdatasync", "fsync", "openat", "pread64", "rename", "unlink", "newfstatat", "ftruncate")
        for fault in ("error=EIO", "error=ENOSPC", "signal=KILL")
        for when in (1, 2, 3, 4, 5, 6, 8, 10, 13, 17, 21, 26, 34, 45)
    ]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log that is made once and copied for each fault, so that faults hit a start on a log that has a past."""
    home = tmp_path_factory.mktemp("made") / "home"
    home.mkdir()
    assert command(home, "init").returncode == 0
    return home


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("call", "fault", "when"),
    [
        *(pytest.param(*fault, id="-".join(map(str, fault))) for fault in FAULTS),
        *(
            pytest.param(*fault, id="-".join(map(str, fault)), marks=pytest.mark.long("a start under strace for each"))
            for fault in LONG_FAULTS
        ),
    ],
)
def test_a_fault_in_one_syscall_loses_nothing_that_was_acknowledged(
    made: Path, tmp_path: Path, call: str, fault: str, when: int
) -> None:
    home = tmp_path / "home"
    shutil.copytree(made, home)
    trace = tmp_path / "trace"
    only = [option for path in _paths(home) for option in ("-P", str(path))]
    strace = (
        "strace",
        "-f",
        "-y",
        "-qq",
        "-o",
        str(trace),
        *only,
        "-e",
        f"trace={call}",
        "-e",
        f"inject={call}:{fault}:when={when}",
    )
    ledger = Ledger(home, prefix=strace, segment_bytes=64 << 10, sign_every_s=0.05)
    acknowledged = []
    try:
        if _ready_or_ended(ledger):
            acknowledged = asyncio.run(load(ledger, exchanges=150))
        fatal = fault.startswith("error") and call in ("write", "fdatasync") and _hit_the_log(trace)
        if fatal:
            ledger.wait()
        elif ledger.process.poll() is None:
            ledger.kill_traced()
    finally:
        ledger.end()
    if fatal:
        # Not only that it ended: as one that knows why, with the status of a failure and in words.
        assert (ledger.process.returncode, "Traceback" in ledger.said()) == (1, False), ledger.said()
        assert "the ledger ends at once: what is durable can no longer be known" in ledger.said()
        assert os.strerror(getattr(errno, fault.removeprefix("error="))) in ledger.said()
    check(ledger, acknowledged)
    start_again(ledger, acknowledged)


def _hit_the_log(trace: Path) -> bool:
    """What is written aside and renamed (a seal, a packed segment, an anchor) may fail: the next start does it again."""
    aside = (".new>", "/ledger-keys/head>")
    return any(
        "INJECTED" in line and not any(name in line for name in aside) for line in trace.read_text().splitlines()
    )


def _paths(home: Path) -> list[Path]:
    """The folders and the files that exist or will: strace asks for paths before they are opened."""
    segments = home / "ledger" / "segments"
    files = [segments / f"{number:08d}.{kind}" for number in range(1, 5) for kind in _KINDS]
    return [home / "ledger", home / "ledger" / "nodes", segments, home / "ledger-keys", *files, *_keys(home)]


_KINDS = ("jsonl", "hashes", "heads", "seal", "seal.new", "jsonl.zst", "jsonl.zst.new")


def _keys(home: Path) -> list[Path]:
    return [home / "ledger-keys" / name for name in ("head", "head.new", "root.key", "signing.pem", "public.key")]


def _ready_or_ended(ledger: Ledger) -> bool:
    try:
        ledger.wait_ready()
    except AssertionError:
        return False
    return True


def test_strace_really_injects(made: Path, tmp_path: Path) -> None:
    """The check that the checks can fail: without a fault the same run ends well, with one it does not."""
    home = tmp_path / "home"
    shutil.copytree(made, home)
    trace = tmp_path / "trace"
    path = home / "ledger" / "segments" / "00000001.jsonl"
    strace = ("strace", "-f", "-qq", "-o", str(trace), "-P", str(path), "-e", "inject=fdatasync:error=EIO:when=1")
    ledger = Ledger(home, prefix=strace)
    try:
        assert ledger.wait() == 1
    finally:
        ledger.end()
    assert "(INJECTED)" in trace.read_text()
    assert "could not write the records" in ledger.said()
