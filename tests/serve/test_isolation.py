"""An isolated process in its own words and in the kernel's: real namespaces, made in children of the test."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from serve import isolation
from tests.support.deadline import until
from tests.support.process import TOP, clean_environment

SOMEBODY = 54321  # not 65534: an id without a mapping shows as that

# A new program of an unprivileged user would be dumpable; a setuid in a running one clears that (prctl(2)).
DROP = f"""
import ctypes, os
os.setgroups([]); os.setgid({SOMEBODY}); os.setuid({SOMEBODY})
ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
"""

# Becomes another user only after its imports: that user may not read every folder that Python was installed in.
LIVE = """
import errno, json, os, socket, sys
from serve import isolation
sys.stdin.readline()
BECOME
before = os.geteuid(), os.getegid()
try:
    isolation.enter()
except OSError as error:
    print(json.dumps({"refused": error.strerror}), flush=True)
    sys.exit()
def knock(family, address):
    with socket.socket(family, socket.SOCK_STREAM) as outside:
        outside.settimeout(5)
        return errno.errorcode[outside.connect_ex(address)]
with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as inside:
    inside.settimeout(5)
    inside.connect(listener.getsockname())
print(json.dumps({
    "interfaces": [name for _, name in socket.if_nameindex()],
    "outside": knock(socket.AF_INET, ("192.0.2.1", 443)),
    "same user": before == (os.geteuid(), os.getegid()),
}), flush=True)
sys.stdin.read()
"""


class Child:
    """A Python program that waits for a line, says one JSON object, and ends with its input."""

    def __init__(self, program: str) -> None:
        self.popen = subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=clean_environment({}),
            cwd=TOP,
        )

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *_: object) -> None:
        self.popen.kill()
        self.popen.communicate(timeout=10)

    def says(self) -> dict[str, Any]:
        assert self.popen.stdin is not None
        assert self.popen.stdout is not None
        self.popen.stdin.write("\n")
        self.popen.stdin.flush()
        found: dict[str, Any] = json.loads(self.popen.stdout.readline())
        return found


AS = {"as root": "", "as somebody": DROP} if os.geteuid() == 0 else {"as this user": ""}


@pytest.mark.parametrize("become", AS.values(), ids=AS)
def test_an_isolated_process_has_lo_and_no_way_out(become: str) -> None:
    with Child(LIVE.replace("BECOME", become)) as child:
        assert not isolation.prove(child.popen.pid).isolated
        said = child.says()
        if "refused" in said:
            pytest.skip(f"this machine allows no network namespace ({said['refused']})")
        assert said["interfaces"] == ["lo"]
        assert said["outside"] == "ENETUNREACH"
        assert said["same user"]
        proof = isolation.prove(child.popen.pid)
        assert (proof.isolated, proof.interfaces) == (True, ("lo",))
        assert proof.inode != os.stat("/proc/self/ns/net").st_ino
        assert proof.no_routes > 0  # the knock was counted


def test_this_process_is_not_isolated_from_itself() -> None:
    proof = isolation.prove(os.getpid())
    assert (proof.isolated, proof.inode) == (False, os.stat("/proc/self/ns/net").st_ino)
    assert "lo" in proof.interfaces


def test_the_proof_of_a_process_that_is_gone_is_an_error() -> None:
    with Child("") as child:
        child.popen.wait(10)
    with pytest.raises(OSError, match="No such file"):
        isolation.prove(child.popen.pid)


PARENT = """
import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
child.stdout.readline()
print(child.pid, flush=True)
sys.stdin.read()
"""
ORPHAN = """
import signal, sys
from serve import isolation
isolation.die_with_parent(signal.SIGTERM)
{then}
print("set", flush=True)
signal.pause()
"""
BECOME_SOMEBODY = (
    DROP + "isolation.die_with_parent(signal.SIGTERM)\ntry:\n    isolation.enter()\nexcept OSError:\n    pass"
)


def _gone(pid: int) -> Callable[[], bool]:
    def look() -> bool:
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii") as file:
                return file.read().rpartition(")")[2].split()[0] in "ZX"
        except (FileNotFoundError, ProcessLookupError):
            return True

    return look


@pytest.mark.parametrize(
    "then", ["", "isolation.enter()", BECOME_SOMEBODY], ids=["alone", "isolated", "isolated as somebody"]
)
def test_a_process_dies_with_its_parent_also_after_it_isolated_itself(then: str) -> None:
    if then and os.geteuid() != 0:
        then = "try:\n    isolation.enter()\nexcept OSError:\n    pass"
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, ORPHAN.format(then=then)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=clean_environment({}),
        cwd=TOP,
    )
    assert parent.stdout is not None
    orphan = int(parent.stdout.readline())
    assert not _gone(orphan)()
    parent.kill()
    parent.communicate(timeout=10)
    try:
        until(_gone(orphan), within_s=10, what="the orphan's end")
    finally:
        if not _gone(orphan)():
            os.kill(orphan, signal.SIGKILL)
