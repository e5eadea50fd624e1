"""What the gateway's processes print of themselves; a fault is told without what its variables held.

structlog and typer show every frame's local variables where `rich` is installed: a caller's key and question among them.
"""

import sys
import time
from collections.abc import Callable

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


class RefusalLog:
    """A line for each kind of 503, at once and then once a minute at most, with how many there were since."""

    def __init__(self, every_s: float = 60.0, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._every_s, self._clock_s = every_s, clock_s
        self._since: dict[str, int] = {}
        self._next_s: dict[str, float] = {}

    def note(self, code: str, text: str) -> None:
        """One more request was answered 503; ``code`` is one of few words, ``text`` says why."""
        self._since[code] = self._since.get(code, 0) + 1
        now_s = self._clock_s()
        if now_s >= self._next_s.get(code, 0.0):
            self._next_s[code] = now_s + self._every_s
            structlog.get_logger().warning(
                "requests are answered 503", code=code, count=self._since.pop(code), why=text
            )
