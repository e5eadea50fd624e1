"""The tree against RFC 6962: published vectors, an independent implementation, and every proof mutated."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymerkle import InmemoryTree

from gateway.ledger.format.merkle import (
    EMPTY_ROOT,
    Frontier,
    NodeAt,
    ProofError,
    check_consistency,
    check_inclusion,
    full_root,
    leaf_hash,
    node_hash,
    prove_consistency,
    prove_inclusion,
    root_of,
    subtrees,
)
from gateway.ledger.storage.tree import LeafRuns, StoredTree, split
from tests.support.examples import examples

# The reference inputs and roots of the certificate-transparency project's tests for RFC 6962.
VECTORS = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    bytes.fromhex(text)
    for text in (
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    )
]
# Consistency proofs of the same tests: (old size, new size, steps).
CONSISTENCY = [
    (1, 1, []),
    (
        1,
        8,
        [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        6,
        8,
        [
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
]


def node_of(leaves: list[bytes]) -> NodeAt:
    return lambda level, index: full_root(leaves[index << level : (index + 1) << level])


def some_leaves(count: int) -> list[bytes]:
    return [leaf_hash(b"record %d" % number) for number in range(count)]


def test_the_empty_tree_has_the_hash_of_nothing() -> None:
    assert EMPTY_ROOT == sha256(b"").digest() == root_of([])


@pytest.mark.parametrize("size", range(1, 9))
def test_roots_are_those_of_the_published_vectors(size: int) -> None:
    assert root_of([leaf_hash(data) for data in VECTORS[:size]]) == ROOTS[size - 1]


@pytest.mark.parametrize(("old", "new", "steps"), CONSISTENCY)
def test_consistency_proofs_are_those_of_the_published_vectors(old: int, new: int, steps: list[str]) -> None:
    leaves = [leaf_hash(data) for data in VECTORS]
    proof = prove_consistency(old, new, node_of(leaves))
    assert [step.hex() for step in proof] == steps
    check_consistency(old, ROOTS[old - 1], new, ROOTS[new - 1], proof)


@given(st.integers(1, 300))
@settings(max_examples=examples(60), deadline=None)
def test_roots_are_those_of_an_independent_implementation(size: int) -> None:
    other = InmemoryTree(algorithm="sha256")
    entries = [b"record %d" % number for number in range(size)]
    for entry in entries:
        other.append_entry(entry)
    assert root_of([leaf_hash(entry) for entry in entries]) == other.get_root()


def test_every_inclusion_proof_of_every_small_tree_holds() -> None:
    leaves = some_leaves(40)
    for size in range(1, 41):
        root = root_of(leaves[:size])
        for index in range(size):
            check_inclusion(index, size, leaves[index], prove_inclusion(index, size, node_of(leaves)), root)


def test_every_consistency_proof_of_every_small_tree_holds() -> None:
    leaves = some_leaves(40)
    roots = [root_of(leaves[:size]) for size in range(41)]
    for new in range(41):
        for old in range(new + 1):
            check_consistency(old, roots[old], new, roots[new], prove_consistency(old, new, node_of(leaves)))


@given(st.data())
@settings(max_examples=examples(300), deadline=None)
def test_a_changed_inclusion_proof_never_holds(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 70))
    index = data.draw(st.integers(0, size - 1))
    leaves = some_leaves(size)
    path = prove_inclusion(index, size, node_of(leaves))
    changed = list(path)
    what = data.draw(st.sampled_from(["flip", "drop", "add", "swap", "index", "leaf"]))
    leaf, position = leaves[index], index
    if what == "flip" and changed:
        at = data.draw(st.integers(0, len(changed) - 1))
        byte = data.draw(st.integers(0, 31))
        changed[at] = changed[at][:byte] + bytes([changed[at][byte] ^ 1]) + changed[at][byte + 1 :]
    elif what == "drop" and changed:
        changed.pop(data.draw(st.integers(0, len(changed) - 1)))
    elif what == "add":
        changed.insert(data.draw(st.integers(0, len(changed))), leaf_hash(b"more"))
    elif what == "swap" and len(changed) > 1:
        changed.reverse()
    elif what == "index":
        position = data.draw(st.integers(0, 2 * size).filter(lambda other: other != index))
    else:
        leaf = leaf_hash(b"another record")
    if (changed, position, leaf) == (path, index, leaves[index]):
        return
    with pytest.raises(ProofError):
        check_inclusion(position, size, leaf, changed, root_of(leaves))


@given(st.integers(1, 60), st.integers(1, 60), st.data())
@settings(max_examples=examples(200), deadline=None)
def test_a_rewritten_past_has_no_consistency_proof(old: int, more: int, data: st.DataObject) -> None:
    new = old + more
    leaves = some_leaves(new)
    rewritten = list(leaves)
    rewritten[data.draw(st.integers(0, old - 1))] = leaf_hash(b"rewritten")
    for history in (leaves, rewritten):
        proof = prove_consistency(old, new, node_of(history))
        with pytest.raises(ProofError):
            check_consistency(old, root_of(leaves[:old]), new, root_of(rewritten), proof)


@given(st.integers(0, 2000), st.integers(0, 900))
@settings(max_examples=examples(30), deadline=None)
def test_the_stored_tree_gives_the_same_roots_as_the_growing_one(size: int, earlier: int) -> None:
    leaves = some_leaves(size)
    data = b"".join(leaves)
    runs = LeafRuns([])
    nodes = bytearray(runs.extend(leaves))
    tree = StoredTree(nodes, lambda first, end: data[first * 32 : end * 32])
    grown = Frontier()
    grown.extend(leaves)
    assert tree.root(size) == grown.root()
    assert tree.frontier(size).stack == grown.stack
    at = min(earlier, size)
    assert tree.root(at) == root_of(leaves[:at])
    assert split(data) == leaves


def test_subtrees_cover_a_range_without_gap_or_overlap() -> None:
    for first in range(33):
        for end in range(first, 65):
            at = first
            for level, index in subtrees(first, end):
                assert index << level == at
                at += 1 << level
            assert at == end


def test_a_node_is_not_a_leaf() -> None:
    left, right = leaf_hash(b"a"), leaf_hash(b"b")
    assert node_hash(left, right) != leaf_hash(left + right)
