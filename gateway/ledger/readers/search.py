"""Finding records by content, key, address or time, over two processes. Sees a content's SHA-256 only.

Lines stay bytes until they match: the record's key is one HMAC over its id, the wanted digest a second, and whether a
line has it is a search for 64 characters.
"""

from __future__ import annotations

import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import orjson

from gateway.ledger.format.digest import PLAIN, keyed, record_key
from gateway.ledger.format.record import is_about
from gateway.ledger.readers.reader import LogReader, Segment, read_lines

PIECE_BYTES = 4 << 20
_ID = b'"id":"'
_EPOCH = b'"epoch":"'


@dataclass(frozen=True)
class SearchTerms:
    """All that is given must fit. `contents` are SHA-256s of which one must fit; `part` says where its digest may stand."""

    contents: tuple[bytes, ...] = ()
    part: str = "any"
    key: str | None = None
    ip: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None


@dataclass(frozen=True)
class SearchHit:
    """A record that fits: its index and its line."""

    index: int
    line: bytes


_Found = tuple[
    int, list[SearchHit], Counter[str]
]  # records looked at, hits, records of epochs that cannot be seen into


def find(
    reader: LogReader,
    wanted: SearchTerms,
    epoch_keys: dict[str, bytes],
    tell: Callable[[int], None],
    processes: int = 2,
    blind: Counter[str] | None = None,
) -> Iterator[SearchHit]:
    """Hits in the order of the log. `epoch_keys` opens the digests of those epochs; other epochs cannot match: `blind` counts
    their records, by epoch."""
    blind = Counter() if blind is None else blind
    pieces = _pieces(reader, wanted)
    search = partial(_search, wanted, epoch_keys)
    if processes == 1:
        yield from _told(map(search, pieces), tell, blind)
        return
    # Forked before any thread exists; the commands start none.
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        yield from _told(pool.imap(search, pieces), tell, blind)


def _told(results: Iterable[_Found], tell: Callable[[int], None], blind: Counter[str]) -> Iterator[SearchHit]:
    done = 0
    for looked, hits, unseen in results:
        blind.update(unseen)
        done += looked
        tell(done)
        yield from hits


def _pieces(reader: LogReader, wanted: SearchTerms) -> Iterator[tuple[int, bytes]]:
    """Runs of whole lines with the index of the first."""
    for segment in reader.segments:
        if not _may_have(segment, wanted):
            continue
        data = read_lines(reader.layout, segment.number, segment.seal, reader.verifier)
        if data is None:
            continue
        index, start = segment.first, 0
        end_of_all = data.rfind(b"\n") + 1
        while start < end_of_all:
            end = data.find(b"\n", min(start + PIECE_BYTES, end_of_all - 1)) + 1
            piece = data[start:end]
            yield index, piece
            index, start = index + piece.count(b"\n"), end


def _may_have(segment: Segment, wanted: SearchTerms) -> bool:
    # By the seal's times a segment is skipped only with a day to spare: the clock is data, not order.
    if segment.seal is None or wanted.since_ms is None:
        return True
    return segment.seal.to_ms >= wanted.since_ms - 86_400_000


def _search(wanted: SearchTerms, epoch_keys: dict[str, bytes], piece: tuple[int, bytes]) -> _Found:
    first, data = piece
    blind: Counter[str] = Counter()
    lines = data.split(b"\n")[:-1]
    if not wanted.contents:
        hits = [SearchHit(index, line) for index, line in enumerate(lines, first) if _fits(wanted, line)]
    else:
        hits = [
            SearchHit(index, line)
            for index, line in _with_content(wanted, epoch_keys, lines, first, blind)
            if _fits(wanted, line)
        ]
    return len(lines), hits, blind


def _with_content(
    wanted: SearchTerms, epoch_keys: dict[str, bytes], lines: list[bytes], first: int, blind: Counter[str]
) -> Iterator[tuple[int, bytes]]:
    """Lines that carry the digest of a wanted content, each under its own key."""
    marker = b'"images":[{' if wanted.part == "images" else b'"digest":"'
    plain = [content.hex().encode() for content in wanted.contents]
    epoch, key = b"", b""
    for index, line in enumerate(lines, first):
        if marker not in line:
            continue
        at = line.find(_EPOCH) + len(_EPOCH)
        named = line[at : line.find(b'"', at)]
        if named != epoch:
            epoch, key = named, epoch_keys.get(named.decode(), b"")
        if epoch == PLAIN.encode():
            digests = plain
        elif key:
            at = line.find(_ID) + len(_ID)
            record = record_key(key, line[at : at + 36].decode())
            digests = [keyed(record, content).encode() for content in wanted.contents]
        else:
            blind[named.decode()] += 1
            continue
        if any(digest in line and _in_part(line, wanted.part, digest.decode()) for digest in digests):
            yield index, line


def _in_part(line: bytes, part: str, digest: str) -> bool:
    fields = orjson.loads(line)
    if part == "images":
        return any(image["digest"] == digest for image in fields["images"])
    if part == "prompt":
        return any((fields.get(name) or {}).get("digest") == digest for name in ("prompt", "conversation"))
    if part == "answer":
        return bool((fields.get("answer") or {}).get("digest") == digest)
    return True


def _fits(wanted: SearchTerms, line: bytes) -> bool:
    # A cheap look at the bytes first; only what passes is taken apart.
    if wanted.key is not None and wanted.key.encode() not in line:
        return False
    if wanted.ip is not None and wanted.ip.encode() not in line:
        return False
    fields = orjson.loads(line)
    return (
        (wanted.key is None or is_about(wanted.key, fields))
        and (wanted.ip is None or fields.get("ip") == wanted.ip)
        and (wanted.since_ms is None or fields["time_ms"] >= wanted.since_ms)
        and (wanted.until_ms is None or fields["time_ms"] < wanted.until_ms)
    )
