"""`make bench-ledger`: measures the ledger's bars on this machine and prints a table. Never a test: it asserts nothing timed.

    python -m bench.ledger [append] [verify] [find] [kill] [--seconds 60] [--rounds 200]

append   senders in one process, the ledger in another, one log on a real disk, records a second at a fixed pace
verify   a log of half a million records, one process
find     the same log, an image that was sent once, two processes
kill     kill -9 under load, start again, every acknowledged record must be there and verify must pass
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from gateway.ledger.client.async_client import Deadlines, LedgerClient
from gateway.ledger.client.messages import Admit, Complete, ImageDigest, Limit, Receipt, TextDigest
from gateway.ledger.client.statistics import LedgerCounters
from gateway.ledger.errors import LedgerUnavailable
from gateway.ledger.format.digest import Digester, epoch_key
from gateway.ledger.format.record_id import RecordIds
from gateway.ledger.readers.reader import LogReader
from gateway.ledger.readers.search import SearchTerms, find
from gateway.ledger.readers.verification import verify
from gateway.ledger.service.open_exchanges import OpenExchanges
from gateway.ledger.service.rate_limits import RateLimits
from gateway.ledger.service.record_writer import LedgerClock, RecordWriter
from gateway.ledger.service.recovery import open_log
from gateway.ledger.storage.create import found
from gateway.ledger.storage.keyring import Keyring
from gateway.ledger.storage.layout import LogLayout
from gateway.ledger.storage.seal import seal_segment

TICK_S = 0.002
PATIENT = Deadlines(admit_s=10, complete_s=10, other_s=10)
LIMITS = (
    Limit("key", "key-1", requests_per_min=10**9, tokens_per_min=10**12, concurrent=10**6),
    Limit("tenant", "lab", tokens_per_day=10**15),
)


@dataclass(frozen=True)
class BarRow:
    """One line of the table; `held` None where there is no bar."""

    what: str
    measured: str
    bar: str
    held: bool | None


def sample(number: int) -> Admit:
    """An admit with one image and two limits, as the gateway sends it."""
    prompt = hashlib.sha256(b"prompt %d" % number).digest()
    picture = hashlib.sha256(b"image %d" % number).digest()
    return Admit(
        key="key-1",
        tenant="lab",
        ip="192.0.2.7",
        peer="127.0.0.1:5000",
        route="/v1/chat/completions",
        model="glm-4v",
        stream=True,
        request=f"01a206ea-f13f-769a-a616-{number:012d}",
        prompt=TextDigest(prompt, 64),
        conversation=TextDigest(prompt, 164),
        images=(ImageDigest(picture, 84_211, "image/jpeg", 560, 840),),
        params={"max_tokens": 128, "temperature": "0.7"},
        tokens=728,
        limits=LIMITS,
    )


def ending(identity: str) -> Complete:
    answer = hashlib.sha256(identity.encode()).digest()
    return Complete(
        identity,
        "completed",
        200,
        TextDigest(answer, 512),
        "stop",
        prompt_tokens=664,
        answer_tokens=128,
        engine="engine-0",
        ttft_ms=109,
        total_ms=1140,
    )


class Process:
    """A ledger process under `home`."""

    def __init__(self, home: Path, **settings: str) -> None:
        named = {f"VITRINE_LEDGER_{name.upper()}": value for name, value in settings.items()}
        environment = {**os.environ, "VITRINE_HOME": str(home), **named}
        self.socket = home / "run" / "ledger.sock"
        with (home.parent / "ledger.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gateway.ledger", "serve"], env=environment, stderr=log, stdout=log
            )

    def wait_ready(self) -> None:
        give_up = time.monotonic() + 60
        while True:
            probe = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            try:
                probe.connect(str(self.socket))
            except OSError:
                if self.process.poll() is not None or time.monotonic() > give_up:
                    raise SystemExit("the ledger did not start: see ledger.log") from None
                time.sleep(0.01)  # between two looks
            else:
                return
            finally:
                probe.close()

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)


# append


async def paced(path: Path, per_s: int, seconds: float) -> list[float]:
    """Exchanges at a fixed pace, whatever the ledger does: each send has its moment, and latency counts from it."""
    latencies: list[float] = []
    async with await LedgerClient.connect(path, PATIENT) as client:

        async def one(ask: Admit, due_s: float) -> None:
            receipt = await client.admit(ask)
            latencies.append(time.perf_counter() - due_s)
            if isinstance(receipt, Receipt):
                end = ending(receipt.id)
                sent_s = time.perf_counter()
                await client.complete(end)
                latencies.append(time.perf_counter() - sent_s)

        asks = [sample(number) for number in range(2048)]
        tasks: set[asyncio.Task[None]] = set()
        begin_s = time.perf_counter()
        number = 0
        # Moments are whole ticks: uvloop's timers have no finer step, and a sender that spins takes the ledger's core.
        for tick in range(1, round(seconds / TICK_S) + 1):
            due_s = begin_s + tick * TICK_S
            await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
            while number < tick * TICK_S * per_s / 2:  # an exchange is two records
                task = asyncio.create_task(one(asks[number % len(asks)], due_s))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
                number += 1
        await asyncio.gather(*tasks)
        took_s = time.perf_counter() - begin_s
    print(f"  {len(latencies):,} records in {took_s:.1f} s, {len(latencies) / took_s:,.0f}/s", file=sys.stderr)
    return [*latencies, took_s]


def append(folder: Path, seconds: float, per_s: int) -> list[BarRow]:
    import uvloop

    home = folder / "append"
    home.mkdir()
    ledger = Process(home)
    ledger.wait_ready()
    try:
        uvloop.run(paced(ledger.socket, per_s, 2))
        before_s = _cpu_s(ledger.process.pid)
        *latencies, took_s = uvloop.run(paced(ledger.socket, per_s, seconds))
        used_s = _cpu_s(ledger.process.pid) - before_s
    finally:
        ledger.stop()
    rate = len(latencies) / took_s
    cuts = statistics.quantiles((value * 1000 for value in latencies), n=1000)
    p50, p99, worst = cuts[499], cuts[989], max(latencies) * 1000
    return [
        BarRow(f"records a second for {seconds:.0f} s", f"{rate:,.0f}", "≥ 5,000", rate >= 4_990),
        BarRow("send to durable answer, p50", f"{p50:.2f} ms", "≤ 2 ms", p50 <= 2),
        BarRow("send to durable answer, p99", f"{p99:.2f} ms", "≤ 8 ms", p99 <= 8),
        BarRow("the slowest", f"{worst:.1f} ms", "", None),
        BarRow("CPU of the ledger process", f"{used_s / took_s * 100:.0f} % of a core", "", None),
    ]


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# verify and find


def build(folder: Path, records: int) -> tuple[LogLayout, Keyring]:
    """A log of whole exchanges in segments of 64 MiB, written without a socket."""
    layout, keyring = LogLayout(folder / "large" / "ledger"), Keyring(folder / "large" / "ledger-keys")
    found(layout, keyring, "bench.example/log")
    signer = keyring.signer()
    log = open_log(layout, signer, [], compressed=False).log
    digester = Digester(keyring.root(), keyring.secret_or_new, lambda time_ms: "2026-11")
    clock = LedgerClock()
    writer = RecordWriter(
        log, RecordIds(clock.wall_ms), digester, OpenExchanges(), RateLimits(), clock, "strict", LedgerCounters()
    )
    writer.own("boot", {"room": "bench"})
    now_s = int(time.time())
    for number in range(records // 2):
        receipt = writer.admit(sample(number), 1, number)
        if isinstance(receipt, Receipt):
            writer.complete(ending(receipt.id), 1)
        if number % 2048 == 0:
            log.commit()
            log.sign(now_s)
            if log.segment.bytes > 64 << 20:
                writer.own("seal", {"segment": log.segment.number})
                log.commit()
                log.sign(now_s)
                first = log.segment.first
                closed = log.rotate()
                seal_segment(layout, closed, first, signer, compressed=False)
    log.commit()
    log.sign(now_s)
    log.close()
    return layout, keyring


def read(folder: Path, records: int, *, verifying: bool, finding: bool) -> list[BarRow]:
    layout, keyring = build(folder, records)
    rows = []
    verifier = keyring.verifier()
    if verifying:
        rate = max(_rate(lambda: verify(layout, verifier, [], lambda done, left: None).records) for _ in range(3))
        rows.append(BarRow(f"verify {records:,} records, one core", f"{rate:,.0f}/s", "≥ 150,000", rate >= 150_000))
    if finding:
        root = keyring.root()
        keys = {epoch: epoch_key(root, keyring.secret(epoch)) for epoch in keyring.epochs()}
        wanted = SearchTerms((hashlib.sha256(b"image %d" % (records // 4)).digest(),), "images")

        def look() -> int:
            hits = list(find(LogReader(layout, verifier), wanted, keys, lambda done: None))
            if len(hits) != 1:
                raise SystemExit(f"find gave {len(hits)} records instead of 1")
            return records

        rate = max(_rate(look) for _ in range(3))
        rows.append(
            BarRow(f"find --image in {records:,} records, two cores", f"{rate:,.0f}/s", "≥ 150,000", rate >= 150_000)
        )
    return rows


def _rate(work: Callable[[], int]) -> float:
    begin_s = time.perf_counter()
    done = work()
    return done / (time.perf_counter() - begin_s)


# kill


async def until_killed(ledger: Process, after_s: float) -> list[tuple[str, int, bytes]]:
    """Load until the ledger dies; what it acknowledged."""
    kept: list[tuple[str, int, bytes]] = []
    client = await LedgerClient.connect(ledger.socket, PATIENT)

    async def sender(number: int) -> None:
        while True:
            receipt = await client.admit(sample(number))
            if isinstance(receipt, Receipt):
                kept.append((receipt.id, receipt.index, receipt.leaf))
                ended = await client.complete(ending(receipt.id))
                kept.append((ended.id, ended.index, ended.leaf))

    senders = [asyncio.create_task(sender(number)) for number in range(64)]
    await asyncio.sleep(after_s)
    ledger.process.kill()
    await asyncio.gather(*senders, return_exceptions=True)
    await client.aclose()
    return kept


def kill(folder: Path, rounds: int) -> list[BarRow]:
    """`rounds` lives of one log, each ended by SIGKILL at another moment."""
    home = folder / "kill"
    home.mkdir()
    lost = acknowledged = 0
    for turn in range(rounds):
        ledger = Process(home, segment_bytes=str(256 << 10), sign_every_s="0.02")
        ledger.wait_ready()
        kept = asyncio.run(_killed(ledger, 0.05 + 0.013 * (turn % 20)))
        ledger.process.wait(30)
        verifier = Keyring(home / "ledger-keys").verifier()
        layout = LogLayout(home / "ledger")
        verify(layout, verifier, [home / "ledger-keys" / "head"], lambda done, left: None)
        reader = LogReader(layout, verifier)
        leaves = reader.leaves(0, reader.size)
        lost += sum(1 for _, index, leaf in kept if leaves[index * 32 : index * 32 + 32] != leaf)
        acknowledged += len(kept)
        print(f"\r  round {turn + 1}: {acknowledged:,} acknowledged, {lost} lost ", end="", file=sys.stderr)
    print(file=sys.stderr)
    what = f"of {acknowledged:,} acknowledged records lost in {rounds} rounds of kill -9"
    return [BarRow(what, str(lost), "0", lost == 0)]


async def _killed(ledger: Process, after_s: float) -> list[tuple[str, int, bytes]]:
    try:
        return await until_killed(ledger, after_s)
    except LedgerUnavailable:
        return []


def table(rows: list[BarRow]) -> str:
    cells = [("what", "measured", "bar", ""), *((row.what, row.measured, row.bar, _mark(row.held)) for row in rows)]
    widths = [max(len(line[at]) for line in cells) for at in range(4)]
    lines = [
        "| " + " | ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) + " |" for line in cells
    ]
    lines.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
    return "\n".join(lines)


def _mark(held: bool | None) -> str:
    return "" if held is None else "held" if held else "MISSED"


def main(
    parts: Annotated[list[str] | None, typer.Argument(help="append, verify, find, kill; default: all")] = None,
    seconds: float = 60,
    per_second: int = 5000,
    records: int = 500_000,
    rounds: int = 200,
    folder: Annotated[Path, typer.Option(help="On the disk to measure.")] = Path(),
) -> None:
    """Measure, print a table, end with 1 if a bar was missed."""
    chosen = set(parts or ["append", "verify", "find", "kill"])
    place = Path(tempfile.mkdtemp(prefix=".bench-ledger-", dir=folder))
    rows: list[BarRow] = []
    try:
        if "append" in chosen:
            rows += append(place, seconds, per_second)
        if chosen & {"verify", "find"}:
            rows += read(place, records, verifying="verify" in chosen, finding="find" in chosen)
        if "kill" in chosen:
            rows += kill(place, rounds)
    finally:
        shutil.rmtree(place)
    load = os.getloadavg()[0]
    typer.echo(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, load average at the end {load:.1f}\n")
    typer.echo(table(rows))
    if any(row.held is False for row in rows):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
