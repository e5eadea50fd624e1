"""Without a setting, pictures that decoders read differently are encoded anew by the gateway, and no others."""

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from PIL import Image as Picture

from gateway.images.reencoding import HIGH_PIXELS
from gateway.images.worker_pool import WorkerPool
from loadtest.phones import display_p3
from tests.gateway.door.bodies import body, image_part, picture, user
from tests.gateway.images.asking import ask, cmdline, processes
from tests.gateway.images.files import file
from tests.gateway.images.kinds import Kind, apart, kinds, on_white
from tests.gateway.images.test_sanitize import part_seen, seen
from tests.support.audit import Ledger
from tests.support.fake_engine import FakeEngine
from tests.support.gateway import Gateway

KINDS = list(kinds())
ANEW = [kind for kind in KINDS if kind.recode][::7]
UNTOUCHED = [kind for kind in KINDS if not kind.recode][::17]


@pytest.fixture(scope="module")
def refusing(home: Path, running_engine: FakeEngine, ledger: Ledger) -> Iterator[Gateway]:
    with Gateway(home, VITRINE_NORMALIZE="false") as running:
        yield running


@pytest.mark.parametrize("kind", UNTOUCHED, ids=lambda kind: kind.name)
def test_most_pictures_reach_the_engine_as_they_came(
    gateway: Gateway, engine: FakeEngine, ledger: Ledger, own_key: str, kind: Kind
) -> None:
    before = processes(gateway)
    answer = ask(gateway, own_key, kind.data, kind.type)
    assert answer.status == 200
    assert seen(engine)[1] == kind.data
    (record,) = ledger.records(kind="admit", id=answer.headers["x-audit-id"])
    assert "recoded" not in record["params"]
    assert processes(gateway) == before


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_phones_photo_reaches_the_engine_as_it_came(
    gateway: Gateway, engine: FakeEngine, own_key: str, orientation: int
) -> None:
    kind = next(
        kind
        for kind in KINDS
        if kind.name.startswith("JPEG, RGB") and "P3" in kind.name and (orientation == 1) != ("6" in kind.name)
    )
    assert display_p3() in kind.data
    assert ask(gateway, own_key, kind.data, kind.type).status == 200
    assert seen(engine)[1] == kind.data


@pytest.mark.parametrize("kind", ANEW, ids=lambda kind: kind.name)
def test_a_picture_that_is_read_differently_is_encoded_anew(
    gateway: Gateway, engine: FakeEngine, ledger: Ledger, own_key: str, kind: Kind
) -> None:
    answer = ask(gateway, own_key, kind.data, kind.type)
    assert answer.status == 200
    head, got, _ = seen(engine)
    assert head in ("data:image/png", "data:image/jpeg")
    assert apart(on_white(got), kind.looks) <= (6 if kind.lossy else 0)
    (record,) = ledger.records(kind="admit", id=answer.headers["x-audit-id"])
    (image,) = record["images"]
    assert (image["type"], image["bytes"]) == (kind.type, len(kind.data)), "the log names the client's own file"
    assert record["params"]["recoded"] == 1


def test_it_has_another_name_than_the_file_would_have_and_the_same_as_with_sanitize(
    gateway: Gateway, sanitizing: Gateway, engine: FakeEngine, own_key: str
) -> None:
    names = []
    for one, key in ((gateway, own_key), (sanitizing, own_key), (gateway, own_key)):
        assert ask(one, key, ANEW[0].data, ANEW[0].type, detail="high").status == 200
        names.append(part_seen(engine)["uuid"])
    assert len(set(names)) == 1


def test_one_of_many_images_is_encoded_anew_and_the_others_are_not(
    gateway: Gateway, engine: FakeEngine, own_key: str
) -> None:
    parts = [image_part(picture()), image_part(ANEW[0].data, ANEW[0].type), image_part(picture("JPEG"), "image/jpeg")]
    answer = gateway.request("POST", "/v1/chat/completions", key=own_key, body=body(user("a", *parts)))
    assert answer.status == 200
    got = [part["image_url"] for part in engine.bodies[-1]["messages"][0]["content"][1:]]
    assert [one == part["image_url"] for one, part in zip(got, parts, strict=True)] == [True, False, True]


def test_a_broken_one_is_refused_and_the_next_is_answered(gateway: Gateway, engine: FakeEngine, own_key: str) -> None:
    avif = bytearray(picture("AVIF", 300, 200))
    at = avif.rindex(b"mdat") + 4
    avif[at:] = bytes(len(avif) - at)
    answer = ask(gateway, own_key, bytes(avif), "image/avif")
    assert (answer.status, answer.error["code"]) == (400, "invalid_image")
    assert engine.bodies == []
    assert ask(gateway, own_key, ANEW[0].data, ANEW[0].type).status == 200


def test_it_waits_no_longer_than_it_may_and_is_then_told_to_ask_again(
    home: Path, engine: FakeEngine, ledger: Ledger
) -> None:
    with Gateway(home, VITRINE_SANITIZE_TIMEOUT_S="2") as hurried:
        key = hurried.create_key()
        assert ask(hurried, key, ANEW[0].data, ANEW[0].type).status == 200
        for process in processes(hurried):
            process.suspend()
        answer = ask(hurried, key, ANEW[0].data, ANEW[0].type)
        assert (answer.status, answer.error["code"], answer.headers["retry-after"]) == (503, "pictures_busy", "2")
        assert ask(hurried, key, picture()).status == 200
    assert len(engine.bodies) == 2


@pytest.mark.parametrize("kind", ANEW, ids=lambda kind: kind.name)
def test_where_nothing_may_be_encoded_anew_it_is_refused_with_what_to_send(
    refusing: Gateway, engine: FakeEngine, own_key: str, kind: Kind
) -> None:
    answer = ask(refusing, own_key, kind.data, kind.type)
    assert (answer.status, answer.error["code"]) == (400, "invalid_image")
    assert answer.error["param"] == "messages[0].content[1].image_url.url"
    assert "Save it as JPEG" in answer.error["message"]
    assert engine.bodies == []
    assert ask(refusing, own_key, picture()).status == 200
    assert processes(refusing) == []


@pytest.mark.process
async def test_an_avif_is_decoded_without_threads_since_the_process_may_start_none() -> None:
    """As root it may, and a test that runs as root would not notice otherwise."""
    pool = WorkerPool(1, 40_000_000, 60)
    pixels = random.Random(1).randbytes(1600 * 1200 * 3)
    data = file("AVIF", Picture.frombytes("RGB", (1600, 1200), pixels), speed=10)
    try:
        await pool.remake(picture("AVIF"), "image/avif", HIGH_PIXELS, key="a", decoding=1)
        children = psutil.Process().children()  # gateways of other tests are among them
        (worker,) = [one for one in children if any(word.endswith("reencode_worker.py") for word in cmdline(one))]
        most = worker.num_threads()
        work = asyncio.create_task(pool.remake(data, "image/avif", HIGH_PIXELS, key="a", decoding=1))
        while not work.done():
            most = max(most, worker.num_threads())
            await asyncio.sleep(0.002)
        assert await work
        assert most == 1
    finally:
        await pool.close()


@pytest.fixture
def own_key(gateway: Gateway) -> str:
    return gateway.create_key()
