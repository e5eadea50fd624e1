"""Asking about pictures: what people do at the page, and what reaches the engine for it."""

import base64
import io
import json
import time
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import BrowserContext, FilePayload, expect

from tests.page.reader import Reader, drawn
from tests.support.deadline import until
from tests.support.fake_engine import Behaviour, FakeEngine

ANSWER = "a small red circle 左边"
MOST_PIXELS = 4_816_896  # docs/api.md


def last_message(engine: FakeEngine) -> Any:
    return engine.bodies[-1]["messages"][-1]["content"]


def sent_pictures(engine: FakeEngine) -> list[bytes]:
    """The files that the engine got with the last question."""
    urls = [part["image_url"]["url"] for part in last_message(engine) if part["type"] == "image_url"]
    return [base64.b64decode(url.partition(",")[2]) for url in urls]


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def test_a_picture_is_chosen_and_asked_about_and_the_answer_streams_in(reader: Reader, engine: FakeEngine) -> None:
    engine.behaviour = Behaviour.WAITS_FOR_LEAVE_AFTER_TWO_EVENTS
    reader.choose(drawn(60, 40))
    expect(reader.page.locator("#chips")).to_contain_text("60 × 40")
    answer = reader.ask("What is this?")
    expect(answer).to_contain_text("a small")
    expect(answer).to_have_attribute("aria-busy", "true")
    engine.go_on.set()
    expect(reader.whole(answer).locator(".prose")).to_have_text(ANSWER)
    assert last_message(engine)[-1] == {"type": "text", "text": "What is this?"}
    (picture,) = sent_pictures(engine)
    assert opened(picture).size == (60, 40)
    assert opened(picture).convert("RGB").getpixel((5, 5)) == (0xD0, 0x20, 0x20)
    expect(reader.questions.last.locator("figcaption")).to_have_text("60 × 40")


def test_several_pictures_go_in_order_and_one_can_be_removed(reader: Reader, engine: FakeEngine) -> None:
    reader.choose(drawn(20, 20), drawn(30, 30), drawn(40, 40))
    expect(reader.page.locator("#chips li")).to_have_count(3)
    reader.page.get_by_role("button", name="Remove picture-1.png").click()
    reader.ask("Compare them.")
    reader.whole()
    assert [opened(data).size for data in sent_pictures(engine)] == [(20, 20), (40, 40)]


DROP = """([kind, data]) => {
    const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
    const files = new DataTransfer();
    files.items.add(new File([bytes], "given.png", {type: "image/png"}));
    const event = kind === "paste"
        ? new ClipboardEvent("paste", {clipboardData: files, bubbles: true, cancelable: true})
        : new DragEvent(kind, {dataTransfer: files, bubbles: true, cancelable: true});
    document.querySelector("main").dispatchEvent(event);
}"""


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_a_picture_is_dropped_or_pasted(reader: Reader, engine: FakeEngine, kind: str) -> None:
    data = base64.b64encode(drawn(50, 30)).decode()
    if kind == "drop":
        reader.page.evaluate(DROP, ["dragover", data])
        expect(reader.page.locator("#veil")).to_be_visible()
    reader.page.evaluate(DROP, [kind, data])
    expect(reader.page.locator("#veil")).to_be_hidden()
    expect(reader.page.locator("#chips")).to_contain_text("50 × 30")
    reader.page.locator("#text").press("Enter")  # a picture may be asked about without words
    reader.whole()
    assert [opened(picture).size for picture in sent_pictures(engine)] == [(50, 30)]


def test_a_question_sent_before_its_picture_is_ready_waits_for_it(reader: Reader, engine: FakeEngine) -> None:
    slow = "const real = createImageBitmap; createImageBitmap = async (...all) => { await window.slow; return real(...all); };"
    reader.page.evaluate(f"() => {{ window.slow = new Promise((done) => {{ window.goOn = done; }}); {slow} }}")
    reader.choose(drawn(33, 33))
    reader.ask("Waiting?")
    expect(reader.page.locator("#chips .preparing")).to_be_visible()
    expect(reader.answers).to_have_count(0)
    reader.page.evaluate("window.goOn()")
    reader.whole()
    assert [opened(data).size for data in sent_pictures(engine)] == [(33, 33)]


def test_a_phone_offers_its_camera(context: BrowserContext, reader: Reader) -> None:
    camera = reader.page.locator("#camera")
    assert camera.get_attribute("capture") == "environment"
    expect(reader.page.locator("#photograph")).to_be_hidden()
    session = context.new_cdp_session(reader.page)
    session.send("Emulation.setTouchEmulationEnabled", {"enabled": True})
    session.send("Emulation.setEmulatedMedia", {"features": [{"name": "pointer", "value": "coarse"}]})
    session.send("Emulation.setEmitTouchEventsForMouse", {"enabled": True, "configuration": "mobile"})
    reader.page.set_viewport_size({"width": 390, "height": 800})
    camera.set_input_files(FilePayload(name="photo.jpg", mimeType="image/jpeg", buffer=drawn(80, 60, kind="JPEG")))
    expect(reader.page.locator("#chips")).to_contain_text("80 × 60")


def test_a_photo_is_turned_upright_shrunk_and_loses_its_metadata(reader: Reader, engine: FakeEngine) -> None:
    photo = Image.new("RGB", (4000, 2400), "#3060d0")
    photo.paste("#f0d020", (0, 0, 800, 2400))  # what is left in the file is at the top once it stands upright
    exif = photo.getexif()
    exif[0x0112] = 6  # lies on its side
    exif[0x010F] = "SECRET-CAMERA"
    file = io.BytesIO()
    photo.save(file, "JPEG", exif=exif)
    assert b"SECRET-CAMERA" in file.getvalue()
    reader.choose(file.getvalue(), kind="image/jpeg")
    expect(reader.page.locator("#chips")).to_contain_text("from 2400 × 4000")
    reader.ask("What is this?")
    reader.whole()
    (sent,) = sent_pictures(engine)
    seen = opened(sent)
    assert (seen.format, b"SECRET-CAMERA" in sent, dict(seen.getexif())) == ("JPEG", False, {})
    assert MOST_PIXELS * 0.99 < seen.width * seen.height <= MOST_PIXELS
    assert seen.height > seen.width
    top, bottom = (seen.convert("RGB").getpixel((seen.width // 2, y)) for y in (50, seen.height - 50))
    assert isinstance(top, tuple)
    assert isinstance(bottom, tuple)
    assert top[0] > 200 > bottom[0]


def test_shift_enter_starts_a_line_and_enter_while_a_word_is_composed_does_not_send(
    reader: Reader, engine: FakeEngine
) -> None:
    text = reader.page.locator("#text")
    text.fill("one")
    text.press("Shift+Enter")
    text.press_sequentially("two")
    composing = "key: 'Enter', bubbles: true, cancelable: true, isComposing: true"
    text.evaluate(f"(area) => area.dispatchEvent(new KeyboardEvent('keydown', {{{composing}}}))")
    assert text.input_value() == "one\ntwo"
    text.press("Enter")
    reader.whole()
    assert last_message(engine) == "one\ntwo"


def test_a_running_answer_is_stopped_and_the_engine_with_it(reader: Reader, engine: FakeEngine) -> None:
    engine.behaviour = Behaviour.WAITS_FOR_LEAVE_AFTER_TWO_EVENTS
    answer = reader.ask("Tell me a lot.")
    expect(answer).to_contain_text("a small")
    reader.page.get_by_role("button", name="Stop").click()
    expect(reader.whole(answer)).to_contain_text("Stopped.")
    engine.wait_until_left(1)
    engine.behaviour = Behaviour.ANSWERS
    reader.ask("And now?")
    expect(reader.whole().locator(".prose")).to_have_text(ANSWER)


def test_a_question_is_asked_again_and_then_edited(reader: Reader, engine: FakeEngine) -> None:
    reader.choose(drawn(24, 24))
    reader.ask("What colour?")
    reader.whole().get_by_role("button", name="Ask again").click()
    until(lambda: len(engine.bodies) == 2, what="asked again")
    reader.whole()
    assert engine.bodies[0]["messages"] == engine.bodies[1]["messages"]
    reader.ask("Second question")
    reader.whole()
    first = reader.questions.first
    first.get_by_role("button", name="Edit").click()
    first.locator("textarea").fill("What shape?")
    first.locator("textarea").press("Enter")
    until(lambda: len(engine.bodies) == 4, what="asked once more")
    reader.whole()
    expect(reader.questions).to_have_count(1)  # what came after the changed question is gone
    assert last_message(engine)[-1]["text"] == "What shape?"
    assert len(sent_pictures(engine)) == 1


def test_several_turns_are_one_conversation(reader: Reader, engine: FakeEngine) -> None:
    reader.choose(drawn(24, 24))
    reader.ask("First?")
    reader.whole()
    reader.ask("Second?")
    reader.whole()
    roles = [(message["role"], type(message["content"]).__name__) for message in engine.bodies[-1]["messages"]]
    assert roles == [("user", "list"), ("assistant", "str"), ("user", "str")]
    assert engine.bodies[-1]["messages"][1]["content"] == ANSWER


def test_answers_and_code_are_copied(context: BrowserContext, reader: Reader, engine: FakeEngine) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    engine.script = [{"content": "Run it:\n\n```python\nprint('<b>')\n```\n"}]
    answer = reader.whole(reader.ask("Code, please."))
    expect(answer.locator(".code-head")).to_contain_text("python")
    answer.get_by_role("button", name="Copy code").click()
    expect(answer.locator(".code-head")).to_contain_text("Copied")
    assert reader.page.evaluate("navigator.clipboard.readText()") == "print('<b>')\n"
    answer.get_by_role("button", name="Copy", exact=True).click()
    expect(answer.get_by_role("button", name="Copied").last).to_be_visible()
    assert reader.page.evaluate("navigator.clipboard.readText()").startswith("Run it:")


def test_markdown_tables_and_formulas_are_set(reader: Reader, engine: FakeEngine) -> None:
    text = "## Head\n\n| a | b |\n|---|--:|\n| $x^2$ | $5 and $6 |\n\n$$\\frac{1}{2}$$\n\n- **bold**\n\n\\(y_1\\) [link](https://example.org)"
    engine.script = [{"content": piece} for piece in text]
    prose = reader.whole(reader.ask("Markdown, please.")).locator(".prose")
    expect(prose.locator("h2")).to_have_text("Head")
    expect(prose.locator("td").nth(1)).to_have_text("$5 and $6")
    assert prose.locator("td").nth(1).evaluate("(cell) => getComputedStyle(cell).textAlign") == "end"
    expect(prose.locator("math")).to_have_count(3)
    expect(prose.locator("math mfrac")).to_have_count(1)
    expect(prose.locator("li strong")).to_have_text("bold")
    link = prose.locator("a")
    assert (link.get_attribute("target"), link.get_attribute("rel")) == ("_blank", "noopener noreferrer nofollow")


def test_thinking_is_asked_for_in_the_drawer_and_shown_folded(reader: Reader, engine: FakeEngine) -> None:
    engine.script = [{"reasoning": "It is "}, {"reasoning": "red."}, {"content": "Red."}]
    reader.page.get_by_role("button", name="Settings").click()
    reader.page.get_by_role("switch", name="Let the model think first").check()
    reader.page.get_by_label("Temperature").fill("0.3")
    reader.page.get_by_label("Longest answer").fill("77")
    reader.page.get_by_label("Model", exact=True).select_option("glm-4v-fake")
    reader.page.keyboard.press("Escape")
    answer = reader.whole(reader.ask("Colour?"))
    body = engine.bodies[-1]
    assert (body["temperature"], body["model"]) == (0.3, "glm-4v-fake")
    assert (body.get("max_tokens") or body.get("max_completion_tokens")) == 77
    assert body["chat_template_kwargs"] == {"enable_thinking": True}
    expect(answer.locator(".thought")).to_be_hidden()
    answer.locator(".thinking summary").click()
    expect(answer.locator(".thought")).to_have_text("It is red.")
    expect(answer.locator(".prose")).to_have_text("Red.")


def test_boxes_are_drawn_on_the_picture_with_their_labels(reader: Reader, engine: FakeEngine) -> None:
    text = (
        "The circle <|begin_of_box|>[[75,335,400,665]]<|end_of_box|> and two more: "
        "<|begin_of_box|>[[500,0,1000,500],[0,0,100,100]]<|end_of_box|>"
    )
    engine.script = [{"content": piece} for piece in text]
    reader.choose(drawn(400, 200))
    answer = reader.whole(reader.ask("Locate them."))
    expect(answer.locator(".box-mark")).to_have_text(["1", "2", "3"])
    boxes = answer.locator(".box")
    expect(boxes.locator(".box-label")).to_have_text(["1 The circle", "2", "3"])
    picture, first = answer.locator(".stage img").bounding_box(), boxes.first.bounding_box()
    assert picture
    assert first
    share = [
        (first["x"] - picture["x"]) / picture["width"],
        (first["y"] - picture["y"]) / picture["height"],
        first["width"] / picture["width"],
        first["height"] / picture["height"],
    ]
    assert share == pytest.approx([0.075, 0.335, 0.325, 0.33], abs=0.01)
    expect(answer).not_to_contain_text("begin_of_box")
    expect(answer.locator("figcaption li").first).to_have_text("Box 1: The circle from 75, 335 to 400, 665 of 1000")
    reader.ask("Thanks")
    reader.whole()
    assert engine.bodies[-1]["messages"][1]["content"] == text  # the model sees what it wrote


def test_boxes_among_several_pictures_can_be_shown_on_each(reader: Reader, engine: FakeEngine) -> None:
    engine.script = [{"content": '<|begin_of_box|>[{"bbox_2d": [100, 100, 300, 300], "label": "cat"}]<|end_of_box|>'}]
    reader.choose(drawn(40, 40), drawn(80, 40))
    answer = reader.whole(reader.ask("Where is the cat?"))
    expect(answer.locator(".box-label")).to_have_text("1 cat")
    answer.get_by_role("button", name="picture-1.png").click()
    expect(answer.locator(".stage img")).to_have_attribute("width", "80")


def test_a_final_word_between_box_marks_is_no_box(reader: Reader, engine: FakeEngine) -> None:
    engine.script = [{"content": "The sum is <|begin_of_box|>27.90<|end_of_box|>."}]
    answer = reader.whole(reader.ask("The sum?"))
    expect(answer.locator(".prose strong")).to_have_text("27.90")
    expect(answer.locator(".box")).to_have_count(0)


def test_tool_calls_are_shown(reader: Reader, engine: FakeEngine) -> None:
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    reader.page.get_by_role("button", name="Settings").click()
    reader.page.get_by_label("Tools (JSON)").fill("no list")
    expect(reader.page.get_by_text("This is no list in JSON.")).to_be_visible()
    reader.page.get_by_label("Tools (JSON)").fill(json.dumps([tool]))
    reader.page.keyboard.press("Escape")
    engine.script = [
        {
            "tool_calls": [
                {"index": 0, "id": "call-1", "type": "function", "function": {"name": "weather", "arguments": '{"ci'}}
            ]
        },
        {"tool_calls": [{"index": 0, "function": {"arguments": 'ty": "Jinan"}'}}]},
    ]
    answer = reader.whole(reader.ask("Weather?"))
    expect(answer.locator(".call p")).to_contain_text("weather")
    expect(answer.locator(".call pre")).to_contain_text('"city": "Jinan"')
    assert engine.bodies[-1]["tools"][0]["function"]["name"] == "weather"
    reader.ask("Go on")
    reader.whole()
    assert engine.bodies[-1]["messages"][1]["content"] == 'weather({"city": "Jinan"})'


def test_an_example_is_one_click_away(reader: Reader, engine: FakeEngine) -> None:
    expect(reader.page.locator(".example")).to_have_count(3)
    reader.page.locator(".example").first.click()
    reader.whole()
    assert len(sent_pictures(engine)) == 1
    assert last_message(engine)[-1]["text"].startswith("Read this chart")


def test_an_answer_of_many_events_does_not_stall_the_page(reader: Reader, engine: FakeEngine) -> None:
    engine.script = [{"content": "word " if number % 20 != 19 else "word\n\n"} for number in range(4000)]
    before_s = time.monotonic()
    answer = reader.ask("Much.")
    expect(reader.whole(answer).locator(".prose p")).to_have_count(200)
    assert time.monotonic() - before_s < 10  # it took minutes when each event was drawn


def test_events_are_read_however_the_bytes_are_cut(reader: Reader) -> None:
    stream = ': hello\n\ndata: {"a":"左"}\r\n\r\ndata:one\ndata: two\n\nid: 3\n\ndata: [DONE]\n\n'
    found = reader.page.evaluate(
        """async (stream) => {
            const { EventReader } = await import("/static/app/events.js");
            const bytes = new TextEncoder().encode(stream);
            const seen = new Set();
            for (let first = 0; first <= bytes.length; first++) {
                for (let second = first; second <= bytes.length; second++) {
                    const events = new EventReader();
                    const parts = [bytes.slice(0, first), bytes.slice(first, second), bytes.slice(second)];
                    seen.add(JSON.stringify(parts.flatMap((part) => events.feed(part))));
                }
            }
            return [...seen];
        }""",
        stream,
    )
    assert [json.loads(events) for events in found] == [['{"a":"左"}', "one\ntwo", "[DONE]"]]
