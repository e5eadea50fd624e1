"""``vitrine engines``: show, add, drain and remove engines while the gateway runs; it follows the roster by itself."""

import asyncio
import getpass
import json
import ssl
import sys
from dataclasses import asdict, dataclass
from typing import Annotated

import typer

from gateway.command_line import run_command
from gateway.engines import probe, roster
from gateway.engines.connections import EngineConnections
from gateway.engines.endpoint import TLS_SETTINGS, BadEndpoint, Endpoint, parse, tls_context
from gateway.engines.roster import BadRoster, RosterEntry
from gateway.engines.state_file import read as read_state
from gateway.front.resolver import Resolver
from gateway.ledger.client.async_client import LedgerClient
from gateway.ledger.client.messages import Boot, Fact
from gateway.ledger.errors import BadSettings as BadLedgerSettings
from gateway.ledger.errors import LedgerUnavailable
from gateway.ledger.format.printable import MOST_NAME_CHARS, printable
from gateway.ledger.settings import read_settings
from gateway.settings import BadSettings, Settings, read

ASK_S = 3.0
LEDGER_DEADLINE_S = 3.0


class ChangeRefused(Exception):
    """The change was not made (exit 1)."""


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help="Engines: where requests go.")

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Name = Annotated[str, typer.Argument(help="The engine's name.")]


@dataclass
class EngineRow:
    """What is known of one engine. ``source``: host (its supervisor announces it), settings or roster."""

    engine: str
    address: str
    source: str
    state: str
    models: list[str]


@app.command(name="list")
def list_engines(as_json: Json = False) -> None:
    """List all engines, asking each what it serves."""
    rows = asyncio.run(_rows(read()))
    if as_json:
        print(json.dumps([asdict(row) for row in rows], indent=1))
        return
    if not rows:
        print("no engine is known; start one (make serve) or add one (vitrine engines add NAME URL)")
        return
    lines = [("engine", "address", "source", "state", "models")]
    lines += [
        (
            printable(row.engine),
            printable(row.address),
            row.source,
            printable(row.state),
            printable(" ".join(row.models) or "-"),
        )
        for row in rows
    ]
    widths = [max(len(line[column]) for line in lines) + 2 for column in range(4)]
    for line in lines:
        print("".join(cell.ljust(width) for cell, width in zip(line, widths, strict=False)) + line[4])


@app.command()
def add(
    name: Name, url: Annotated[str, typer.Argument(help="https://HOST:PORT, http://HOST:PORT or unix:/PATH.")]
) -> None:
    """Add an engine of another host, or give it another address. It is asked once it has answered a probe."""
    settings = read()
    roster.check_new(name, url, "add")
    if name in roster.listed(settings.engines):
        raise ChangeRefused(f"{name} is named by VITRINE_ENGINES already; change it there, or choose another name")
    _record("add", name, (url,), needed=True)
    with roster.changing(settings.home / roster.FILE) as entries:
        entries[name] = RosterEntry(url)
    models, fault = asyncio.run(_ask(settings, parse(url)))
    said = (
        f"it serves {' '.join(models)}"
        if models
        else f"but does not answer yet ({fault}); it is asked again until it does"
    )
    print(printable(f"{name} is added, {said}"))


@app.command()
def drain(name: Name) -> None:
    """Send an engine nothing new; what runs there ends. `vitrine_busy_exchanges` shows when it is empty."""
    _set_draining(name, True)
    print(f'{name} gets nothing new; it is empty when vitrine_busy_exchanges{{engine="{name}"}} is 0')


@app.command()
def undrain(name: Name) -> None:
    """Use an engine again."""
    _set_draining(name, False)
    print(f"{name} is used again")


@app.command()
def remove(name: Name) -> None:
    """Forget an engine that was added; what runs there ends."""
    settings = read()
    named = roster.listed(settings.engines)
    with roster.changing(settings.home / roster.FILE) as entries:
        entry = entries.get(name)
        if entry is None or entry.url is None or name in named:
            raise ChangeRefused(
                f"{name} was not added here; one of VITRINE_ENGINES is removed there, one of this host by ending it,"
                " and both can be drained"
            )
        del entries[name]
    _record("remove", name, (), needed=False)
    print(f"{name} is removed")


def _set_draining(name: str, draining: bool) -> None:
    settings = read()
    known, named = {row.engine for row in _known(settings)}, roster.listed(settings.engines)
    with roster.changing(settings.home / roster.FILE) as entries:
        # A drain may outlive its engine, which its settings or its supervisor dropped: it can be taken back all the same.
        if name not in known and (draining or name not in entries):
            raise ChangeRefused(f"there is no engine {name}; there are {', '.join(sorted(known)) or 'none'}")
        # Never the settings' address: the engine goes when they drop it.
        url = None if name in named else entries.get(name, RosterEntry()).url
        entries[name] = RosterEntry(url, draining)
        if not draining and url is None:
            del entries[name]  # nothing is left to be said of it
    _record("drain" if draining else "undrain", name, (), needed=False)


def _known(settings: Settings) -> list[EngineRow]:
    rows = []
    entries, named = roster.read(settings.home / roster.FILE), roster.listed(settings.engines)
    for path in (settings.home.absolute() / "run").glob("engine-*/state.json"):
        state = read_state(path)
        if state is not None:
            said = state.phase + (f", {state.message}" if state.message and not state.ready else "")
            address = f"unix:{path.parent / 'engine.sock'}"
            rows.append(EngineRow(path.parent.name, address, "host", said, state.served_names))
    for name, url in roster.remote(named, entries).items():
        rows.append(EngineRow(name, url, "settings" if name in named else "roster", "ready", []))
    for row in rows:
        if row.engine in entries and entries[row.engine].draining:
            row.state = "draining"
    return sorted(rows, key=lambda row: row.engine)


async def _rows(settings: Settings) -> list[EngineRow]:
    rows = _known(settings)
    asked = await asyncio.gather(*(_ask(settings, parse(row.address)) for row in rows))
    for row, (models, fault) in zip(rows, asked, strict=True):
        row.models = models or row.models
        if fault and row.state in ("ready", "draining"):
            row.state = fault if row.state == "ready" else f"draining, {fault}"
    return rows


def _tls(settings: Settings) -> ssl.SSLContext | None:
    try:
        return tls_context(settings.engines_ca, settings.engines_cert, settings.engines_key)
    except BadEndpoint as error:
        raise BadSettings(f"{TLS_SETTINGS}: {error}") from None


async def _ask(settings: Settings, endpoint: Endpoint) -> tuple[list[str], str]:
    """What an engine says that it serves, and what is wrong with it if it does not."""
    connections = EngineConnections(endpoint, _tls(settings), Resolver())
    try:
        return [model.id for model in await probe.models(connections, ASK_S)], ""
    except probe.ProbeFailed as error:
        return [], str(error)
    finally:
        connections.close()


def _record(verb: str, name: str, outbound: tuple[str, ...], *, needed: bool) -> None:
    """The change, in the audit log. Raises ChangeRefused if it can't be recorded and has to be."""

    async def say() -> None:
        by = printable(getpass.getuser())[:MOST_NAME_CHARS]  # it may come from the environment, and may be anything
        facts: dict[str, Fact] = {"change": verb, "engine": name, "by": f"command line, {by}"}
        boot = Boot("gateway.engines", facts, outbound)
        async with await LedgerClient.connect(
            read_settings().socket_path, wait_s=LEDGER_DEADLINE_S, boot=boot
        ) as ledger:
            await ledger.status()  # answered after the record, which stands before it in the line

    try:
        asyncio.run(say())
    except LedgerUnavailable as error:
        if needed:
            raise ChangeRefused(
                f"{error}; a destination is added only with a record, so start Vitrine first (make serve)"
            ) from None
        print(printable(f"warning: {error}; the change holds, but is not in the audit log"), file=sys.stderr)


def main(arguments: list[str] | None = None, program: str | None = None) -> int:
    """Run the command line; its exit status. ``program`` is what usage lines call it."""
    return run_command(
        app, BadSettings, ChangeRefused, BadRoster, BadLedgerSettings, arguments=arguments, program=program
    )


if __name__ == "__main__":
    sys.exit(main())
