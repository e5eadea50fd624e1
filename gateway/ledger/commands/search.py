"""`find` and `tail`: who did what. Reads only; a content that is looked for is digested here and goes nowhere."""

from __future__ import annotations

import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any

import typer

from gateway.ledger.commands.command_context import AsJson, LogFolder, LogTarget, Meter, count, say, target, when
from gateway.ledger.errors import EXIT_FAILED, BadSettings
from gateway.ledger.format.digest import epoch_key
from gateway.ledger.format.printable import ascii_json, printable
from gateway.ledger.format.record import RecordError, decode
from gateway.ledger.readers.search import SearchHit, SearchTerms, find
from gateway.ledger.storage.layout import LogLayout

app = typer.Typer()

_AGO = re.compile(r"([0-9]+)(s|m|h|d)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
POLL_S = 0.2
FEW = 16  # ids that are looked up one by one; more are found in one pass


@app.command(name="find")
def find_command(
    image: Annotated[Path | None, typer.Option(help="A picture: who sent it?")] = None,
    prompt: Annotated[
        Path | None, typer.Option(help="A file with a prompt's exact text, or - for standard input.")
    ] = None,
    answer: Annotated[Path | None, typer.Option(help="A file with an answer's exact text, or -.")] = None,
    key: Annotated[str | None, typer.Option(help="A caller's key id.")] = None,
    ip: Annotated[str | None, typer.Option(help="A client's address.")] = None,
    since: Annotated[
        str | None, typer.Option(help="A time (2026-11-01T12:00, UTC) or how long ago (15m, 2h, 7d).")
    ] = None,
    until: Annotated[str | None, typer.Option(help="The same, for the end.")] = None,
    processes: Annotated[int, typer.Option(min=1, max=64, help="Processes that search.")] = 2,
    log: LogFolder = None,
    as_json: AsJson = False,
) -> None:
    """Find exchanges by content, caller, address or time. All that is given must fit; exit code 1 if nothing does."""
    contents = [(path, part) for path, part in ((image, "images"), (prompt, "prompt"), (answer, "answer")) if path]
    if len(contents) > 1:
        raise typer.BadParameter("give one of --image, --prompt and --answer")
    if not contents and not any((key, ip, since, until)):
        raise typer.BadParameter("give at least one of --image, --prompt, --answer, --key, --ip, --since, --until")
    here = target(log)
    wanted = SearchTerms(
        _digests(*contents[0]) if contents else (),
        contents[0][1] if contents else "any",
        key,
        ip,
        _time_ms(since),
        _time_ms(until),
    )
    reader = here.reader()
    meter = Meter("records", shown=not as_json)
    blind: Counter[str] = Counter()
    keys = _epoch_keys(here) if contents else {}
    hits = list(find(reader, wanted, keys, lambda n: meter.tell(n, 0), processes, blind))
    meter.end()
    rows = _join(hits, here)
    if as_json:
        for row in rows:
            typer.echo(ascii_json(row))
    else:
        _print_table(rows)
        found = "1 match" if len(rows) == 1 else f"{len(rows):,} matches"
        say(f"{found} in {count(meter.done, 'record')}, {meter.rate():,.0f} records a second")
    for epoch, records in sorted(blind.items()):
        typer.echo(
            printable(
                f"note: {count(records, 'record')} of epoch {epoch} could not be searched: its secret was shredded"
            ),
            err=True,
        )
    if not rows:
        raise typer.Exit(EXIT_FAILED)


def _digests(path: Path, part: str) -> tuple[bytes, ...]:
    """Of the content, and of a text also without the line's end that an editor puts behind it."""
    try:
        data = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"cannot read {path}: {error.strerror}") from error
    contents = [data]
    if part != "images":
        contents += [data.removesuffix(end) for end in (b"\r\n", b"\n") if data.endswith(end)]
    return tuple(sha256(content).digest() for content in dict.fromkeys(contents))


def _epoch_keys(here: LogTarget) -> dict[str, bytes]:
    root = here.keyring.root()
    return {epoch: epoch_key(root, here.keyring.secret(epoch)) for epoch in here.keyring.epochs()}


def _time_ms(text: str | None) -> int | None:
    if text is None:
        return None
    ago = _AGO.fullmatch(text)
    if ago:
        return int((time.time() - int(ago[1]) * _SECONDS[ago[2]]) * 1000)
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is neither a time (2026-11-01T12:00) nor an age (15m, 2h, 7d)") from error
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)


def _join(hits: list[SearchHit], here: LogTarget) -> list[dict[str, Any]]:
    """One row an exchange: what began it and how it ended, looked up where only one of the two was hit."""
    rows: dict[str, dict[str, Any]] = {}
    for hit in hits:
        record = decode(hit.line)
        rows.setdefault(record["id"], {})[record["kind"]] = record | {"index": hit.index}
    missing = {identity for identity, kinds in rows.items() if ("admit" in kinds) != ("complete" in kinds)}
    if missing:
        _fill(rows, missing, here)
    return list(rows.values())


def _fill(rows: dict[str, dict[str, Any]], missing: set[str], here: LogTarget) -> None:
    reader = here.reader()
    if len(missing) <= FEW:
        found = [pair for identity in missing for pair in reader.find(identity)]
    else:
        wanted = {identity.encode() for identity in missing}
        found = [(index, line) for index, line in reader.lines() if _identity(line) in wanted]
    for index, line in found:
        record = decode(line)
        rows[record["id"]].setdefault(record["kind"], record | {"index": index})


def _identity(line: bytes) -> bytes:
    at = line.find(b'"id":"') + 6
    return line[at : at + 36]


def _print_table(rows: list[dict[str, Any]]) -> None:
    if not rows:
        return
    titles = ("when (UTC)", "who", "from", "model", "outcome", "id")
    cells = [titles, *(_cells(row) for row in rows)]
    widths = [max(len(line[at]) for line in cells) for at in range(len(titles))]
    for line in cells:
        say("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    first = row.get("admit") or row.get("deny") or next(iter(row.values()))
    ended = row.get("complete", {})
    outcome = ended.get("outcome") or (first.get("reason") if first["kind"] == "deny" else None)
    outcome = outcome or ("no end yet" if first["kind"] == "admit" else first["kind"])
    who = f"{first.get('key') or '-'} ({first['tenant']})" if first.get("tenant") else str(first.get("key") or "-")
    cells = (when(first["time_ms"]), who, first.get("ip") or "-", first.get("model") or "-", outcome, first["id"])
    return tuple(printable(str(cell)) for cell in cells)


@app.command()
def tail(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as records come.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many of the newest.")] = 10,
    log: LogFolder = None,
    as_json: AsJson = False,
) -> None:
    """The newest records, one a line, like an access log."""
    here = target(log)
    reader = here.reader()
    admits: dict[str, dict[str, Any]] = {}
    last = reader.segments[-1]
    # More than are shown: the begin of an exchange may stand some way before its end.
    begin = reader.size - max(2000, lines * 4)
    for index, line in reader.lines(begin):
        text = line.decode("utf-8", "backslashreplace") if as_json else _access_line(decode(line), admits)
        if index >= reader.size - lines and text:
            say(text)
    if not follow:
        return
    try:
        for line in _grow(reader.layout, last.number, len(reader.text(last))):
            try:
                text = line.decode("utf-8", "backslashreplace") if as_json else _access_line(decode(line), admits)
            except RecordError as error:
                raise BadSettings(f"{reader.layout.folder} has a line that is no record: run verify") from error
            if text:
                say(text)
    except KeyboardInterrupt:
        return


def _grow(layout: LogLayout, number: int, offset: int) -> Iterator[bytes]:
    """Lines as they are appended, over rotations."""
    rest = b""
    file = layout.file(number, "jsonl").open("rb")
    file.seek(offset)
    while True:
        data = file.read()
        if data:
            *whole, rest = (rest + data).split(b"\n")
            yield from whole
        elif layout.file(number + 1, "jsonl").exists() and not file.read(1):
            file.close()
            number, rest = number + 1, b""
            file = layout.file(number, "jsonl").open("rb")
        else:
            time.sleep(POLL_S)  # the log's end: between two looks for more


def _access_line(record: dict[str, Any], admits: dict[str, dict[str, Any]]) -> str | None:
    """One line for one event; an admit is told with its end, unless it never comes."""
    kind, at = record["kind"], when(record["time_ms"])
    if kind == "admit":
        admits[record["id"]] = record
        if len(admits) > 100_000:
            del admits[next(iter(admits))]
        return None
    if kind == "complete":
        return f"{at} {_exchange(record, admits.pop(record['id'], {}))}"
    if kind == "deny":
        times = f" ×{record['count']}" if "count" in record else ""
        who = record.get("key") or "-"
        where = f"{record['ip']} {who} {record.get('route', '-')} {record.get('status', '-')}"
        return f"{at} {where} denied: {record['reason']}{times}"
    rest = {
        k: v for k, v in record.items() if k not in ("boot", "id", "kind", "time_ms", "v") and v not in ("", [], {})
    }
    return f"{at} * {kind} {_short(rest)}"


def _exchange(record: dict[str, Any], admit: dict[str, Any]) -> str:
    images = admit.get("images") or []
    pictures = "".join(f" {image['width']}×{image['height']}" for image in images[:3]) + (
        " …" if len(images) > 3 else ""
    )
    tokens = f"{record.get('prompt_tokens') or 0}+{record.get('answer_tokens') or 0} tok"
    first = f", first {record['ttft_ms']} ms" if record.get("ttft_ms") is not None else ""
    return (
        f"{admit.get('ip', '-')} {admit.get('key', '-')} {admit.get('route', '-')} {admit.get('model', '-')}"
        f"{pictures} {record['status']} {record['outcome']} {tokens} {record['total_ms']} ms{first} {record['id']}"
    )


def _short(fields: dict[str, Any]) -> str:
    text = ascii_json(fields)
    return text if len(text) <= 160 else text[:159] + "…"
