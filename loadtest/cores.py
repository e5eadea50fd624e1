"""Which core runs what, and what a tree of processes has used; reads /proc, changes only where its own children run."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Cores:
    """``load`` runs the fake engine and the load generator, ``server`` what is measured, ledger and all."""

    load: int
    server: int

    @classmethod
    def of_this_machine(cls) -> "Cores":
        allowed = sorted(os.sched_getaffinity(0))
        return cls(allowed[0], allowed[-1])

    @property
    def apart(self) -> bool:
        return self.load != self.server


@contextlib.contextmanager
def children_on(core: int) -> Iterator[None]:
    """Processes that are started in this block run on ``core``, with all their threads and children."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def tree(pid: int) -> list[int]:
    """A process and all its descendants."""
    found = [pid]
    for one in found:
        for children in Path(f"/proc/{one}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += [int(child) for child in children.read_text().split()]
    return found


def cpu_s(pid: int) -> float:
    """CPU time of a process tree so far, of user and kernel, in steps of the kernel's tick."""
    ticks = 0
    for one in tree(pid):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks * _TICK_S


def memory_mib(pid: int) -> float:
    """Resident memory of a process tree, what its members share counted once each."""
    kib = 0
    for one in tree(pid):
        with contextlib.suppress(OSError):
            status = Path(f"/proc/{one}/status").read_text()
            kib += next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")), 0)
    return kib / 1024
