"""The log as tlog-tiles (C2SP), readable by Go's tools: checkpoint, tiles of hashes, bundles of entries. A copy."""

from __future__ import annotations

from pathlib import Path

from gateway.ledger.format.checkpoint import TreeHead
from gateway.ledger.format.merkle import NodeAt
from gateway.ledger.readers.reader import LogReader

WIDTH = 256
LEVEL_STEP = 8


def tile_path(level: str, index: int, width: int = WIDTH) -> str:
    """The path of a tile: three digits a folder, all but the last with an x; a partial one names its width."""
    parts = [f"{index % 1000:03d}"]
    while index >= 1000:
        index //= 1000
        parts.insert(0, f"x{index % 1000:03d}")
    partial = "" if width == WIDTH else f".p/{width}"
    return f"tile/{level}/{'/'.join(parts)}{partial}"


def write_tiles(reader: LogReader, head: TreeHead, checkpoint: str, to: Path) -> int:
    """Write the tree of `head` under a new folder; the number of files. Pruned entries are left out, tiles never."""
    files = 0
    level, nodes = 0, head.size
    while nodes:
        for index in range((nodes + WIDTH - 1) // WIDTH):
            width = min(WIDTH, nodes - index * WIDTH)
            data = _tile(reader.tree().node, level, index, width)
            _put(to / tile_path(str(level), index, width), data)
            files += 1
        level, nodes = level + 1, nodes // WIDTH
    files += _write_entries(reader, head.size, to)
    _put(to / "checkpoint", checkpoint.encode())  # last: it speaks for everything above
    return files + 1


def _tile(node: NodeAt, level: int, index: int, width: int) -> bytes:
    return b"".join(node(level * LEVEL_STEP, index * WIDTH + at) for at in range(width))


def _write_entries(reader: LogReader, size: int, to: Path) -> int:
    files, bundle, start = 0, b"", 0
    expected = 0
    for index, line in reader.lines():
        if index >= size:
            break
        if index != expected:
            bundle, start = b"", -(-index // WIDTH) * WIDTH  # after pruned records: on to the next whole bundle
        expected = index + 1
        if index < start:
            continue
        bundle += len(line).to_bytes(2, "big") + line
        width = index - start + 1
        if width == WIDTH or index == size - 1:
            _put(to / tile_path("entries", start // WIDTH, width), bundle)
            files, bundle, start = files + 1, b"", index + 1
    return files


def _put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
