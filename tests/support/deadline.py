"""Waiting in tests: never without a deadline, never by a fixed sleep."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

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


@overload
async def eventually(condition: Callable[[], Awaitable[T]], *, within_s: float = ..., what: str = ...) -> T: ...
@overload
async def eventually(condition: Callable[[], T], *, within_s: float = ..., what: str = ...) -> T: ...
async def eventually(condition: Callable[[], Any], *, within_s: float = 10.0, what: str = "") -> Any:
    """`until` on an event loop, which goes on meanwhile; ``condition`` may have to be awaited, and ends with the deadline too."""
    try:
        async with asyncio.timeout(within_s):
            while True:
                value = condition()
                if inspect.isawaitable(value):
                    value = await value
                if value:
                    return value
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"not within {within_s} s: {what or condition}") from None
