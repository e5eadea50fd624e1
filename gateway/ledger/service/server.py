"""The socket of the ledger: SEQPACKET connections, packets in, answers out after the commit. Knows nothing of records.

One thread. Each turn takes everything that waits on all sockets, hands it to the handler, has it committed once, and only
then sends the answers: the batch is whatever came while the disk was busy.
"""

from __future__ import annotations

import os
import selectors
import socket
import stat
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import msgspec
import structlog

from gateway.ledger.client.messages import MOST_PACKET_BYTES, Ask, Fault, Reply, Say, decode_question, encode, pack
from gateway.ledger.errors import LogBusy
from gateway.ledger.storage.files import make_folder

MOST_BATCH = 1024
MOST_UNSENT_BYTES = 4 << 20
BUFFER_BYTES = 4 << 20

Later = Callable[[Say], None]


class PacketHandler(Protocol):
    """Who answers. `take` returns an answer that holds after `commit`, or None and answers through `later`."""

    def take(self, ask: Ask, sender: int, n: int, later: Later) -> Say | None: ...

    def commit(self) -> None: ...

    def gone(self, sender: int) -> None: ...


@dataclass(eq=False)
class PacketConnection:
    """One client. The server owns and closes the socket."""

    number: int
    socket: socket.socket
    answers: list[bytes] = field(default_factory=list)  # of this turn
    unsent: deque[bytes] = field(default_factory=deque)
    unsent_bytes: int = 0
    blocked: bool = False


class PacketServer:
    """Listens, reads, answers. `turn` is one round; the owner decides when to stop."""

    def __init__(
        self, path: Path, handler: PacketHandler, logger: structlog.stdlib.BoundLogger, on_garbage: Callable[[], None]
    ) -> None:
        """`on_garbage` is called for each packet that is not understood."""
        self._handler = handler
        self._on_garbage = on_garbage
        self._logger = logger
        self._connections: dict[int, PacketConnection] = {}
        self._numbers = 0
        self._path = path
        self._listener = _listen(path)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._wake_out, self._wake_in = socket.socketpair()
        self._wake_out.setblocking(False)
        self._wake_in.setblocking(False)
        self._selector.register(self._wake_out, selectors.EVENT_READ, self._woken)
        self._ready: deque[tuple[int, int, Say]] = deque()
        self._answered: list[PacketConnection] = []

    @property
    def connections(self) -> int:
        return len(self._connections)

    def turn(self, timeout_s: float) -> None:
        """Wait for packets at most `timeout_s`, take all there are, commit, answer."""
        for key, events in self._selector.select(timeout_s):
            if isinstance(key.data, PacketConnection):
                if events & selectors.EVENT_WRITE:
                    self._flush(key.data)
                if events & selectors.EVENT_READ:
                    self._receive(key.data)
            else:
                key.data()
        self._handler.commit()
        while self._ready:
            number, n, say = self._ready.popleft()
            if number in self._connections:
                self._answer(self._connections[number], n, say)
        answered, self._answered = self._answered, []
        for connection in answered:
            self._send(connection)

    def wake(self) -> None:
        """Make a waiting `turn` return; from any thread or signal handler."""
        try:
            self._wake_in.send(b"\0")
        except BlockingIOError:
            return  # it has not yet seen the last one

    def close(self) -> None:
        """Stop listening and drop all connections."""
        self._selector.unregister(self._listener)
        self._listener.close()
        self._path.unlink(missing_ok=True)
        for connection in list(self._connections.values()):
            self._drop(connection, "the ledger stops")
        self._selector.close()
        self._wake_in.close()
        self._wake_out.close()

    def _woken(self) -> None:
        self._wake_out.recv(4096)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        client.setblocking(False)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
        self._numbers += 1
        connection = PacketConnection(self._numbers, client)
        self._connections[connection.number] = connection
        self._selector.register(client, selectors.EVENT_READ, connection)

    def _receive(self, connection: PacketConnection) -> None:
        for _ in range(MOST_BATCH):
            try:
                packet = connection.socket.recv(MOST_PACKET_BYTES + 1)
            except BlockingIOError:
                return
            except OSError as error:
                self._drop(connection, str(error))
                return
            if not packet:
                self._drop(connection, "closed")
                return
            self._take(connection, packet)

    def _take(self, connection: PacketConnection, packet: bytes) -> None:
        if len(packet) > MOST_PACKET_BYTES:
            self._on_garbage()
            self._answer(connection, _number_in(packet), Fault("a packet is at most 128 KiB"))
            return
        for line in packet.split(b"\n"):
            self._take_line(connection, line)

    def _take_line(self, connection: PacketConnection, line: bytes) -> None:
        try:
            question = decode_question(line)
        except msgspec.DecodeError as error:
            self._on_garbage()
            self._answer(connection, _number_in(line), Fault(f"not understood: {error}"))
            return
        n, number = question.n, connection.number

        def later(say: Say) -> None:
            self._ready.append((number, n, say))
            self.wake()

        say = self._handler.take(question.ask, number, n, later)
        if say is not None:
            self._answer(connection, n, say)

    def _answer(self, connection: PacketConnection, n: int, say: Say) -> None:
        """Keep an answer until this turn's commit."""
        if not connection.answers:
            self._answered.append(connection)
        connection.answers.append(encode(Reply(n, say)))

    def _send(self, connection: PacketConnection) -> None:
        answers, connection.answers = connection.answers, []
        if connection.number not in self._connections:
            return
        for packet in pack(answers):
            connection.unsent.append(packet)
            connection.unsent_bytes += len(packet)
        if not connection.blocked:
            self._flush(connection)
        elif connection.unsent_bytes > MOST_UNSENT_BYTES:
            self._drop(connection, "does not read its answers")

    def _flush(self, connection: PacketConnection) -> None:
        waiting = False
        while connection.unsent:
            try:
                connection.socket.send(connection.unsent[0])
            except BlockingIOError:
                waiting = True
                break
            except OSError as error:
                self._drop(connection, str(error))
                return
            connection.unsent_bytes -= len(connection.unsent.popleft())
        if waiting != connection.blocked:
            connection.blocked = waiting
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if waiting else 0)
            self._selector.modify(connection.socket, events, connection)

    def _drop(self, connection: PacketConnection, why: str) -> None:
        if self._connections.pop(connection.number, None) is None:
            return
        self._selector.unregister(connection.socket)
        connection.socket.close()
        connection.unsent.clear()
        self._handler.gone(connection.number)
        self._logger.debug("connection ended", connection=connection.number, why=why)


class _OnlyNumber(msgspec.Struct):
    n: int = -1


def _number_in(packet: bytes) -> int:
    """The number of a packet that is otherwise not understood, so that its asker learns it; -1 without one."""
    try:
        return msgspec.json.decode(packet, type=_OnlyNumber).n
    except msgspec.DecodeError:
        return -1


def _listen(path: Path) -> socket.socket:
    """The listening socket, mode 0600. A stale one is removed, one that answers is another ledger's."""
    make_folder(path.parent)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
        probe = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            probe.connect(str(path))
        except OSError:
            path.unlink()  # nobody listens: left behind by a crash
        else:
            raise LogBusy(f"another ledger answers on {path}")
        finally:
            probe.close()
    before = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(before)
    listener.listen(128)
    listener.setblocking(False)
    return listener
