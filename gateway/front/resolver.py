"""Looks up host names, with a deadline; remembers no addresses, and no name can delay another.

The system's lookup (getaddrinfo) can't be cancelled: glibc waits at least 5 s for a silent name server. An event loop runs
lookups in a few threads that all share; uvloop runs two at a time. So each name has a thread of its own here. It runs one lookup
at a time, and everybody who asks for that name meanwhile shares the answer. Names come from settings: there are no more
threads than listed hosts.

Each part of the gateway that connects to hosts makes a resolver of its own.
"""

import asyncio
import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Lock, Thread
from typing import TypeVar

# glibc repeats a question after 5 s: one lost packet is no failure.
LOOKUP_S = 6.0
FAILURE_S = 3.0

P = TypeVar("P", bound=asyncio.BaseProtocol)


class LookupFailed(OSError):
    """The name has no address; the text is the system's reason."""


class LookupTimeout(LookupFailed):
    """The name server did not answer in time."""


def system_lookup(host: str) -> Sequence[str]:
    """All addresses of ``host``, in the system's order. Blocks, raises OSError or ValueError."""
    return [str(found[4][0]) for found in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]


@dataclass
class _Lookup:
    """One lookup: ``answer`` is empty if it failed, and ``fault`` says why. Times are of the monotonic clock."""

    deadline_s: float
    answer: "Future[Sequence[str]]" = field(default_factory=Future)
    fault: str = ""
    forget_s: float = float("inf")

    def result(self) -> Sequence[str]:
        addresses = self.answer.result(0)
        if not addresses:
            raise LookupFailed(self.fault)
        return addresses


class Resolver:
    """The names of one purpose. Any thread and any event loop may ask."""

    def __init__(
        self,
        lookup: Callable[[str], Sequence[str]] = system_lookup,
        *,
        lookup_s: float = LOOKUP_S,
        failure_s: float = FAILURE_S,
    ) -> None:
        """A lookup may take ``lookup_s``; a failure is the answer to everybody who asks within ``failure_s``."""
        self._system, self._lookup_s, self._failure_s = lookup, lookup_s, failure_s
        self._lookups: dict[str, _Lookup] = {}  # those that run, and those that failed a moment ago
        self._lock = Lock()

    async def look_up(self, host: str) -> Sequence[str]:
        """All addresses of ``host``, at least one; an address is its own. Raises LookupFailed or LookupTimeout."""
        if _is_address(host):
            return [host]
        found = self._lookup(host)
        left_s = found.deadline_s - time.monotonic()
        if not found.answer.done():
            try:
                async with asyncio.timeout(left_s):
                    # A caller that leaves cancels its own future only: a running one can't be cancelled.
                    await asyncio.wrap_future(found.answer)
            except TimeoutError:
                raise _silent() from None
        return found.result()

    def wait_for(self, host: str, timeout_s: float) -> Sequence[str]:
        """The same for a thread that has no event loop and waits ``timeout_s`` at most."""
        if _is_address(host):
            return [host]
        found = self._lookup(host)
        left_s = min(timeout_s, found.deadline_s - time.monotonic())
        try:
            found.answer.result(max(0.0, left_s))
        except TimeoutError:
            raise _silent() from None
        return found.result()

    async def connect(
        self, make: Callable[[], P], host: str, port: int, tls: ssl.SSLContext | None
    ) -> tuple[asyncio.Transport, P]:
        """A connection to the first address of ``host`` that takes one. With ``tls`` the certificate must be for ``host``.

        Raises OSError.
        """
        loop, name = asyncio.get_running_loop(), host if tls else None
        failed = OSError()
        for address in await self.look_up(host):
            try:
                return await loop.create_connection(make, address, port, ssl=tls, server_hostname=name)
            except OSError as error:
                failed = error
        raise failed

    def _lookup(self, host: str) -> _Lookup:
        """The lookup of ``host`` that runs or failed a moment ago, or a new one."""
        with self._lock:
            now_s = time.monotonic()
            for name in [name for name, one in self._lookups.items() if one.forget_s <= now_s]:
                del self._lookups[name]
            known = self._lookups.get(host)
            if known is not None:
                return known
            found = self._lookups[host] = _Lookup(now_s + self._lookup_s)
        found.answer.set_running_or_notify_cancel()
        try:
            # A daemon: the end of the process does not wait for a silent name server.
            Thread(target=self._run, args=(host, found), name="resolver", daemon=True).start()
        except RuntimeError:
            self._end(host, found, (), "there is no thread for it")
        return found

    def _run(self, host: str, found: _Lookup) -> None:
        addresses: Sequence[str] = ()
        fault = "it has no address"
        try:
            addresses = self._system(host)
        except (OSError, ValueError) as error:  # ValueError: what can't be a name
            fault = str(error)
        finally:
            self._end(host, found, addresses, fault)

    def _end(self, host: str, found: _Lookup, addresses: Sequence[str], fault: str) -> None:
        with self._lock:
            if addresses:
                del self._lookups[host]
            else:
                found.fault, found.forget_s = fault, time.monotonic() + self._failure_s
        found.answer.set_result(addresses)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _silent() -> LookupTimeout:
    return LookupTimeout("the name server does not answer")
