"""Many mutated inputs in little time, with memory flat: FUZZ_INPUTS=1000000 for a long run, FUZZ_SEED for another one."""

import gc
import os
import random
from collections.abc import Callable

import psutil
import pytest

from tests.gateway.door.test_fuzz import originals, send, walk, whole

INPUTS = 4000
LONG_INPUTS = int(os.environ.get("FUZZ_INPUTS", "20000"))
SEED = int(os.environ.get("FUZZ_SEED", "1"))
# fmt: off
PIECES = (
    b'"', b"{", b"}", b"[", b"]", b",", b":", b"\\", b"\\u0000", b"null", b"true", b"-1", b"1e999", b"NaN", b'"role":',
    b'"system"', b"<|user|>", b"\\u003c|", b";base64,", b'"url":', b"\xff", b"\xf0\x9f", b"[" * 80,
)
# fmt: on


def mutated(data: bytes, chance: random.Random) -> bytes:
    """`data` with one to four edits: bits flipped, pieces put in, ranges cut, doubled or moved."""
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(data) + 1)
        end = min(len(data), at + chance.choice((1, 2, 4, 8, 64)))
        match chance.randrange(5):
            case 0 if at < len(data):
                data = data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]
            case 1:
                data = data[:at] + chance.choice(PIECES) + data[at:]
            case 2:
                data = data[:at] + data[end:]
            case 3:
                data = data[:end] + data[at:end] + data[end:]
            case _:
                data = data[:at] + chance.randbytes(chance.randint(1, 8)) + data[end:]
    return data


def a_body(chance: random.Random) -> object:
    return send(mutated(whole(), chance))


def a_picture(chance: random.Random) -> object:
    return walk(mutated(chance.choice(originals()), chance))


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("inputs", [INPUTS, pytest.param(LONG_INPUTS, marks=pytest.mark.long("many mutations"))])
@pytest.mark.parametrize("attempt", [a_body, a_picture])
def test_many_mutated_inputs_pass_clean_or_not_at_all_and_leave_nothing_behind(
    attempt: Callable[[random.Random], object], inputs: int
) -> None:
    chance = random.Random(SEED)
    process = psutil.Process()
    passed = sum(bool(attempt(chance)) for _ in range(inputs // 4))
    gc.collect()
    before = process.memory_info().rss
    passed += sum(bool(attempt(chance)) for _ in range(inputs - inputs // 4))
    gc.collect()
    assert process.memory_info().rss - before < 16 * 1024 * 1024
    # Some must get through, or the mutations only ever meet the first check.
    assert 0 < passed < inputs
