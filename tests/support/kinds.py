"""Which tests start processes: found by following what a test and its fixtures call, and held by a hook that sees every start.

A test is marked ``process`` if its function, one of its fixtures, or anything of tests/ that they call leads to a start.
Where only the code under test starts a process, the test says so itself: ``@pytest.mark.process``.
"""

import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import CodeType, FunctionType, ModuleType
from typing import Any
from zlib import crc32

import pytest

# What starts a process: these modules, whatever is taken from them, and these functions.
_MODULES = frozenset({"subprocess", "multiprocessing", "tests.support.forks"})
_FUNCTIONS = frozenset({"sync_playwright", "create_subprocess_exec", "fork", "posix_spawn", "NotebookClient"})
_EVENTS = frozenset(
    {"subprocess.Popen", "os.posix_spawn", "os.spawn", "os.exec", "os.fork", "os.forkpty", "os.system", "tests.fork"}
)


def in_part(name: str, part: str) -> bool:
    """Whether a test is in the K-th of N parts, written K/N: each is in one of them, and stays there."""
    number, _, parts = part.partition("/")
    return crc32(name.encode()) % int(parts) == int(number) % int(parts)


class Starts:
    """Answers whether a function leads to a start, and remembers it."""

    def __init__(self) -> None:
        self._known: dict[Any, bool] = {}

    def of(self, item: pytest.Function) -> bool:
        """Whether the test or one of its fixtures starts a process."""
        definitions = item._fixtureinfo.name2fixturedefs.values()
        return self._leads(item.function) or any(self._leads(one[-1].func) for one in definitions if one)

    def _leads(self, thing: Any) -> bool:
        thing = inspect.unwrap(getattr(thing, "__func__", thing))
        if thing not in self._known:
            self._known[thing] = False  # while it is looked at: who calls itself adds nothing
            self._known[thing] = any(map(self._starts, _used(thing)))
        return self._known[thing]

    def _starts(self, used: Any) -> bool:
        name = getattr(used, "__module__", None) or ""
        if isinstance(used, ModuleType):
            return used.__name__ in _MODULES
        if name in _MODULES or name.startswith("multiprocessing.") or getattr(used, "__name__", "") in _FUNCTIONS:
            return True
        return name.startswith("tests.") and callable(used) and self._leads(used)


def _used(thing: Any) -> Iterator[Any]:
    """All that a function, or a class's functions, name."""
    if isinstance(thing, type):
        for one in thing.__mro__:
            if one.__module__.startswith("tests."):
                for value in vars(one).values():
                    function = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
                    if isinstance(function, FunctionType):
                        yield from _used(inspect.unwrap(function))
    elif isinstance(thing, FunctionType):
        names = set(_names(thing.__code__))
        for name in names:
            found = thing.__globals__.get(name)
            yield found
            if isinstance(found, ModuleType) and found.__name__.startswith("tests."):
                yield from (getattr(found, inner) for inner in names if hasattr(found, inner))


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


class Watch:
    """Sees each start of a process in this one, while a test that has none runs."""

    def __init__(self) -> None:
        self._seen: list[str] | None = None
        sys.addaudithook(self._look)

    @contextmanager
    def none(self) -> Iterator[None]:
        """In this block a start is a failure."""
        seen: list[str] = []
        self._seen = seen
        try:
            yield
        finally:
            self._seen = None
        if seen:
            pytest.fail(f"starts a process ({seen[0]}): mark the test with pytest.mark.process", pytrace=False)

    def _look(self, event: str, words: tuple[Any, ...]) -> None:
        if event in _EVENTS and self._seen is not None:
            self._seen.append(f"{event} {words[:2]}")
