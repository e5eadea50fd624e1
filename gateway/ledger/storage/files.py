"""Files and folders made to last: private modes, synced with their folder. Never decides what is in them."""

from __future__ import annotations

import os
from pathlib import Path

VOLATILE = frozenset({"tmpfs", "ramfs", "devtmpfs"})


def make_folder(path: Path) -> None:
    """Make a folder with mode 0700 and sync its parent; fine if it exists."""
    if path.is_dir():
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.mkdir(mode=0o700, exist_ok=True)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_all(descriptor: int, data: bytes) -> None:
    """Write every byte; a short write goes on until the kernel says why."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def write_once(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Make a new file, durable with its name; FileExistsError if there is one."""
    _write(path, data, os.O_CREAT | os.O_EXCL, mode)
    sync_folder(path.parent)


def replace(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Put a file in place in one step: readers see the old bytes or the new, after a crash too."""
    fresh = path.with_name(path.name + ".new")
    _write(fresh, data, os.O_CREAT | os.O_TRUNC, mode)
    fresh.rename(path)
    sync_folder(path.parent)


def _write(path: Path, data: bytes, flags: int, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW | flags, mode)
    try:
        write_all(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def filesystem(path: Path) -> str:
    """The type of the filesystem that `path` lies on, as the kernel names it; empty if it cannot be told."""
    device = path.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return ""
    for line in reversed(mounts):
        fields, _, rest = line.partition(" - ")
        if fields.split()[2] == wanted:
            return rest.split()[0]
    return ""
