"""A name server on a loopback address of its own, silent where it is told to be; and programs that ask it and nobody else."""

import os
import socket
import struct
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.process import PYTHON

# In a mount namespace of its own: nobody else on this machine sees these files.
_ENTER = """
for file in resolv.conf hosts nsswitch.conf; do mount --bind "$1/$file" "/etc/$file" || exit 97; done
shift
exec "$@"
"""
_HEAD = struct.Struct(">HHHHHH")


class NameServer:
    """Answers with the address of a name, and not at all for the names in ``silent``; ``asked`` has a name for each question.

    ``program`` starts ``python -m`` for words behind it, with this name server and with ``hosts`` as its /etc/hosts.
    """

    def __init__(self, folder: Path, addresses: Mapping[str, str], hosts: Mapping[str, str]) -> None:
        self.asked: list[str] = []
        self.silent: set[str] = set()
        self._addresses = dict(addresses)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._place = f"127.53.{os.getpid() >> 8 & 255}.{os.getpid() & 255}"
        folder.mkdir()
        # The system's lookup waits 20 s for a silent server: far longer than anything here may take.
        (folder / "resolv.conf").write_text(f"nameserver {self._place}\noptions timeout:10 attempts:2\n")
        (folder / "hosts").write_text("".join(f"{address} {name}\n" for name, address in hosts.items()))
        (folder / "nsswitch.conf").write_text("hosts: files dns\n")
        enter = ("unshare", "--mount", "sh", "-c", _ENTER, "sh", str(folder))
        self.program = (*enter, *PYTHON)
        self._possible = (*enter, "/bin/true")

    def __enter__(self) -> "NameServer":
        try:
            tried = subprocess.run(self._possible, capture_output=True, text=True, timeout=30, check=False)
            self._socket.bind((self._place, 53))
        except OSError as error:
            self._socket.close()
            pytest.skip(f"this machine allows no name server of a test's own ({error})")
        if tried.returncode != 0:
            self._socket.close()
            pytest.skip(f"this machine allows no mount namespace ({tried.stderr.strip()})")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", (self._place, 53))
        self._thread.join(10)
        self._socket.close()

    def _serve(self) -> None:
        while question := self._socket.recvfrom(1500):
            asked, client = question
            if not asked:
                return
            name, kind = _read(asked)
            self.asked.append(name)
            if name not in self.silent:
                self._socket.sendto(self._answer(asked, name, kind), client)

    def _answer(self, asked: bytes, name: str, kind: int) -> bytes:
        address = self._addresses.get(name)
        found = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4) + socket.inet_aton(address) if address else b""
        answers = found if kind == 1 else b""  # IPv4 alone: for other kinds the name is there and has nothing
        code = 0 if address else 3
        head = _HEAD.pack(_HEAD.unpack_from(asked)[0], 0x8180 | code, 1, bool(answers), 0, 0)
        return head + asked[_HEAD.size :] + answers


def _read(asked: bytes) -> tuple[str, int]:
    """The name and the kind of a question."""
    at, labels = _HEAD.size, []
    while length := asked[at]:
        labels.append(asked[at + 1 : at + 1 + length].decode())
        at += 1 + length
    return ".".join(labels), int.from_bytes(asked[at + 1 : at + 3], "big")
