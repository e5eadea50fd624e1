"""The Merkle tree of RFC 6962 section 2.1: roots, inclusion and consistency. Pure; never touches a file.

A node is named by its level (0 = leaf) and its index in that level; only full subtrees have a name. Whoever holds the
hashes gives them through `NodeAt`, one function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256

HASH_BYTES = 32
EMPTY_ROOT = sha256(b"").digest()

NodeAt = Callable[[int, int], bytes]


class ProofError(ValueError):
    """A proof does not hold. Says nothing more: a verifier has one answer."""


def leaf_hash(data: bytes) -> bytes:
    """Hash of one leaf: SHA-256(0x00 || data), 32 bytes."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node: SHA-256(0x01 || left || right), 32 bytes."""
    return sha256(b"\x01" + left + right).digest()


def full_root(hashes: Sequence[bytes]) -> bytes:
    """Root of a full subtree: `hashes` must be a power of two long."""
    row = list(hashes)
    while len(row) > 1:
        row = [sha256(b"\x01" + left + right).digest() for left, right in zip(row[::2], row[1::2], strict=True)]
    return row[0]


class Frontier:
    """The right edge of a growing tree: one full subtree for each set bit of `size`, largest first."""

    __slots__ = ("size", "stack")

    def __init__(self, size: int = 0, stack: Iterable[bytes] = ()) -> None:
        self.size = size
        self.stack = list(stack)
        if len(self.stack) != size.bit_count():
            raise ValueError(f"a tree of {size} leaves has {size.bit_count()} full subtrees, not {len(self.stack)}")

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Append leaf hashes, in order."""
        stack, size = self.stack, self.size
        for leaf in leaves:
            bits = size
            while bits & 1:
                leaf = sha256(b"\x01" + stack.pop() + leaf).digest()
                bits >>= 1
            stack.append(leaf)
            size += 1
        self.size = size

    def root(self) -> bytes:
        """Root hash at the current size, 32 bytes."""
        if not self.stack:
            return EMPTY_ROOT
        root = self.stack[-1]
        for left in self.stack[-2::-1]:
            root = node_hash(left, root)
        return root

    def copy(self) -> Frontier:
        return Frontier(self.size, self.stack)


def root_of(leaves: Iterable[bytes]) -> bytes:
    """Root of a whole tree from its leaf hashes."""
    frontier = Frontier()
    frontier.extend(leaves)
    return frontier.root()


def subtrees(first: int, end: int) -> list[tuple[int, int]]:
    """Cover the leaves [first, end) with full subtrees, left to right, as (level, index)."""
    cover = []
    while first < end:
        level = min((first & -first).bit_length() - 1 if first else 64, (end - first).bit_length() - 1)
        cover.append((level, first >> level))
        first += 1 << level
    return cover


def range_hash(first: int, end: int, node: NodeAt) -> bytes:
    """MTH(D[first:end]) for a range that RFC 6962 names: `first` is a multiple of the range's top power of two."""
    hashes = [node(level, index) for level, index in subtrees(first, end)]
    root = hashes.pop()
    while hashes:
        root = node_hash(hashes.pop(), root)
    return root


def _split(size: int) -> int:
    """The largest power of two smaller than `size` (size > 1)."""
    return 1 << ((size - 1).bit_length() - 1)


def prove_inclusion(index: int, size: int, node: NodeAt) -> list[bytes]:
    """Audit path of leaf `index` in the tree of `size` leaves, from the leaf's sibling to the root's child."""
    if not 0 <= index < size:
        raise ValueError(f"leaf {index} is not in a tree of {size} leaves")
    path = []
    first, end = 0, size
    while end - first > 1:
        middle = first + _split(end - first)
        if index < middle:
            path.append(range_hash(middle, end, node))
            end = middle
        else:
            path.append(range_hash(first, middle, node))
            first = middle
    return path[::-1]


def check_inclusion(index: int, size: int, leaf: bytes, path: Sequence[bytes], root: bytes) -> None:
    """Raise ProofError unless `path` leads from `leaf` at `index` to `root` (RFC 9162 section 2.1.3.2)."""
    if not 0 <= index < size:
        raise ProofError("the proof does not hold")
    position, last, found = index, size - 1, leaf
    for step in path:
        if last == 0:
            raise ProofError("the proof does not hold")
        if position & 1 or position == last:
            found = node_hash(step, found)
            while position and not position & 1:
                position >>= 1
                last >>= 1
        else:
            found = node_hash(found, step)
        position >>= 1
        last >>= 1
    if last != 0 or found != root:
        raise ProofError("the proof does not hold")


def prove_consistency(old: int, new: int, node: NodeAt) -> list[bytes]:
    """Proof that the tree of `old` leaves is a prefix of the tree of `new` leaves (RFC 6962 section 2.1.2)."""
    if not 0 <= old <= new:
        raise ValueError(f"a tree of {old} leaves is not older than one of {new}")
    if old in (0, new):
        return []
    path = []
    first, end, whole = 0, new, True
    while end != old:
        middle = first + _split(end - first)
        if old <= middle:
            path.append(range_hash(middle, end, node))
            end = middle
        else:
            path.append(range_hash(first, middle, node))
            first, whole = middle, False
    if not whole:
        path.append(range_hash(first, end, node))
    return path[::-1]


def check_consistency(old: int, old_root: bytes, new: int, new_root: bytes, path: Sequence[bytes]) -> None:
    """Raise ProofError unless `path` shows that the old tree is a prefix of the new (RFC 9162 section 2.1.4.2)."""
    if not 0 <= old <= new:
        raise ProofError("the proof does not hold")
    if old == new or old == 0:
        if path or (old == new and old_root != new_root) or (old == 0 and old_root != EMPTY_ROOT):
            raise ProofError("the proof does not hold")
        return
    steps = list(path)
    if old & (old - 1) == 0:
        steps.insert(0, old_root)
    if not steps:
        raise ProofError("the proof does not hold")
    position, last = old - 1, new - 1
    while position & 1:
        position >>= 1
        last >>= 1
    then = now = steps[0]
    for step in steps[1:]:
        if last == 0:
            raise ProofError("the proof does not hold")
        if position & 1 or position == last:
            then, now = node_hash(step, then), node_hash(step, now)
            while position and not position & 1:
                position >>= 1
                last >>= 1
        else:
            now = node_hash(now, step)
        position >>= 1
        last >>= 1
    if last != 0 or then != old_root or now != new_root:
        raise ProofError("the proof does not hold")
