"""A network namespace with ``lo`` alone for this process, and the proof of it; never a firewall rule, never a new interface.

namespaces(7), user_namespaces(7), netdevice(7). Without the right to make a network namespace it is made inside a user
namespace of its own, where the machine allows those.
"""

import ctypes
import fcntl
import os
import socket
import struct
from dataclasses import dataclass
from pathlib import Path

_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 0x1
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class IsolationProof:
    """What the kernel says of a process's network: whether its namespace is not ours, the namespace's inode number, its
    interfaces, and packets that found no route out (``Ip`` and ``Ip6 OutNoRoutes``)."""

    isolated: bool
    inode: int
    interfaces: tuple[str, ...]
    no_routes: int


def enter() -> None:
    """Move this process into a network namespace with ``lo`` up and nothing else. Call before any thread starts.

    Raises OSError where the machine does not allow it; the process is then as it was.
    """
    uid, gid = os.geteuid(), os.getegid()
    try:
        _unshare(_CLONE_NEWNET)
    except PermissionError:
        _unshare(_CLONE_NEWUSER | _CLONE_NEWNET)
        # Mapped to itself, not to root: files stay ours and the engine gains no capability over anything outside.
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(control, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | _IFF_UP))


def die_with_parent(signal: int) -> None:
    """Have the kernel send ``signal`` to this process when the thread that started it ends (prctl(2))."""
    _prctl(_PR_SET_PDEATHSIG, signal)


def adopt_orphans() -> None:
    """Have the kernel hand processes below this one to it when their parents die, so that none is lost sight of (prctl(2))."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def prove(pid: int) -> IsolationProof:
    """Read the network namespace of a process from /proc. Raises OSError if the process is gone."""
    process = Path(f"/proc/{pid}")
    theirs = os.stat(process / "ns/net").st_ino
    lines = (process / "net/dev").read_text().splitlines()[2:]
    interfaces = tuple(sorted(line.partition(":")[0].strip() for line in lines))
    return IsolationProof(theirs != os.stat("/proc/self/ns/net").st_ino, theirs, interfaces, _no_routes(process))


def _no_routes(process: Path) -> int:
    names, values = (
        line.split()[1:] for line in (process / "net/snmp").read_text().splitlines() if line.startswith("Ip:")
    )
    count = int(dict(zip(names, values, strict=True))["OutNoRoutes"])
    try:
        six = (process / "net/snmp6").read_text().splitlines()
    except FileNotFoundError:  # a kernel without IPv6
        return count
    return count + sum(int(line.split()[1]) for line in six if line.startswith("Ip6OutNoRoutes"))


def _unshare(flags: int) -> None:
    if _libc.unshare(flags) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
