"""Waiting in tests: never without a deadline, never by a fixed sleep."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(condition: Callable[[], T], *, within_s: float = 10.0, what: str = "") -> T:
    """Ask ``condition`` until it is true and return what it said; fail after ``within_s``."""
    end = time.monotonic() + within_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"not within {within_s} s: {what or condition}"
        time.sleep(0.01)  # between two looks, not instead of one
