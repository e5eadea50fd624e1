"""``vitrine keys``: make, show, end and replace API keys; prints a key once and keeps only its digest."""

import asyncio
import getpass
import json
import re
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, TypeVar

import typer

from gateway.command_line import run_command
from gateway.keys.allowance import UNLIMITED, Allowance
from gateway.keys.caller import Key, Scope
from gateway.keys.recorded_changes import RecordedChanges
from gateway.keys.store import KeyStore, StoreError, Subject
from gateway.ledger.client.async_client import LedgerClient
from gateway.ledger.errors import BadSettings as BadLedgerSettings
from gateway.ledger.errors import LedgerUnavailable
from gateway.ledger.format.printable import MOST_NAME_CHARS, name_fault, printable
from gateway.ledger.settings import read_settings
from gateway.settings import BadSettings, read

T = TypeVar("T")

LEDGER_DEADLINE_S = 3.0
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class LedgerAway(Exception):
    """The change can't be recorded, so it is not made (exit 1)."""


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help="API keys: who may enter.")


def _new_name(name: str) -> str:
    fault = name_fault(name)
    if fault:
        raise typer.BadParameter(f"{name!r} can't be used: {fault}")
    return name


Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Bound = Annotated[str | None, typer.Option(help="A number; `none` for no limit; `default` for what the settings say.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print the key alone.")]
KeyId = Annotated[str, typer.Argument(help="The key's id, as `list` shows it.")]


@app.command()
def create(
    name: Annotated[str, typer.Option(help="Whose key it is, for people.", callback=_new_name)],
    tenant: Annotated[str, typer.Option(help="Tenants share nothing in the engine.", callback=_new_name)] = "default",
    scope: Annotated[list[Scope] | None, typer.Option(help="What it may be used for; repeat for several.")] = None,
    expires: Annotated[str | None, typer.Option(help="For how long it is good: 90d, 12h, 30m.")] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Make a key and print it, once."""
    ends = time.time() + _seconds(expires) if expires else None
    scopes = scope or [Scope.INFERENCE]
    text, key = _change(lambda changes: changes.create(name, tenant=tenant, scopes=scopes, expires_at_s=ends))
    _show_new(text, key, quiet, as_json)


@app.command(name="list")
def list_keys(as_json: Json = False) -> None:
    """List all keys; never the keys themselves."""
    keys, now_s = _store().list(), time.time()
    if as_json:
        print(json.dumps([_table(key) for key in keys], indent=1))
        return
    rows = [("key id", "name", "tenant", "scopes", "state", "made", "expires")]
    for key in keys:
        scopes, times = ",".join(sorted(key.scopes)), (_time(key.created_at_s), _time(key.expires_at_s))
        rows.append((key.key_id, printable(key.name), printable(key.tenant), scopes, key.state(now_s), *times))
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


@app.command()
def revoke(key_id: KeyId) -> None:
    """End a key now."""
    print(f"{_change(lambda changes: changes.revoke(key_id)).key_id} is revoked")


@app.command()
def rotate(
    key_id: KeyId,
    grace: Annotated[str, typer.Option(help="For how long the old key stays good.")] = "24h",
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Make a new key like an old one, which stays good for the grace period."""
    grace_s = _seconds(grace)
    text, key = _change(lambda changes: changes.rotate(key_id, grace_s=grace_s))
    _show_new(text, key, quiet, as_json)


@app.command()
def limit(
    key_id: Annotated[str | None, typer.Argument(help="The key; or --tenant.")] = None,
    tenant: Annotated[str | None, typer.Option(help="All keys of a tenant together.")] = None,
    requests_per_min: Bound = None,
    tokens_per_min: Bound = None,
    tokens_per_day: Bound = None,
    concurrent: Bound = None,
    images_per_min: Bound = None,
    as_json: Json = False,
) -> None:
    """Change or show how much a key, or a tenant, may use. It holds from the next request on."""
    if (key_id is None) == (tenant is None):
        raise typer.BadParameter("name a key or --tenant, one of them")
    if tenant is not None and tenant.startswith("."):
        raise typer.BadParameter(f"{tenant!r} is no tenant: names that begin with a dot are Vitrine's own")
    scope: Subject = "key" if tenant is None else "tenant"
    subject = key_id or tenant or ""
    given = {
        "requests_per_min": requests_per_min,
        "tokens_per_min": tokens_per_min,
        "tokens_per_day": tokens_per_day,
        "concurrent": concurrent,
        "images_per_min": images_per_min,
    }
    changed = {name: _bound(text) for name, text in given.items() if text is not None}
    if not changed:
        _show_allowance(subject, _store().allowance(scope, subject), as_json)
        return
    _show_allowance(subject, _change(lambda changes: changes.limit(scope, subject, changed)), as_json)


def _show_allowance(subject: str, allowance: Allowance, as_json: bool) -> None:
    said: dict[str, int | str] = {
        name: {None: "default", UNLIMITED: "none"}.get(value, value) for name, value in asdict(allowance).items()
    }
    if as_json:
        print(json.dumps(said))
        return
    print("\n".join([printable(subject), *(f"  {name:<18}{value}" for name, value in said.items())]))


def _bound(text: str) -> int | None:
    if text in ("none", "default"):
        return UNLIMITED if text == "none" else None
    if not re.fullmatch(r"\d{1,15}", text):
        raise typer.BadParameter(f"{text!r} is not a limit; write a number, none or default")
    return int(text)


def _store() -> KeyStore:
    return KeyStore(read().home / "keys.sqlite")


def _change(change: Callable[[RecordedChanges], Awaitable[T]]) -> T:
    """Make one change with its record."""

    async def run() -> T:
        async with await LedgerClient.connect(read_settings().socket_path, wait_s=LEDGER_DEADLINE_S) as ledger:
            # The name may come from the environment, and may be anything.
            by = printable(getpass.getuser())[:MOST_NAME_CHARS]
            return await change(RecordedChanges(_store(), ledger, by=f"command line, {by}"))

    try:
        return asyncio.run(run())
    except LedgerUnavailable as error:
        raise LedgerAway(f"{error}; keys change only with a record, so start Vitrine first (make serve)") from None


def _show_new(text: str, key: Key, quiet: bool, as_json: bool) -> None:
    if quiet:
        print(text)
    elif as_json:
        print(json.dumps({"key": text, **_table(key)}, indent=1))
    else:
        whose = printable(f"{key.key_id} for {key.name} of tenant {key.tenant}")
        print(f"{text}\n\n{whose}. It is shown this once: keep it safe.")


def _table(key: Key) -> dict[str, object]:
    return {**asdict(key), "scopes": sorted(key.scopes), "state": key.state(time.time())}


def _time(time_s: float | None) -> str:
    return "-" if time_s is None else datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%d %H:%MZ")


def _seconds(text: str) -> float:
    match = re.fullmatch(r"(\d{1,6})([smhd])", text)
    if not match:
        raise typer.BadParameter(f"{text!r} is not a duration; write 30s, 15m, 12h or 90d")
    return int(match[1]) * _UNITS_S[match[2]]


def main(arguments: list[str] | None = None, program: str | None = None) -> int:
    """Run the command line; its exit status. ``program`` is what usage lines call it."""
    return run_command(
        app, BadSettings, LedgerAway, StoreError, BadLedgerSettings, arguments=arguments, program=program
    )


if __name__ == "__main__":
    sys.exit(main())
