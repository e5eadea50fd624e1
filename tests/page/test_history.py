"""The history: in this browser alone, pictures as blobs, opened, deleted, exported, wiped."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.page.reader import Reader, drawn
from tests.support.fake_engine import Behaviour, FakeEngine
from tests.support.gateway import Gateway

STORED = """async () => {
    const open = await new Promise((done, failed) => {
        const request = indexedDB.open("vitrine");
        request.onsuccess = () => done(request.result);
        request.onerror = failed;
    });
    const all = (store) => new Promise((done) => {
        const request = open.transaction(store).objectStore(store).getAll();
        request.onsuccess = () => done(request.result);
    });
    const pictures = await all("pictures");
    return {
        conversations: (await all("conversations")).map((one) => JSON.stringify(one)),
        pictures: pictures.map((one) => `${one.blob.constructor.name} ${one.blob.type}`),
    };
}"""


def stored(reader: Reader) -> dict[str, list[str]]:
    found: dict[str, list[str]] = reader.page.evaluate(STORED)
    return found


@pytest.fixture
def two(reader: Reader, engine: FakeEngine) -> Reader:
    """Someone with two conversations, the first with a picture."""
    reader.choose(drawn(32, 24))
    reader.whole(reader.ask("About a picture"))
    reader.page.get_by_role("button", name="New conversation").click()
    reader.whole(reader.ask("Without any"))
    expect(reader.page.locator("#history-list li")).to_have_count(2)
    return reader


def test_conversations_survive_a_reload_with_their_pictures_and_receipts(two: Reader, key: str) -> None:
    kept = stored(two)
    assert kept["pictures"] == ["Blob image/png"]
    assert not any("base64" in one for one in kept["conversations"])
    two.page.reload()
    expect(two.page.locator("#text")).to_be_visible()  # the key is kept for this tab
    two.page.locator("#history-list .open", has_text="About a picture").click()
    expect(two.questions.first.locator("img")).to_be_visible()
    assert (
        two.questions.first.locator("img").evaluate(
            "async (image) => { await image.decode(); return image.naturalWidth; }"
        )
        == 32
    )
    expect(two.answers.last.locator(".receipt-line")).to_contain_text("Recorded")
    two.whole(two.ask("And now?"))
    expect(two.answers).to_have_count(2)


def test_a_page_closed_in_the_middle_of_an_answer_keeps_the_question_and_offers_to_go_on(
    reader: Reader, engine: FakeEngine
) -> None:
    engine.behaviour = Behaviour.WAITS_FOR_LEAVE_AFTER_TWO_EVENTS
    expect(reader.ask("A long story")).to_contain_text("a small")
    reader.page.reload()
    engine.go_on.set()
    reader.page.locator("#history-list .open", has_text="A long story").click()
    expect(reader.answers.last.locator(".notice")).to_contain_text("The connection was lost")
    engine.behaviour = Behaviour.ANSWERS
    reader.answers.last.get_by_role("button", name="Ask again").last.click()
    expect(reader.whole().locator(".prose")).to_contain_text("red circle")


def test_another_callers_record_is_not_shown_to_whoever_signs_in_later(reader: Reader, gateway: Gateway) -> None:
    reader.whole(reader.ask("Mine"))
    reader.page.get_by_role("button", name="Sign out").click()
    reader.sign_in(gateway.create_key())
    reader.answers.last.locator(".verify").click()
    expect(reader.answers.last.locator(".verdict.part")).to_contain_text("only to the key that asked", timeout=15_000)


def test_one_conversation_is_deleted_with_its_pictures(two: Reader) -> None:
    entry = two.page.locator("#history-list li", has_text="About a picture")
    entry.hover()
    entry.get_by_role("button", name="Delete “About a picture”").click()
    expect(two.page.locator("#history-list li")).to_have_count(1)
    assert (len(stored(two)["conversations"]), stored(two)["pictures"]) == (1, [])
    expect(two.answers).to_have_count(1)  # the one that is open stays open


def test_everything_is_exported_as_one_file(two: Reader) -> None:
    with two.page.expect_download() as download:
        two.page.get_by_role("button", name="Export").click()
    assert download.value.suggested_filename.startswith("vitrine-")
    file: dict[str, Any] = json.loads(Path(download.value.path()).read_text())
    assert (file["format"], file["version"]) == ("vitrine-history", 1)
    texts = [turn["text"] for one in file["conversations"] for turn in one["turns"]]
    assert {"About a picture", "Without any", "a small red circle 左边"} <= set(texts)
    pictures = [one for entry in file["conversations"] for turn in entry["turns"] for one in turn.get("pictures", [])]
    head, _, data = pictures[0]["data"].partition(",")
    assert head == "data:image/png;base64"
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (32, 24)


def test_everything_is_wiped_after_a_second_thought(two: Reader) -> None:
    two.page.get_by_role("button", name="Delete all").click()
    two.page.locator("#sure").get_by_role("button", name="Cancel").click()
    assert len(stored(two)["conversations"]) == 2
    two.page.get_by_role("button", name="Delete all").click()
    two.page.locator("#sure").get_by_role("button", name="Delete all").click()
    expect(two.page.locator("#history-list li")).to_have_count(0)
    assert stored(two) == {"conversations": [], "pictures": []}
    expect(two.answers).to_have_count(0)


def test_the_key_is_in_this_tab_alone_and_nothing_is_kept_on_the_server(
    two: Reader, gateway: Gateway, key: str
) -> None:
    assert two.page.evaluate("Object.values(sessionStorage)") == [key]
    assert key not in two.page.evaluate("JSON.stringify([Object.entries(localStorage), document.cookie])")
    assert two.page.context.cookies() == []
    kept = b"".join(path.read_bytes() for path in gateway.home.rglob("*") if path.is_file())
    assert b"About a picture" not in kept
    two.page.get_by_role("button", name="Sign out").click()
    expect(two.page.locator("#key")).to_be_focused()
    assert two.page.evaluate("Object.values(sessionStorage)") == []
