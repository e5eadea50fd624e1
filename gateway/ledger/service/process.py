"""One life of the ledger process, told in order: open, boot record, serve, shutdown record, last head. Never retries.

lock the folder → check, repair, open → listen → boot and recovery records → turns → shutdown record → head → exit
"""

from __future__ import annotations

import gc
import hashlib
import os
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import structlog

from gateway.ledger.client.messages import (
    Abandon,
    Admit,
    Ask,
    Boot,
    Complete,
    Deny,
    Fault,
    Integrity,
    KeyEvent,
    LimitsAsk,
    LostRecords,
    Prune,
    Pruned,
    Receipt,
    ReceiptAsk,
    Say,
    Shred,
    Status,
)
from gateway.ledger.client.statistics import LedgerCounters, LedgerStatistics, StatisticsAsk, Trouble
from gateway.ledger.errors import BadSettings
from gateway.ledger.format.checkpoint import sign_head
from gateway.ledger.format.digest import Digester
from gateway.ledger.format.record import RecordError, Value, cap, decode, decode_header
from gateway.ledger.format.record_id import RecordIds
from gateway.ledger.service.anchors import Anchors
from gateway.ledger.service.background import BackgroundWorker
from gateway.ledger.service.boot_facts import code_digest, engines, versions
from gateway.ledger.service.free_space import FreeSpace
from gateway.ledger.service.open_exchanges import OpenExchanges
from gateway.ledger.service.process_config import DAY_MS, ServicePlan, epoch_of, refuse_volatile
from gateway.ledger.service.rate_limits import RateLimits
from gateway.ledger.service.receipts import Receipts
from gateway.ledger.service.record_writer import LedgerClock, RecordWriter
from gateway.ledger.service.recovery import Opened, lock, open_log
from gateway.ledger.service.replay import Replay, last_day, lines_of
from gateway.ledger.service.retention import Pruning, prune
from gateway.ledger.service.rhythm import Rhythm
from gateway.ledger.service.server import Later, PacketServer
from gateway.ledger.storage.keyring import Keyring
from gateway.ledger.storage.layout import LogLayout
from gateway.ledger.storage.seal_process import NotSealed, seal_apart

IDLE_TURN_S = 0.25
MOST_UNREAD = 64  # records; a signature reads all of them back in any case


class LedgerService:
    """The handler behind the socket. Made by `open`, run by `run`, ended by `stop` from a signal handler."""

    def __init__(self, plan: ServicePlan, logger: structlog.stdlib.BoundLogger, clock: LedgerClock) -> None:
        self._plan = plan
        self._logger = logger
        self._clock = clock
        self._layout = LogLayout(plan.folder)
        self._keyring = Keyring(plan.keys)
        self._stopping = False
        self._failure: BaseException | None = None
        self._commit_ms = self._worst_commit_ms = 0.0
        self._commits = self._batch = 0
        self._tally = LedgerCounters()
        self._since_ms = clock.wall_ms()
        self._next_check_ms = 0
        self._segment_day = 0
        self._space = FreeSpace(plan.folder, plan.reserve_bytes, plan.free_bytes, logger)
        refuse_volatile(plan)
        self._signer = self._keyring.signer()
        self._lock = lock(self._layout)
        self._limits = RateLimits()
        self._exchanges = OpenExchanges()
        anchors = [self._keyring.anchor, *plan.anchors]
        opened = open_log(self._layout, self._signer, anchors, compressed=plan.compress)
        self._log = opened.log
        self._anchors = Anchors(
            anchors, self._layout, self._signer.verifier, logger, lambda: self._tally.trouble("anchor")
        )
        self._begun = self._begin_anchors()
        self._remember(opened)
        self._writer = self._make_writer(opened)
        self._rhythm = Rhythm(self._writer, clock, plan.promises)
        self._receipts = Receipts(self._layout, self._signer.verifier)
        self._sealer = BackgroundWorker("ledger-sealer", self._fail)
        self._proof_worker = BackgroundWorker("ledger-archivist", partial(self._complain, "archive"))
        self._server = PacketServer(plan.socket, self, logger, lambda: self._tally.trouble("packet"))
        self._introduce(opened)
        self._tasks: dict[type, Callable[..., Say | None]] = {
            Complete: self._writer.complete,
            Deny: self._writer.deny,
            KeyEvent: self._writer.key_event,
            Integrity: self._writer.integrity,
            Boot: self._writer.boot,
            LostRecords: self._writer.lost,
            Abandon: self._writer.abandon,
            LimitsAsk: self._writer.limits_left,
        }

    def _begin_anchors(self) -> list[str]:
        """Before the first record: from then on a missing anchor is an error."""
        log = self._log
        may_be_missing = self._plan.anchors_may_be_missing or log.size == 0
        begun = self._anchors.begin(log.signed, log.note, may_be_missing=may_be_missing)
        return begun if log.size else []

    def _make_writer(self, opened: Opened) -> RecordWriter:
        plain = self._plan.digests == "plain"
        digester = Digester(
            None if plain else self._keyring.root(),
            self._keyring.secret_or_new,
            partial(epoch_of, self._plan.epoch),
            self._keyring.current,
            self._keyring.secret,
        )
        ids = RecordIds(self._clock.wall_ms, opened.last_id)
        return RecordWriter(
            opened.log, ids, digester, self._exchanges, self._limits, self._clock, self._plan.mode, self._tally
        )

    # The start and the end

    def _introduce(self, opened: Opened) -> None:
        """Boot first, so that what follows can point to it; then what the start had to repair."""
        key_ids: dict[str, Value] = {
            "epochs": list(self._keyring.epochs()),
            "signing": self._signer.verifier.key_id(1).hex(),
        }
        self._writer.own(
            "boot",
            {
                "anchors_begun": list(self._begun),
                "code": code_digest(Path(__file__).parents[1]),
                "config": self._plan.config_digest,
                "digests": self._plan.digests,
                "engines": engines(self._plan.socket.parent),
                "heads": self._log.pin.fields(),
                "keys": key_ids,
                "mode": self._plan.mode,
                "origin": self._log.origin,
                "outbound": [str(path) for path in self._plan.anchors],
                "pid": os.getpid(),
                "promises": self._plan.promises.fields(),
                "room": "ledger",
                "versions": versions(),
            },
        )
        repairs = opened.repairs
        unclean = self._log.size > 0 and opened.last_kind != "shutdown"
        if repairs.any or unclean:
            torn: dict[str, Value] = {name: self._torn_digest(name) for name in repairs.torn_files}
            open_ids: list[Value] = list(self._exchanges.open_ids(100))
            self._writer.own(
                "recovery",
                {
                    "open": self._exchanges.open,
                    "open_ids": open_ids,
                    "rewritten_hashes": repairs.rewritten_hashes,
                    "sealed_segments": repairs.sealed_segments,
                    "torn": torn,
                    "torn_bytes": repairs.torn_bytes,
                    "torn_head_bytes": repairs.torn_head_bytes,
                    "unsigned_records": repairs.unsigned_records,
                },
            )
            self._logger.warning(
                "the log was not closed in order and has been recovered",
                open_exchanges=self._exchanges.open,
                torn_bytes=repairs.torn_bytes,
                unsigned_records=repairs.unsigned_records,
            )
        self.commit()
        self._sign()
        if opened.last_kind == "seal":
            self._rotate("the last start")  # a crash came between the seal record and the next segment
        self._space.look()
        if self._plan.mode == "off":
            self._logger.error("THE AUDIT LOG IS OFF: exchanges leave no record (mode = off)")
        self._logger.info(
            "the ledger is ready",
            origin=self._log.origin,
            records=self._log.size,
            mode=self._plan.mode,
            socket=str(self._plan.socket),
            folder=str(self._plan.folder),
            key=self._signer.verifier.format(),
        )

    def _torn_digest(self, name: str) -> str:
        return hashlib.sha256((self._layout.segments / name).read_bytes()).hexdigest()

    def _remember(self, opened: Opened) -> None:
        """What the last day's records say: what is open, what is used of the limits."""
        now_ms = self._clock.wall_ms()
        replay = Replay(self._exchanges, self._limits, now_ms, self._clock.monotonic_ms())
        segments, whole = last_day(opened.closed, now_ms)
        for index, line in lines_of(self._layout, segments):
            replay.take(index, line)
        for index, line in enumerate(opened.lines, opened.log.segment.first):
            replay.take(index, line)
        replay.finish()
        self._finish_shredding(opened)
        if opened.lines:
            self._segment_day = decode_header(opened.lines[0]).time_ms // DAY_MS
        if not whole:
            self._logger.warning(
                "the log of the last day is too long to count again; limits of tokens a day begin later",
                since_ms=replay.first_ms,
            )

    def _finish_shredding(self, opened: Opened) -> None:
        """A crash came between the record and the end of the secret. Only what the last life itself signed counts."""
        signed = opened.lines[: max(0, opened.log.signed.size - opened.log.segment.first)]
        shredded: list[str] = []
        for fields in (decode(line) for line in signed if b'"kind":"shred"' in line or b'"kind":"boot"' in line):
            if fields["kind"] == "boot" and fields.get("room") == "ledger":
                shredded.clear()
            elif fields["kind"] == "shred":
                shredded.append(str(fields.get("epoch")))
        for epoch in filter(self._keyring.has, shredded):
            self._keyring.shred(epoch)

    def run(self) -> None:
        """Serve until `stop`; LogBroken (or what a helper thread met) ends it without another write."""
        # A full collection walks every use and exchange there is, for a tenth of a second. Nothing here makes cycles that
        # last, so only the young are looked at, once a second.
        gc.freeze()
        gc.disable()
        try:
            while not self._stopping:
                self._server.turn(self._timeout_s())
                self._after_turn()
            self._shut_down()
        finally:
            self._server.close()
        self._logger.info("the ledger has stopped", records=self._log.size, open_exchanges=self._exchanges.open)

    def stop(self) -> None:
        """End after this turn; safe in a signal handler."""
        self._stopping = True
        self._server.wake()

    def _shut_down(self) -> None:
        self._writer.roll_up(everything=True)
        self._end_with("shutdown", lambda: {"open": self._exchanges.open})
        for worker in (self._sealer, self._anchors, self._proof_worker):
            worker.stop(30)
        self._log.close()
        os.close(self._lock)

    # The handler

    def take(self, ask: Ask, sender: int, n: int, later: Later) -> Say | None:
        try:
            full = self._space.refusal(ask)
            if full:
                return Fault(full)
            if isinstance(ask, Admit):
                return self._writer.admit(ask, sender, n)
            task = self._tasks.get(type(ask))
            if task is not None:
                return task(ask, sender)
            if isinstance(ask, ReceiptAsk):
                self._ask_receipt(ask, later)
                return None
            if isinstance(ask, Prune):
                return self._prune(ask.before_ms, ask.by, manual=True)
            if isinstance(ask, Shred):
                return self._shred(ask)
            return self._figures() if isinstance(ask, StatisticsAsk) else self._status()
        except (RecordError, BadSettings) as error:
            return Fault(str(error))

    def _shred(self, ask: Shred) -> Receipt:
        """The record is signed before the secret goes: what cannot be undone is never without a trace."""
        if not self._keyring.has(ask.epoch):
            raise BadSettings(f"there is no epoch {ask.epoch}: `epochs` lists those that are left")
        receipt = self._writer.own("shred", {"by": cap(ask.by), "epoch": ask.epoch})
        self.commit()
        self._sign()
        self._keyring.shred(ask.epoch)
        self._writer.forget_epoch()
        return receipt

    def commit(self) -> None:
        waiting = self._log.waiting
        if not waiting:
            return
        before = time.perf_counter()
        self._log.commit()
        took_s = time.perf_counter() - before
        self._tally.committed(took_s, waiting, self._clock.wall_ms())
        self._commit_ms = took_s * 1000
        self._worst_commit_ms = max(self._worst_commit_ms, self._commit_ms)
        self._commits += 1
        self._batch = waiting

    def gone(self, sender: int) -> None:
        left = self._writer.gone(sender)
        if left:
            self._logger.warning("a worker left exchanges open", connection=sender, exchanges=left)

    def _ask_receipt(self, ask: ReceiptAsk, later: Later) -> None:
        known = self._exchanges.get(ask.id)
        indexes = None
        # Another caller's exchange is looked for in the log like an id that does not exist: what is in memory, such as that
        # no head covers it yet, would tell that it exists.
        if known is not None and known.admitted >= 0 and (ask.auditor or known.key == ask.key):
            indexes = [known.admitted] + ([known.ended] if known.ended is not None and known.ended >= 0 else [])
        head, size = self._log.signed, self._log.signed.size
        checkpoint = sign_head(head, self._signer)
        self._proof_worker.put(lambda: later(self._receipts.answer(ask, indexes, size, checkpoint)))

    def _status(self) -> Status:
        segment = self._log.segment
        return Status(
            origin=self._log.origin,
            mode=self._plan.mode,
            boot=self._writer.boot_id,
            size=self._log.size,
            signed_size=self._log.signed.size,
            signed_ms=(self._log.signed.time_s or 0) * 1000,
            commit_ms=round(self._commit_ms, 3),
            worst_commit_ms=round(self._worst_commit_ms, 3),
            commits=self._commits,
            batch=self._batch,
            segment=segment.number,
            segment_bytes=segment.bytes,
            free_bytes=shutil.disk_usage(self._plan.folder).free,
            open_exchanges=self._exchanges.open,
            connections=self._server.connections,
            denies_rolled_up=self._writer.floods.rolled,
            since_ms=self._since_ms,
            full=self._space.full,
        )

    def _figures(self) -> LedgerStatistics:
        tally, log, disk = self._tally, self._log, shutil.disk_usage(self._plan.folder)
        return LedgerStatistics(
            commit_s=tally.commit_s.spread(),
            batch=tally.batch.spread(),
            appended=tally.appended,
            troubles=tally.troubles,
            size=log.size,
            head_size=log.signed.size,
            head_ms=(log.signed.time_s or 0) * 1000,
            commit_ms=tally.commit_ms,
            open_exchanges=self._exchanges.open,
            connections=self._server.connections,
            segment_bytes=log.segment.bytes,
            free_bytes=disk.free,
            disk_bytes=disk.total,
            since_ms=self._since_ms,
        )

    # Between turns

    def _timeout_s(self) -> float:
        unsigned = self._log.size - self._log.signed.size
        if not unsigned:
            return IDLE_TURN_S
        due_ms = (self._log.signed.time_s or 0) * 1000 + self._plan.sign_every_s * 1000
        return min(IDLE_TURN_S, max(0.0, (due_ms - self._clock.wall_ms()) / 1000))

    def _after_turn(self) -> None:
        if self._failure is not None:
            raise self._failure
        # Not after each commit: who was answered asks again at once, and would wait for it.
        if self._log.unread >= MOST_UNREAD:
            self._log.read_back()
        now_ms = self._clock.wall_ms()
        unsigned = self._log.size - self._log.signed.size
        age_s = abs(now_ms / 1000 - (self._log.signed.time_s or 0))
        due_s = self._plan.sign_every_s if unsigned else self._plan.sign_idle_s
        if unsigned >= self._plan.sign_every_records or age_s >= due_s:
            self._sign()
        if now_ms >= self._next_check_ms or now_ms < self._next_check_ms - 2000:
            self._next_check_ms = now_ms + 1000
            self._each_second(now_ms)
        if self._log.segment.bytes >= self._plan.segment_bytes:
            self._rotate("size")

    def _each_second(self, now_ms: int) -> None:
        gc.collect(1)
        self._writer.roll_up()
        while not self._anchors.alarms.empty():
            self._writer.integrity(self._anchors.alarms.get(), 0)
        self.commit()
        self._segment_day = self._segment_day or now_ms // DAY_MS
        if now_ms // DAY_MS != self._segment_day:
            self._limits.sweep(self._clock.monotonic_ms())
            self._segment_day = now_ms // DAY_MS
            if self._plan.segment_daily and self._log.segment.records > 1:
                self._rotate("day")
            if self._plan.retention_days:
                self._prune(now_ms - self._plan.retention_days * DAY_MS, "retention", manual=False)
        self._space.look()

    def _sign(self) -> None:
        time_s = self._rhythm.next_time_s()
        self.commit()
        self._sign_at(time_s)

    def _sign_at(self, time_s: int) -> None:
        head = self._log.sign(time_s)
        self._anchors.put(head, self._log.note)

    def _end_with(self, kind: str, fields_of: Callable[[], dict[str, Value]]) -> None:
        """The last record of a segment or of this life, and the head that covers it. It says which heads came before."""
        time_s = self._rhythm.next_time_s()
        self.commit()
        self._writer.own(kind, fields_of() | {"heads": self._log.pin.fields()})
        self.commit()
        self._sign_at(time_s)

    def _prune(self, before_ms: int, by: str, *, manual: bool) -> Pruned:
        wanted = Pruning(self._clock.wall_ms(), before_ms, by, manual)
        return prune(self._layout, self._signer.verifier, self._writer, self._plan.promises, wanted, self._sign)

    def _rotate(self, why: str) -> None:
        """The seal record is the segment's last, and a head covers it before the next segment begins."""
        segment = self._log.segment
        self._end_with(
            "seal",
            lambda: {"first": segment.first, "records": segment.records + 1, "segment": segment.number, "why": why},
        )
        number = self._log.rotate()
        opened: dict[str, Value] = {
            "first": self._log.segment.first,
            "promises": self._plan.promises.fields(),
            "segment": number + 1,
        }
        self._writer.own("segment", opened)
        self.commit()
        self._logger.info("a segment was closed", segment=number, records=segment.records, why=why)
        self._sealer.put(partial(self._seal_quietly, number, segment.first))

    def _fail(self, error: BaseException) -> None:
        self._failure = error
        self._server.wake()

    def _complain(self, what: Trouble, error: BaseException) -> None:
        self._tally.trouble(what)
        self._logger.error("work beside the log failed", error=str(error))

    def _seal_quietly(self, number: int, first: int) -> None:
        """A disk that is full for the packed copy does not stop the log: the next start seals again."""
        try:
            seal_apart(self._plan.folder, self._plan.keys, number, first, compressed=self._plan.compress)
        except NotSealed as error:
            self._tally.trouble("seal")
            self._logger.error(
                "a segment could not be sealed; the next start will try again", segment=number, error=str(error)
            )
