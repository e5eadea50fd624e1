"""`verify`, `consistency`, `anchor`: is this log what it was? Read-only; `anchor --to` writes one file elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gateway.ledger.commands.command_context import (
    AsJson,
    KeyOption,
    LogFolder,
    LogTarget,
    Meter,
    count,
    say,
    say_json,
    target,
    when,
)
from gateway.ledger.errors import EXIT_OK, LedgerError, RolledBack, Tampered, Unreadable
from gateway.ledger.format.checkpoint import TreeHead, open_head
from gateway.ledger.format.merkle import check_consistency, prove_consistency
from gateway.ledger.format.note import NoteError, Verifier, b64
from gateway.ledger.readers.reader import LogReader
from gateway.ledger.readers.verification import Report, verify
from gateway.ledger.storage.anchor import AnchorChanged, AnchorFile, check_head, read_anchor

app = typer.Typer()


@app.command(name="verify")
def verify_command(
    log: LogFolder = None,
    key: KeyOption = None,
    anchor: Annotated[list[Path] | None, typer.Option(help="Heads kept elsewhere that the log must continue.")] = None,
    as_json: AsJson = False,
) -> None:
    """Check every record, hash, head and seal. Needs the files and the public key, nothing else."""
    here = target(log)
    meter = Meter("records", shown=not as_json)
    anchors = list(anchor or [])
    for path in anchors:
        if not path.exists():
            raise Unreadable(f"there is no anchor {path}: nothing was checked")
    if log is None:
        anchors += [here.keyring.anchor, *here.settings.anchors]
    try:
        report = verify(here.layout, here.verifier(key), anchors, meter.tell)
    except LedgerError as error:
        meter.end()
        if as_json:
            say_json({"verified": False, "exit_code": error.exit_code, "error": str(error)})
            raise typer.Exit(error.exit_code) from error
        raise
    meter.end()
    code = report.exit_code
    if as_json:
        say_json(
            {
                "verified": True,
                "exit_code": code,
                "records_per_s": round(meter.rate()),
                **vars(report),
                "kinds": dict(report.kinds),
            }
        )
    else:
        _tell(report, meter)
    raise typer.Exit(code)


def _tell(report: Report, meter: Meter) -> None:
    kinds = ", ".join(f"{number:,} {kind}" for kind, number in sorted(report.kinds.items()))
    say(f"{report.origin}: {kinds or 'no records'}")
    say(f"from {when(report.first_ms)} to {when(report.last_ms)} UTC, checked at {meter.rate():,.0f} records a second")
    notes = [
        (report.pruned_records, "was pruned; its hash is checked", "were pruned; their hashes are checked"),
        (report.taken_over, *("had no head when a start took over what a crash had left",) * 2),
        (report.clock_steps_back, *("{} earlier than the one before: the clock went back",) * 2),
    ]
    for number, one, more in notes:
        if number:
            text = one if number == 1 else more
            say(f"note: {count(number, 'record')} {text.format('is' if number == 1 else 'are')}")
    if report.torn_bytes:
        say(
            f"note: {count(report.torn_bytes, 'torn byte')} at the end, left by a crash; the next start sets them aside"
        )
    if report.open_exchanges:
        say(f"note: {count(report.open_exchanges, 'exchange')} without an end, first {report.open_ids[0]}")
    for silence in report.silences:
        say(f"SILENCE: {silence}")
    if report.lost:
        say(f"GAP: {count(report.lost, 'record')} could not be written, as gap records say.")
    say(_verdict(report))


def _verdict(report: Report) -> str:
    """What is signed and what is not yet: only what a head covers is vouched for."""
    signed = f"unchanged, as signed at {when(report.signed_ms)} UTC"
    good = "OK" if report.exit_code == EXIT_OK else "NOT WHOLE"
    if report.unsigned_records:
        return (
            f"{good}: {report.signed_records:,} signed, {report.unsigned_records:,} not yet. What is signed is {signed}; "
            f"for the rest only the log's own hashes speak."
        )
    if not report.records:
        return f"{good}: the log is empty, as signed at {when(report.signed_ms)} UTC."
    if report.records == 1:
        return f"{good}: 1 record is {signed}."
    return f"{good}: all {report.records:,} records are {signed}."


@app.command()
def consistency(
    old: Annotated[Path, typer.Argument(help="An older checkpoint file.")],
    new: Annotated[Path | None, typer.Argument(help="A newer checkpoint file; default: the log's last head.")] = None,
    log: LogFolder = None,
    key: KeyOption = None,
    as_json: AsJson = False,
) -> None:
    """Prove that one head continues another: nothing between them was changed or removed."""
    here = target(log)
    verifier = here.verifier(key)
    reader = here.reader(key)
    before = _read_head(here, old, key)
    after = _read_head(here, new, key) if new is not None else reader.head()[0]
    if before.size > after.size:
        raise RolledBack(f"{old} covers {before.size} records, the other only {after.size}")
    if after.size > reader.size:
        raise RolledBack(f"the newer head covers {after.size} records, the log has {reader.size}")
    path = prove_consistency(before.size, after.size, reader.tree().node)
    try:
        check_consistency(before.size, before.root, after.size, after.root, path)
    except ValueError as error:
        raise Tampered(
            f"{verifier.name}: the head of {after.size} does not continue the one of {before.size}"
        ) from error
    if as_json:
        say_json({"consistent": True, "old": before.size, "new": after.size, "proof": [b64(step) for step in path]})
        return
    say(f"OK: the head of {after.size:,} records continues the one of {before.size:,}; {len(path)} hashes prove it.")


def _read_head(here: LogTarget, path: Path, key: str | None) -> TreeHead:
    try:
        return open_head(path.read_bytes().decode(), here.verifier(key))  # one checkpoint, whoever else signed it
    except OSError as error:
        raise Unreadable(f"cannot read {path}: {error.strerror}") from error
    except (NoteError, ValueError):
        head = read_anchor(path, here.verifier(key))
    if head is None:
        raise Unreadable(f"{path} has no head")
    return head


@app.command()
def anchor(
    to: Annotated[Path | None, typer.Option(help="Put the last head behind those in this file, or begin it.")] = None,
    check: Annotated[Path | None, typer.Option(help="Check that the log continues the head in this file.")] = None,
    log: LogFolder = None,
    key: KeyOption = None,
    as_json: AsJson = False,
) -> None:
    """Show the last signed head, keep it elsewhere, or check the log against one kept elsewhere."""
    here = target(log)
    reader = here.reader(key)
    head, checkpoint = reader.head()
    if check is not None:
        known = _read_head(here, check, key)
        check_head(known, f"the anchor {check}", head.size, reader.tree().root)
    if to is not None:
        _keep(to, here.verifier(key), reader, head, checkpoint)
    if as_json:
        say_json({"origin": head.origin, "size": head.size, "root": b64(head.root), "checkpoint": checkpoint})
    elif check is not None:
        say(f"OK: the log of {count(head.size, 'signed record')} continues {check}.")
    elif to is not None:
        say(f"The head over {count(head.size, 'record')} is in {to}: keep it where this host cannot change it.")
    else:
        typer.echo(checkpoint, nl=False)


def _keep(to: Path, verifier: Verifier, reader: LogReader, head: TreeHead, checkpoint: str) -> None:
    """Only behind heads that this log continues; a head that is there already is not written again."""
    file = AnchorFile(to, verifier)
    if file.last == head:
        return
    if file.last is not None:
        check_head(file.last, f"the anchor {to}", head.size, reader.tree().root)
    try:
        file.append(checkpoint.encode(), head)
    except AnchorChanged as error:
        raise Tampered(str(error)) from error
