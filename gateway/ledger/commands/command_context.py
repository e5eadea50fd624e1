"""What all commands share: settings, the log they mean, output as text or JSON. Decides nothing about the log."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any

import typer

from gateway.ledger.format.note import Verifier
from gateway.ledger.format.printable import ascii_json, printable
from gateway.ledger.readers.reader import LogReader
from gateway.ledger.service.process_config import ServicePlan
from gateway.ledger.settings import LedgerSettings, read_settings
from gateway.ledger.storage.keyring import Keyring, read_verifier
from gateway.ledger.storage.layout import LogLayout

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
LogFolder = Annotated[Path | None, typer.Option("--log", help="The log's folder; default: the settings'.")]
KeyOption = Annotated[
    str | None,
    typer.Option("--key", help="The log's public key: a file or its text NAME+HASH+KEY; default: the settings'."),
]


@dataclass(frozen=True)
class LogTarget:
    """The log that a command is about."""

    settings: LedgerSettings
    layout: LogLayout
    keyring: Keyring

    def verifier(self, key: str | None = None) -> Verifier:
        if key is None:
            return self.keyring.verifier()
        return read_verifier(Path(key) if Path(key).exists() else key)

    def reader(self, key: str | None = None) -> LogReader:
        return LogReader(self.layout, self.verifier(key))


def target(folder: Path | None = None) -> LogTarget:
    settings = read_settings()
    return LogTarget(settings, LogLayout(folder or settings.log_folder), Keyring(settings.key_folder))


def plan_of(settings: LedgerSettings) -> ServicePlan:
    return ServicePlan(
        folder=settings.log_folder,
        keys=settings.key_folder,
        socket=settings.socket_path,
        mode=settings.mode,
        digests=settings.digests,
        epoch=settings.epoch,
        segment_bytes=settings.segment_bytes,
        segment_daily=settings.segment_daily,
        compress=settings.compress,
        sign_every_s=settings.sign_every_s,
        sign_every_records=settings.sign_every_records,
        sign_idle_s=settings.sign_idle_s,
        anchors=tuple(settings.anchors),
        anchors_may_be_missing=settings.anchors_may_be_missing,
        retention_days=settings.retention_days,
        allow_volatile=settings.allow_volatile,
        free_bytes=settings.free_bytes,
        reserve_bytes=settings.reserve_bytes,
        config_digest=sha256(settings.model_dump_json().encode()).hexdigest(),
    )


def say(line: str) -> None:
    """Print one line. Records and file names hold texts of others: what would steer the terminal is shown escaped."""
    typer.echo(printable(line))


def say_json(value: Any) -> None:
    typer.echo(ascii_json(value, indent=True, sort=True))


def when(time_ms: int | None) -> str:
    """A time as people read it, UTC, to the second."""
    if time_ms is None:
        return "-"
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


class Meter:
    """A line on standard error that tells how far and how fast; silent where nobody watches."""

    def __init__(self, noun: str, *, shown: bool) -> None:
        self._noun = noun
        self._shown = shown and sys.stderr.isatty()
        self._began_s = time.monotonic()
        self._next_s = self._began_s + 0.5
        self.done = 0

    def tell(self, done: int, left: int) -> None:
        self.done = done
        now_s = time.monotonic()
        if self._shown and now_s >= self._next_s:
            self._next_s = now_s + 0.2
            sys.stderr.write(f"\r{done:,} {self._noun} · {self.rate():,.0f} a second ")
            sys.stderr.flush()

    def rate(self) -> float:
        return self.done / max(1e-9, time.monotonic() - self._began_s)

    def end(self) -> None:
        if self._shown:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()
