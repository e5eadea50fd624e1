"""The stored Merkle tree: level-8 nodes from one file, leaf hashes from the segments. Reads only."""

from __future__ import annotations

from collections.abc import Callable

from gateway.ledger.format.merkle import HASH_BYTES, Frontier, full_root, node_hash, range_hash, subtrees

RUN_LEVEL = 8
RUN = 1 << RUN_LEVEL  # leaves under one stored node

LeavesAt = Callable[[int, int], bytes]


class StoredTree:
    """Nodes on demand. `nodes` holds the root of each full run of 256 leaves and may grow; upper nodes are kept."""

    def __init__(self, nodes: bytearray, leaves: LeavesAt) -> None:
        self._nodes = nodes
        self._leaves = leaves
        self._upper: dict[tuple[int, int], bytes] = {}

    def node(self, level: int, index: int) -> bytes:
        """Hash of a full subtree; ValueError if the leaves are not there."""
        if level < RUN_LEVEL:
            data = self._leaves(index << level, (index + 1) << level)
            return full_root(split(data))
        if level == RUN_LEVEL:
            found = bytes(self._nodes[index * HASH_BYTES : (index + 1) * HASH_BYTES])
            if len(found) != HASH_BYTES:
                raise ValueError(f"no node for the leaves from {index * RUN}")
            return found
        kept = self._upper.get((level, index))
        if kept is None:
            kept = node_hash(self.node(level - 1, 2 * index), self.node(level - 1, 2 * index + 1))
            self._upper[level, index] = kept
        return kept

    def root(self, size: int) -> bytes:
        return range_hash(0, size, self.node) if size else Frontier().root()

    def frontier(self, size: int) -> Frontier:
        return Frontier(size, [self.node(level, index) for level, index in subtrees(0, size)])


def split(hashes: bytes) -> list[bytes]:
    """A run of concatenated hashes as a list."""
    return [hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES)]


class LeafRuns:
    """Collects leaf hashes and gives the root of each run of 256 as it becomes full."""

    def __init__(self, waiting: list[bytes]) -> None:
        self._waiting = waiting

    def extend(self, leaves: list[bytes]) -> bytes:
        """Roots of the runs that became full, concatenated."""
        self._waiting.extend(leaves)
        full = b""
        while len(self._waiting) >= RUN:
            full += full_root(self._waiting[:RUN])
            del self._waiting[:RUN]
        return full
