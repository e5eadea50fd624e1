"""Ports for servers that must be told theirs before they start."""

import itertools
import os
import random
import socket

# Below the ports that the kernel gives to connections, or one of those could take it in between; several processes of
# tests each have their own thousands.
_FIRST, _PER_PROCESS = 12_000, 2_500
_process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_start = random.randrange(_PER_PROCESS)
_numbers = itertools.count()


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on; no other call gets the same."""
    while True:
        port = _FIRST + _process % 8 * _PER_PROCESS + (_start + next(_numbers)) % _PER_PROCESS
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
