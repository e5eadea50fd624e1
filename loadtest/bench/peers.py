"""Other proxies for the same run; each in a folder or an environment of its own, none of them needed by Vitrine."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from loadtest.bench.scenarios import Target


class NotHere(Exception):
    """A peer that can't be had on this machine; the text says why."""


@dataclass(frozen=True)
class Peer:
    name: str

    @contextlib.contextmanager
    def running(self, folder: Path, cache: Path, core: int, engine_port: int) -> Iterator[Target]:
        raise NotHere("not yet")
        yield


PEERS: tuple[Peer, ...] = ()
