"""``make clients``: tries every client that can be had, or those whose names are given, and writes docs/clients.md."""

import argparse
import datetime
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.clients import page
from tests.clients.catalogue import CLIENTS, Client
from tests.clients.environments import UnavailableError, version
from tests.clients.trial import Result, tried
from tests.support.ports import free_port
from tests.support.stack import Stack


def main(words: list[str] | None = None) -> int:
    """0 if every task of every client that was tried is right, 1 otherwise."""
    arguments = argparse.ArgumentParser(prog="python -m tests.clients", description=__doc__)
    arguments.add_argument("names", nargs="*", help="parts of names; all clients without any")
    arguments.add_argument("--url", help="an API that runs already; without it, a stack of its own is started")
    arguments.add_argument("--key", default="", help="the key for it")
    arguments.add_argument("--page", action="store_true", help="try nothing, and write the page anew from its rows")
    options = arguments.parse_args(words)
    if options.page:
        _write(page.rows())
        return 0
    chosen = [client for client in CLIENTS if _asked_for(client, options.names)]
    if options.url:
        return _try_all(chosen, options.url, options.key)
    with (
        tempfile.TemporaryDirectory() as home,
        Stack(Path(home), port=free_port(), metrics_port=free_port(), within_s=600) as stack,
    ):
        return _try_all(chosen, f"{stack.url}/v1", stack.key)


def _asked_for(client: Client, names: list[str]) -> bool:
    return not names or any(name.lower() in client.name.lower() for name in names)


def _try_all(clients: list[Client], url: str, key: str) -> int:
    known, faults = page.rows(), 0
    for client in clients:
        try:
            results = tried(client, url, key)
        except UnavailableError as missing:
            print(f"{client.name}: {missing}", flush=True)
            faults += 1
            continue
        faults += _told(client, results)
        date = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
        known[client.name] = page.row(client, _version(client), date, results)
        _write(known)  # each at once: the run takes long
    return 1 if faults else 0


def _write(known: dict[str, str]) -> None:
    page.PAGE.write_text(page.written(CLIENTS, known), encoding="utf-8")


def _told(client: Client, results: dict[str, Result]) -> int:
    """How many tasks went wrong, after all are told."""
    for task, result in results.items():
        print(f"{client.name}: {task}: {result.fault or 'ok'}", flush=True)
    return sum(1 for result in results.values() if result.fault)


def _version(client: Client) -> str:
    if client.environment != "java":
        return version(client.environment, client.package)
    told = subprocess.run(["java", "--version"], capture_output=True, text=True, timeout=60, check=True)
    return told.stdout.split()[1]


if __name__ == "__main__":
    sys.exit(main())
