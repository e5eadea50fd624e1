"""`prove`, `verify-proof`, `reveal`: single records, for those outside. Never opens a record that was not asked for."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any

import typer

from gateway.ledger.commands.command_context import AsJson, KeyOption, LogFolder, say, say_json, target, when
from gateway.ledger.errors import RecordNotFound
from gateway.ledger.format.digest import PLAIN, epoch_key, keyed, record_key
from gateway.ledger.format.merkle import prove_inclusion
from gateway.ledger.format.note import b64
from gateway.ledger.format.proof import InclusionProof, format_proof
from gateway.ledger.format.record import decode
from gateway.ledger.format.record_id import is_identity
from gateway.ledger.readers import verify_proof
from gateway.ledger.readers.reader import LogReader
from gateway.ledger.storage.keyring import Keyring

app = typer.Typer()


def records_of(reader: LogReader, identity: str) -> list[tuple[int, bytes]]:
    """All records of one id (as X-Audit-Id gave it), or of one index; RecordNotFound if there are none."""
    if identity.isdigit():
        return [(int(identity), reader.line(int(identity)))]
    if not is_identity(identity):
        raise RecordNotFound(f"{identity!r} is neither an id (UUIDv7, as X-Audit-Id gives it) nor an index")
    found = reader.find(identity)
    if not found:
        raise RecordNotFound(f"no record has the id {identity}")
    return found


@app.command()
def prove(
    identity: Annotated[str, typer.Argument(metavar="ID", help="An X-Audit-Id, or a record's index.")],
    to: Annotated[Path | None, typer.Option(help="A folder for the proofs; default: standard output.")] = None,
    log: LogFolder = None,
    key: KeyOption = None,
    as_json: AsJson = False,
) -> None:
    """Prove that a record is in the log: one C2SP tlog-proof a record."""
    reader = target(log).reader(key)
    head, checkpoint = reader.head()
    proofs = []
    for index, line in records_of(reader, identity):
        if index >= head.size:
            raise RecordNotFound(f"record {index} is not covered by a head yet: try again in a second")
        path = prove_inclusion(index, head.size, reader.tree().node)
        proofs.append((index, decode(line), format_proof(InclusionProof(index, tuple(path), checkpoint, line))))
    if as_json:
        say_json([{"index": index, "kind": record["kind"], "proof": proof} for index, record, proof in proofs])
        return
    for index, record, proof in proofs:
        if to is None:
            typer.echo(proof, nl=False)
            continue
        to.mkdir(parents=True, exist_ok=True)
        path_of = to / f"{record['id']}-{record['kind']}.tlog-proof"
        path_of.write_text(proof)
        say(f"{path_of} proves record {index}")


@app.command(name="verify-proof", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def verify_proof_command(context: typer.Context) -> None:
    """Check a proof; the same as verify_proof.py, which auditors run on their own."""
    raise typer.Exit(verify_proof.main(context.args))


@app.command()
def reveal(
    identity: Annotated[str, typer.Argument(metavar="ID", help="An X-Audit-Id, or a record's index.")],
    content: Annotated[Path | None, typer.Option(help="A file: say whether the record holds its digest.")] = None,
    log: LogFolder = None,
    as_json: AsJson = False,
) -> None:
    """Open one exchange's digests, for a court: prints its record key, which opens no other record."""
    here = target(log)
    shown = [_reveal(here.keyring, index, line) for index, line in records_of(here.reader(), identity)]
    matches = None if content is None else _matches(shown, content.read_bytes())
    if as_json:
        say_json({"records": shown, "matches": matches})
    else:
        for item in shown:
            say(f"record {item['index']} ({item['kind']}, {when(item['time_ms'])} UTC, leaf {item['leaf']})")
            say(f"  record key  {item['record_key'] or _gone(item['epoch'])}")
            for name, digest in item["digests"].items():
                say(f"  {name:<20} {digest}")
        say("each digest is HMAC-SHA256(record key, SHA-256(content)); with key 'plain' it is SHA-256(content)")
        if matches is not None and _shredded(shown):
            say(f"whether {content} is one of these cannot be said any more")
        elif matches is not None:
            say(f"{content} is {' and '.join(matches) if matches else 'none of these'}.")
    if matches == [] or (_shredded(shown) and not matches):
        raise typer.Exit(1)


def _shredded(shown: list[dict[str, Any]]) -> bool:
    return any(item["record_key"] is None for item in shown)


def _gone(epoch: str) -> str:
    return f"none: the secret of epoch {epoch} was shredded, nobody can open these digests any more"


def _reveal(keyring: Keyring, index: int, line: bytes) -> dict[str, Any]:
    """What the record holds; its key is None where the epoch was shredded."""
    record = decode(line)
    epoch = record.get("epoch", PLAIN)
    key: str | None = PLAIN
    if epoch != PLAIN:
        open_epoch = keyring.has(epoch)
        key = record_key(epoch_key(keyring.root(), keyring.secret(epoch)), record["id"]).hex() if open_epoch else None
    digests = {f"{name}": record[name]["digest"] for name in ("prompt", "conversation", "answer") if record.get(name)}
    digests |= {f"image {at}": image["digest"] for at, image in enumerate(record.get("images", []), 1)}
    digests |= {f"field {name}": text["digest"] for name, text in (record.get("fields") or {}).items()}
    return {
        "index": index,
        "kind": record["kind"],
        "id": record["id"],
        "time_ms": record["time_ms"],
        "epoch": epoch,
        "record_key": key,
        "digests": digests,
        "leaf": b64(sha256(b"\x00" + line).digest()),
        "line": line.decode(),
    }


def _matches(shown: list[dict[str, Any]], content: bytes) -> list[str]:
    found = []
    plain = sha256(content).digest()
    for item in shown:
        if item["record_key"] is None:
            continue
        digest = plain.hex() if item["record_key"] == PLAIN else keyed(bytes.fromhex(item["record_key"]), plain)
        found += [f"its {name}" for name, other in item["digests"].items() if other == digest]
    return found
