"""What the gateway's processes print of themselves; a fault is told without what its variables held.

structlog and typer show every frame's local variables where `rich` is installed: a caller's key and question among them.
"""

import sys

import structlog

from gateway.ledger.format.printable import printable_event, printable_traceback


def configure() -> None:
    """Set up structlog for this process."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.dev.set_exc_info,
            structlog.processors.TimeStamper(fmt="%Y-%m-%d %H:%M:%S", utc=True),
            printable_event,
            structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty(), exception_formatter=printable_traceback),
        ],
        wrapper_class=structlog.make_filtering_bound_logger("info"),
    )


def say_stopping(at_most_s: float, answers: int) -> None:
    """The one line of a stop: how many answers are waited for, and how long at most."""
    told = f"stopping: waiting for {answers} answers" if answers else "stopping: no answer is running"
    structlog.get_logger().info(told, **({"at_most_s": at_most_s} if answers else {}))
