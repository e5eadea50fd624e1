"""`export`: the log for other tools. Reads only."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from gateway.ledger.commands.command_context import AsJson, KeyOption, LogFolder, say, say_json, target
from gateway.ledger.errors import BadSettings
from gateway.ledger.format.printable import ascii_json
from gateway.ledger.format.record import decode
from gateway.ledger.readers.exports import table
from gateway.ledger.readers.exports.ecs import to_ecs
from gateway.ledger.readers.exports.ocsf import to_ocsf
from gateway.ledger.readers.exports.tiles import write_tiles
from gateway.ledger.readers.reader import LogReader

app = typer.Typer()

To = Callable[[int, dict[str, Any], str, dict[str, Any] | None], str]
MOST_OPEN = 1_000_000


@app.command()
def export(
    ocsf: Annotated[bool, typer.Option("--ocsf", help="OCSF 1.8.0 events, one JSON object a line.")] = False,
    ecs: Annotated[bool, typer.Option("--ecs", help="Elastic Common Schema documents, one a line.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="A table for spreadsheets.")] = False,
    tiles: Annotated[bool, typer.Option("--tiles", help="C2SP tlog-tiles, a folder (needs --to).")] = False,
    to: Annotated[
        Path | None, typer.Option(help="A file, or a new folder for tiles; default: standard output.")
    ] = None,
    since: Annotated[int, typer.Option(min=0, help="The first index, to go on where an earlier export ended.")] = 0,
    log: LogFolder = None,
    key: KeyOption = None,
    as_json: AsJson = False,
) -> None:
    """Write the log in the form of another tool."""
    if [ocsf, ecs, csv, tiles].count(True) != 1:
        raise typer.BadParameter("give one of --ocsf, --ecs, --csv, --tiles")
    reader = target(log).reader(key)
    if tiles:
        _export_tiles(reader, to, as_json)
        return
    form: To = _as_line(to_ocsf) if ocsf else _as_line(to_ecs) if ecs else table.to_row
    with nullcontext(sys.stdout) if to is None else to.open("w", newline="") as out:
        written = _write(reader, form, since, out, table.header() if csv else "")
    if as_json and to is not None:
        say_json({"records": written, "next": reader.size, "to": str(to)})


def _as_line(form: Callable[..., dict[str, Any]]) -> To:
    def line(index: int, record: dict[str, Any], origin: str, admit: dict[str, Any] | None) -> str:
        return ascii_json(form(index, record, origin, admit)) + "\n"

    return line


def _write(reader: LogReader, form: To, since: int, out: TextIO, header: str) -> int:
    out.write(header)
    admits: dict[str, dict[str, Any]] = {}
    written = 0
    # From the beginning, since an exchange's end needs what began it.
    for index, line in reader.lines():
        record = decode(line)
        admit = None
        if record["kind"] == "admit":
            admits[record["id"]] = record
            if len(admits) > MOST_OPEN:
                del admits[next(iter(admits))]
        elif record["kind"] == "complete":
            admit = admits.pop(record["id"], None)
        if index >= since:
            out.write(form(index, record, reader.origin, admit))
            written += 1
    return written


def _export_tiles(reader: LogReader, to: Path | None, as_json: bool) -> None:
    if to is None:
        raise typer.BadParameter("tiles are a folder: say where with --to")
    if to.exists() and any(to.iterdir()):
        raise BadSettings(f"{to} is not empty: tiles go into a folder of their own")
    head, checkpoint = reader.head()
    files = write_tiles(reader, head, checkpoint, to)
    if as_json:
        say_json({"files": files, "size": head.size, "to": str(to)})
    else:
        say(f"{files:,} files in {to}: the log as signed at {head.size:,} records.")
