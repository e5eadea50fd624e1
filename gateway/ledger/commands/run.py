"""`init` and `serve`: a log begins, a ledger process lives. Never changes a record."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.ledger.commands.command_context import AsJson, plan_of, say, say_json, target
from gateway.ledger.errors import LogBroken
from gateway.ledger.format.printable import printable_event, printable_traceback
from gateway.ledger.service.record_writer import LedgerClock
from gateway.ledger.storage.create import found

# The process alone needs a logger, which is a third of a command's start.
if TYPE_CHECKING:
    import structlog

app = typer.Typer()


@app.command()
def init(
    origin: Annotated[
        str | None, typer.Option(help="The log's name, like example.com/vitrine; default: made up.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make the keys and an empty log."""
    here = target()
    if origin == "":
        raise typer.BadParameter("--origin is empty; write a name, or leave it out and one is made up")
    name = found(here.layout, here.keyring, origin or here.settings.origin)
    public = here.keyring.verifier().format()
    if as_json:
        say_json(
            {"origin": name, "public_key": public, "log": str(here.layout.folder), "keys": str(here.keyring.folder)}
        )
        return
    say(f"The log {name} is in {here.layout.folder}, its keys are in {here.keyring.folder}: back up both, apart.")
    say(f"Give auditors its public key: {public}")


@app.command()
def serve() -> None:
    """Run the ledger process until SIGTERM. Makes the log on the first start."""
    from gateway.ledger.service.free_space import wait_for_room
    from gateway.ledger.service.process import LedgerService

    logger = make_logger()
    here = target()
    ending = Ending()
    wait_for_room(here.settings.log_folder, here.settings.reserve_bytes, logger, lambda: ending.wanted)
    if ending.wanted:
        return
    if not here.layout.marker.exists():
        name = found(here.layout, here.keyring, here.settings.origin)
        logger.info("a new log was made", origin=name, keys=str(here.keyring.folder))
    sys.setswitchinterval(0.0005)  # seconds: a helper thread that computes must not hold up a commit
    try:
        service = LedgerService(plan_of(here.settings), logger, LedgerClock())
        ending.leads_to(service.stop)
        service.run()
    except LogBroken as error:
        logger.critical("the ledger ends at once: what is durable can no longer be known", error=str(error))
        raise


class Ending:
    """SIGTERM and SIGINT, also one that comes before there is anything to stop."""

    def __init__(self) -> None:
        self._wanted = False
        self._stop: Callable[[], None] | None = None
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask)

    @property
    def wanted(self) -> bool:
        return self._wanted

    def leads_to(self, stop: Callable[[], None]) -> None:
        self._stop = stop
        if self._wanted:
            stop()

    def _ask(self, number: int, frame: object) -> None:
        self._wanted = True
        if self._stop is not None:
            self._stop()


def make_logger() -> structlog.stdlib.BoundLogger:
    """JSON lines on standard error, or text where somebody watches."""
    import structlog

    renderers: list[structlog.types.Processor] = (
        [printable_event, structlog.dev.ConsoleRenderer(exception_formatter=printable_traceback)]
        if sys.stderr.isatty()
        else [structlog.processors.JSONRenderer()]
    )
    logger: structlog.stdlib.BoundLogger = structlog.wrap_logger(
        structlog.PrintLogger(sys.stderr),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *renderers,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        room="ledger",
    )
    return logger
