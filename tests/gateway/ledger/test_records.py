"""Small parts: canonical lines, ids in order, keyed digests, roll-ups of floods."""

from __future__ import annotations

import hashlib
import json

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from gateway.ledger.format.digest import PLAIN, Digester, epoch_key, keyed, record_key
from gateway.ledger.format.record import MOST_LINE_BYTES, RecordError, Value, cap, decode, encode, is_canonical
from gateway.ledger.format.record_id import RecordIds, is_identity, time_ms
from gateway.ledger.service.refusal_rollup import MINUTE_MS, MOST_KEYS, SINGLE, RefusalWindows

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text("abcxyz", min_size=1, max_size=8), VALUES, max_size=6))
def test_a_record_is_one_ascii_line_and_comes_back_as_it_was(fields: dict[str, Value]) -> None:
    record: dict[str, Value] = {"id": "x", "kind": "admit", "time_ms": 1, "v": 1, **fields}
    if {name: type(record[name]) for name in ("id", "kind", "time_ms", "v")} != {
        "id": str,
        "kind": str,
        "time_ms": int,
        "v": int,
    }:
        return
    line = encode(record)
    assert line.isascii()
    assert not any(byte < 0x20 or byte == 0x7F for byte in line)
    assert decode(line) == json.loads(line) == record
    assert is_canonical(line)


def test_what_a_client_sends_cannot_steer_a_terminal_or_forge_a_line() -> None:
    line = encode({"id": "x", "kind": "admit", "model": '\x1b[2J\n"},{\x7f\u202e', "time_ms": 1, "v": 1})
    assert b"\n" not in line
    assert b"\x1b" not in line
    assert b"\x7f" not in line
    assert decode(line)["model"] == '\x1b[2J\n"},{\x7f\u202e'


def test_a_record_that_is_too_long_is_refused() -> None:
    with pytest.raises(RecordError):
        encode({"x": "a" * MOST_LINE_BYTES})


@pytest.mark.parametrize(
    "line", [b"", b"{}", b"[1]", b"\xff", b'{"id":1,"kind":"a","time_ms":1,"v":1}', b'{"kind":"a"}']
)
def test_what_is_not_a_record_is_not_read_as_one(line: bytes) -> None:
    with pytest.raises(RecordError):
        decode(line)


@pytest.mark.parametrize(
    "line",
    [
        b'{"id":"x","kind":"a","v":1,"time_ms":1}',
        b'{"id":"x", "kind":"a","time_ms":1,"v":1}',
        b'{"id":"x","kind":"a","kind":"a","time_ms":1,"v":1}',
        b'{"id":"\\u0078","kind":"a","time_ms":1,"v":1}',
    ],
)
def test_a_line_with_another_spelling_is_not_canonical(line: bytes) -> None:
    assert not is_canonical(line)


def test_a_cut_string_says_so() -> None:
    assert cap("a" * 300) == "a" * 255 + "…"
    assert cap("short") == "short"


@given(st.lists(st.integers(-5000, 5000), min_size=1, max_size=200))
def test_ids_rise_whatever_the_clock_does(steps: list[int]) -> None:
    clock = [1_795_000_000_000]
    ids = RecordIds(lambda: clock[0])
    made = []
    for step in steps:
        clock[0] += step
        made.append(ids.next())
    assert made == sorted(set(made))
    assert all(is_identity(identity) for identity in made)


def test_ids_go_on_behind_those_of_an_earlier_process() -> None:
    first = RecordIds(lambda: 2_000_000_000_000).next()
    later = RecordIds(lambda: 1_000_000_000_000, after=first).next()
    assert later > first
    assert time_ms(RecordIds(lambda: 1_795_000_000_123).next()) == 1_795_000_000_123


@pytest.mark.parametrize(
    "text", ["", "x" * 36, "01a206ea-f13f-469a-a616-48b66a509ec2", "01A206EA-F13F-769A-A616-48B66A509EC2"]
)
def test_what_is_no_id_of_ours_is_known_as_such(text: str) -> None:
    assert not is_identity(text)


def test_the_keys_are_those_of_rfc_5869() -> None:
    root, secret, identity = bytes(range(32)), bytes(range(32, 64)), "01a206ea-f13f-769a-a616-48b66a509ec2"
    whole = HKDF(SHA256(), 32, salt=secret, info=b"vitrine record key v1 " + identity.encode())
    assert record_key(epoch_key(root, secret), identity) == whole.derive(root)


def test_equal_contents_of_two_records_have_different_digests() -> None:
    digester = Digester(bytes(32), lambda epoch: epoch.encode().ljust(32), lambda at: "2026-11")
    content = hashlib.sha256(b"yes").digest()
    one, two = digester.open("id-1", 0), digester.open("id-2", 0)
    assert one.of(content) != two.of(content)
    assert one.of(content) == digester.open("id-1", 0).of(content) == digester.reopen("id-1", "2026-11").of(content)
    assert one.of(content) != content.hex()


def test_plain_digests_are_those_of_sha256sum() -> None:
    digests = Digester(None, lambda epoch: b"", lambda at: "2026-11").open("id", 0)
    assert digests.epoch == PLAIN
    assert digests.of(hashlib.sha256(b"test").digest()) == hashlib.sha256(b"test").hexdigest()


def test_another_root_key_gives_other_digests() -> None:
    content = bytes(32)
    keys = [record_key(epoch_key(root, bytes(32)), "id") for root in (bytes(32), b"\1" * 32)]
    assert keyed(keys[0], content) != keyed(keys[1], content)


def test_a_flood_rolls_up_and_nobody_elses_refusals_do() -> None:
    floods = RefusalWindows()
    single = [floods.count("a", "limit", f"id-{n}", n) for n in range(SINGLE)]
    rolled = [floods.count("a", "limit", f"more-{n}", 100 + n) for n in range(500)]
    assert set(single) == {None}
    assert set(rolled) == {"more-0"}
    assert floods.count("b", "limit", "b-0", 700) is None
    assert floods.due(MINUTE_MS - 1) == []
    ((address, flood),) = floods.due(MINUTE_MS + 700)
    assert (address, flood.rolled, flood.reasons["limit"], flood.from_ms, flood.to_ms) == ("a", 500, 500, 0, 599)
    assert floods.rolled == 0


def test_a_roll_up_knows_whom_it_was_about_and_keeps_few() -> None:
    floods = RefusalWindows()
    for number in range(SINGLE):
        floods.count("a", "wrong_password", f"id-{number}", number, "user_0")
    for number in range(300):
        floods.count("a", "wrong_password", f"more-{number}", 100, "user_1" if number % 3 else f"user_{number}")
    floods.count("a", "unknown key", "last", 100)
    ((_, flood),) = floods.due(MINUTE_MS)
    assert flood.keys["user_1"] == 200
    assert len(flood.keys) == MOST_KEYS + 1
    assert sum(flood.keys.values()) == flood.rolled - 1 == 300


def test_a_flood_of_addresses_does_not_fill_the_memory() -> None:
    floods = RefusalWindows()
    for number in range(30_000):
        floods.count(f"10.0.{number // 256}.{number % 256}", "x", f"id-{number}", 0)
    assert len(floods._by_address) == 10_001
