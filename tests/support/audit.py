"""The real ledger process, and its records as an auditor reads them."""

import contextlib
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from tests.support.process import Process, run


class Ledger:
    """``python -m gateway.ledger serve`` for a state folder."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.env = {"VITRINE_HOME": str(home)}
        self.start()

    def start(self) -> None:
        """Start the process and wait until it can be asked."""
        self.process = Process("gateway.ledger", "serve", env=self.env)
        self.process.line_with("the ledger is ready")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.end() == 0, self.process.output
        verified = run("gateway.ledger", "verify", env=self.env)
        assert verified.returncode == 0, verified.stderr

    @contextlib.contextmanager
    def silent(self) -> Iterator[None]:
        """In this block it is there and answers nothing."""
        self.process.send(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send(signal.SIGCONT)

    def records(self, **wanted: Any) -> list[dict[str, Any]]:
        """All records whose fields are as wanted, oldest first."""
        return records(self.home, **wanted)


def records(home: Path, **wanted: Any) -> list[dict[str, Any]]:
    """All records of a log's open segments whose fields are as wanted, oldest first."""
    lines = [
        line
        for path in sorted((home / "ledger" / "segments").glob("*.jsonl"))
        for line in path.read_bytes().splitlines()
    ]
    found = [json.loads(line) for line in lines]
    return [record for record in found if all(record.get(name) == value for name, value in wanted.items())]
