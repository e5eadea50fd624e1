"""`prune`, `backup`, `restore`, `epochs`, `shred`: keeping a log for years. Only prune and shred remove anything."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Annotated

import typer

from gateway.ledger.client.async_client import LedgerClient
from gateway.ledger.client.messages import Pruned, Receipt
from gateway.ledger.commands.command_context import (
    AsJson,
    LogFolder,
    LogTarget,
    Meter,
    count,
    say,
    say_json,
    target,
    when,
)
from gateway.ledger.errors import BadSettings
from gateway.ledger.format.printable import name_fault
from gateway.ledger.readers import backup as copies
from gateway.ledger.readers.verification import Report
from gateway.ledger.service.retention import prunable

app = typer.Typer()


@app.command()
def prune(
    older_than_days: Annotated[int, typer.Option(min=1, help="Prune sealed segments that ended before this.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    by: Annotated[str, typer.Option(help="Who wants it; goes into the prune records.")] = "operator",
    as_json: AsJson = False,
) -> None:
    """Delete the records of old sealed segments; hashes and proofs stay. The running ledger does it and records it."""
    fault = name_fault(by)
    if fault:
        raise typer.BadParameter(f"--by {by!r} can't be used: {fault}")
    here = target()
    before_ms = int((time.time() - older_than_days * 86_400) * 1000)
    segments = prunable(here.layout, here.verifier(), before_ms)
    records = sum(segment.records for segment in segments)
    numbers = tuple(segment.number for segment in segments)
    if not dry_run and segments:
        done = asyncio.run(_prune(here, before_ms, by))
        numbers, records = done.segments, done.records
    if as_json:
        say_json({"segments": list(numbers), "records": records, "pruned": not dry_run, "before_ms": before_ms})
        return
    verb = "would be pruned" if dry_run else "pruned"
    say(f"{count(records, 'record')} in {count(len(numbers), 'segment')} from before {when(before_ms)} UTC {verb}.")


async def _shred(here: LogTarget, epoch: str, by: str) -> Receipt:
    async with await LedgerClient.connect(here.settings.socket_path) as client:
        return await client.shred(epoch, by)


async def _prune(here: LogTarget, before_ms: int, by: str) -> Pruned:
    async with await LedgerClient.connect(here.settings.socket_path) as client:
        return await client.prune(before_ms, by)


@app.command()
def backup(
    to: Annotated[Path, typer.Argument(help="A new folder.")],
    log: LogFolder = None,
    as_json: AsJson = False,
) -> None:
    """Copy the log, also while it is written, and verify the copy. The keys are not in it: keep them apart."""
    here = target(log)
    meter = Meter("records", shown=not as_json)
    report = copies.back_up(here.layout, here.verifier(), to, meter.tell)
    meter.end()
    if as_json:
        say_json({"records": report.records, "signed_records": report.signed_records, "to": str(to)})
    else:
        say(f"OK: {_counted(report)} in {to}, verified. The keys are not: back them up apart.")


@app.command()
def restore(
    source: Annotated[Path, typer.Argument(metavar="FROM", help="A folder that `backup` made.")],
    as_json: AsJson = False,
) -> None:
    """Verify a backup and put it in place of a log that is gone; refused if the keys know a newer head."""
    here = target()
    meter = Meter("records", shown=not as_json)
    report = copies.restore(source, here.layout, here.keyring, meter.tell)
    meter.end()
    if as_json:
        say_json({"records": report.records, "signed_records": report.signed_records, "from": str(source)})
    else:
        say(f"OK: {_counted(report)} back in {here.layout.folder}.")


def _counted(report: Report) -> str:
    """How many there are, and for how many of them no head speaks yet."""
    text = f"{count(report.records, 'record')} {'is' if report.records == 1 else 'are'}"
    return f"{text} ({report.unsigned_records:,} not signed yet)" if report.unsigned_records else text


@app.command()
def epochs(as_json: AsJson = False) -> None:
    """Epochs whose digests can still be tied to contents."""
    names = target().keyring.epochs()
    if as_json:
        say_json(names)
    else:
        for name in names or ["there are none"]:
            say(name)


@app.command()
def shred(
    epoch: Annotated[str, typer.Argument(help="Like 2026-11.")],
    yes: Annotated[bool, typer.Option("--yes", help="Really do it.")] = False,
    by: Annotated[str, typer.Option(help="Who wants it; goes into the record.")] = "operator",
    as_json: AsJson = False,
) -> None:
    """Destroy an epoch's secret: none of its digests can be tied to a content any more. The running ledger does it and records
    it. Backups of the secret must go too."""
    if not yes:
        raise BadSettings(f"shredding {epoch} cannot be undone: say --yes")
    fault = name_fault(by)
    if fault:
        raise typer.BadParameter(f"--by {by!r} can't be used: {fault}")
    here = target()
    receipt = asyncio.run(_shred(here, epoch, by))
    if as_json:
        say_json({"shredded": epoch, "record": receipt.index})
    else:
        say(f"The digests of {epoch} can no longer be tied to a content, once backups of its secret are gone too.")
