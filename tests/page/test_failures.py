"""Errors that people meet: each has a sentence in their language and a way out."""

import re
import threading
import urllib.request
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.page.cable import Cable
from tests.page.reader import Reader, drawn
from tests.support.deadline import until
from tests.support.fake_engine import Behaviour, FakeEngine
from tests.support.gateway import Gateway
from tests.support.process import run


@pytest.fixture
def cable(gateway: Gateway) -> Iterator[Cable]:
    with Cable(gateway.port) as cable:
        yield cable


@pytest.fixture
def chinese(browser: Browser, gateway: Gateway, engine: FakeEngine) -> Iterator[Reader]:
    """A visitor whose browser speaks Chinese."""
    context = browser.new_context(locale="zh-CN", base_url=gateway.url)
    reader = Reader(context)
    reader.open()
    yield reader
    reader.check()
    context.close()


def test_a_wrong_key_is_told_and_can_be_corrected(visitor: Reader, key: str) -> None:
    visitor.page.locator("#key").fill("vt_" + "x" * 43)
    visitor.page.locator("#key-submit").click()
    expect(visitor.page.get_by_role("alert")).to_contain_text("This key is not valid here")
    assert visitor.page.evaluate("sessionStorage.length") == 0
    visitor.sign_in(key)
    expect(visitor.page.locator("#examples")).to_be_visible()


def test_a_key_that_no_header_can_hold_is_refused_here(chinese: Reader) -> None:
    asked = len(chinese.asked)
    chinese.page.locator("#key").fill("我的密钥")
    chinese.page.locator("#key").press("Enter")
    expect(chinese.page.get_by_role("alert")).to_contain_text("这个密钥在这里无效")
    assert len(chinese.asked) == asked


def test_a_key_revoked_meanwhile_leads_to_sign_in_and_back_to_the_conversation(
    visitor: Reader, gateway: Gateway, key: str
) -> None:
    doomed, key_id = gateway.limited_key()
    visitor.sign_in(doomed)
    visitor.whole(visitor.ask("First"))
    revoked = run("gateway.keys", "revoke", key_id, env={"VITRINE_HOME": str(gateway.home)})
    assert revoked.returncode == 0
    answer = visitor.whole(visitor.ask("Second"))
    expect(answer.locator(".notice")).to_contain_text("This key is not valid here")
    answer.get_by_role("button", name="Sign in again").click()
    visitor.sign_in(key)
    expect(visitor.questions).to_have_count(2)
    visitor.answers.last.get_by_role("button", name="Edit").click()
    visitor.page.locator(".editing textarea").press("Enter")
    expect(visitor.whole().locator(".prose")).to_contain_text("red circle")


def test_over_the_limit_counts_down_and_then_lets_the_question_be_asked_again(
    visitor: Reader, gateway: Gateway
) -> None:
    limited, _ = gateway.limited_key("--requests-per-min", "1")
    visitor.page.clock.install()
    visitor.open()
    visitor.sign_in(limited)
    visitor.whole(visitor.ask("First"))
    answer = visitor.ask("Second")
    notice = visitor.whole(answer).locator(".notice")
    expect(notice).to_contain_text("You have reached your limit.")
    again = notice.get_by_role("button", name="Ask again")
    expect(again).to_be_disabled()
    seconds = re.compile(r"You can ask again in (\d+) s\.")
    expect(notice).to_contain_text(seconds)
    (before,) = map(int, seconds.findall(notice.inner_text()))
    visitor.page.clock.run_for(5_000)
    (after,) = map(int, seconds.findall(notice.inner_text()))
    assert 0 < after <= before - 4 <= 60
    visitor.page.clock.run_for(60_000)
    expect(again).to_be_enabled()
    expect(notice).to_contain_text("You can ask again now.")
    again.click()
    expect(visitor.questions).to_have_count(2)  # the same question, not one more


def test_a_question_that_can_never_fit_a_limit_is_not_offered_again(visitor: Reader, gateway: Gateway) -> None:
    limited, _ = gateway.limited_key("--tokens-per-min", "50")
    visitor.sign_in(limited)
    notice = visitor.whole(visitor.ask("Long")).locator(".notice")
    expect(notice).to_contain_text("This question alone is over your limit")
    expect(notice.get_by_role("button", name="Ask again")).to_have_count(0)
    notice.get_by_role("button", name="Edit").click()
    expect(visitor.page.locator(".editing textarea")).to_be_focused()


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"just text", "is not a picture that this browser can read"),
        (drawn(200, 200)[:90], "is not a picture that this browser can read"),
        (drawn(4, 400), "too small or too thin"),
        (drawn(2000, 10), "too small or too thin"),
    ],
    ids=["text", "cut", "small", "thin"],
)
def test_what_is_no_good_picture_is_refused_and_the_others_stay(reader: Reader, data: bytes, told: str) -> None:
    reader.choose(drawn(30, 30), data, drawn(40, 40))
    expect(reader.page.locator("#refused")).to_contain_text(told)
    expect(reader.page.locator("#refused")).to_contain_text("picture-1.png")
    expect(reader.page.locator("#chips .size")).to_have_count(2)
    reader.page.locator("#refused").get_by_role("button", name="Close").click()
    expect(reader.page.locator("#refused .notice")).to_have_count(0)


def test_too_many_and_too_large_pictures_are_refused(reader: Reader) -> None:
    reader.choose(*[drawn(10 + number, 10) for number in range(17)])
    expect(reader.page.locator("#chips .size")).to_have_count(16)
    expect(reader.page.locator("#refused")).to_contain_text("16 pictures at most")
    told = reader.page.evaluate(
        """async () => {
            const { takePicture } = await import("/static/app/pictures.js");
            const large = new File([new Uint8Array(101 * 1024 * 1024)], "large.png");
            return takePicture(large).catch((failure) => failure.kind);
        }"""
    )
    assert told == "too_large"


def test_a_busy_server_is_told_and_asked_again_later(reader: Reader, engine: FakeEngine, gateway: Gateway) -> None:
    other_key = gateway.create_key()
    engine.behaviour = Behaviour.WAITS_FOR_LEAVE
    others = [threading.Thread(target=gateway.chat, args=(other_key,)) for _ in range(2)]
    for other in others:
        other.start()
    until(lambda: len(engine.bodies) == 1, what="one at work")
    until(lambda: waiting(gateway) == 1, what="one waiting")
    notice = reader.whole(reader.ask("And me?")).locator(".notice")
    expect(notice).to_contain_text("The server is busy.")
    engine.go_on.set()
    for other in others:
        other.join(20)
    engine.behaviour = Behaviour.ANSWERS
    notice.get_by_role("button", name="Ask again").click(timeout=15_000)
    expect(reader.whole().locator(".prose")).to_contain_text("red circle")


def waiting(gateway: Gateway) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{gateway.metrics_port}/metrics", timeout=10) as answer:
        found = re.search(rb"^vitrine_queue_waiting\{[^}]*\} (\S+)", answer.read(), re.MULTILINE)
    return float(found[1]) if found else 0.0


def test_a_lost_connection_keeps_what_came_and_continue_goes_on(
    visitor: Reader, engine: FakeEngine, cable: Cable, key: str
) -> None:
    visitor.open(cable.url)
    visitor.sign_in(key)
    engine.behaviour = Behaviour.WAITS_FOR_LEAVE_AFTER_TWO_EVENTS
    answer = visitor.ask("Tell me.")
    expect(answer).to_contain_text("a small")
    cable.cut()
    expect(visitor.whole(answer).locator(".notice")).to_contain_text(
        "The connection was lost in the middle of the answer"
    )
    expect(answer.locator(".prose")).to_have_text("a small")
    engine.go_on.set()
    engine.behaviour, engine.script = Behaviour.ANSWERS, [{"content": "red circle."}]
    answer.get_by_role("button", name="Continue").click()
    expect(visitor.whole(answer).locator(".prose")).to_have_text("a small red circle.")
    expect(answer.locator(".receipt-line")).to_have_count(2)  # two exchanges, two receipts
    messages = engine.bodies[-1]["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant", "user"]
    assert messages[1]["content"] == "a small "
    assert "Go on" in messages[2]["content"]
    visitor.page.evaluate("localStorage.clear()")


def test_an_answer_that_breaks_off_is_told_in_chinese_too(chinese: Reader, engine: FakeEngine, key: str) -> None:
    chinese.sign_in(key)
    engine.behaviour = Behaviour.CUTS_AFTER_TWO_EVENTS
    answer = chinese.whole(chinese.ask("请描述"))
    expect(answer.locator(".notice")).to_contain_text("回答中断了，已收到的内容保留在上面。")
    engine.behaviour = Behaviour.ANSWERS
    answer.get_by_role("button", name="继续").click()
    expect(chinese.whole(answer).locator(".prose")).to_contain_text("左边")
    assert "接着写" in engine.bodies[-1]["messages"][-1]["content"]


def test_an_engine_that_fails_at_once_offers_to_ask_again(reader: Reader, engine: FakeEngine) -> None:
    engine.behaviour = Behaviour.FAILS_WITH_500
    notice = reader.whole(reader.ask("Hello")).locator(".notice")
    expect(notice).to_contain_text("The model failed before an answer came.")
    expect(notice.get_by_role("button", name="Continue")).to_have_count(0)
    assert FakeEngine.SECRET not in reader.page.content()
    engine.behaviour = Behaviour.ANSWERS
    notice.get_by_role("button", name="Ask again").click()
    expect(reader.whole().locator(".prose")).to_contain_text("red circle")


def test_an_answer_at_its_longest_length_can_go_on(reader: Reader, engine: FakeEngine) -> None:
    engine.finish = "length"
    answer = reader.whole(reader.ask("Tell me all."))
    expect(answer.locator(".notice")).to_contain_text("The answer reached its longest length.")
    engine.finish, engine.script = "stop", [{"content": " The end."}]
    answer.get_by_role("button", name="Continue").click()
    expect(reader.whole(answer).locator(".prose")).to_contain_text("The end.")
    expect(answer.locator(".notice")).to_have_count(0)


def test_a_conversation_that_is_too_long_leads_to_a_new_one(reader: Reader, engine: FakeEngine) -> None:
    engine.behaviour = Behaviour.REFUSES_THE_LENGTH
    notice = reader.whole(reader.ask("Very long")).locator(".notice")
    expect(notice).to_contain_text("longer than the model can read")
    notice.get_by_role("button", name="New conversation").click()
    expect(reader.questions).to_have_count(0)


def test_a_control_token_is_explained_and_can_be_edited_away(reader: Reader) -> None:
    answer = reader.whole(reader.ask("What does <|user|> mean?"))
    expect(answer.locator(".notice")).to_contain_text("Put a space inside it.")
    answer.get_by_role("button", name="Edit").click()
    reader.page.locator(".editing textarea").fill("What does < |user|> mean?")
    reader.page.locator(".editing textarea").press("Enter")
    expect(reader.whole().locator(".prose")).to_contain_text("red circle")


def test_while_the_engine_loads_its_progress_is_shown_and_the_question_waits(
    reader: Reader, engine: FakeEngine
) -> None:
    engine.say("loading", "loading the model, 30 s so far")
    try:
        until(lambda: reader.page.request.get("/readyz").status == 503, what="not ready")
        notice = reader.whole(reader.ask("Hello")).locator(".notice")
        expect(notice).to_contain_text("The model is still loading.")
        expect(reader.page.locator("#readiness")).to_contain_text("loading the model, 30 s so far")
        expect(reader.page.locator("#readiness progress")).to_be_visible()
        again = notice.get_by_role("button", name="Ask again")
        expect(again).to_be_disabled()
        engine.say("loading", "warming up")
        expect(reader.page.locator("#readiness")).to_contain_text("warming up", timeout=10_000)
    finally:
        engine.say("ready")
    expect(again).to_be_enabled(timeout=10_000)
    expect(reader.page.locator("#readiness")).to_be_empty()
    again.click()
    expect(reader.whole().locator(".prose")).to_contain_text("red circle")


def test_a_server_that_is_away_is_told(visitor: Reader, cable: Cable, key: str) -> None:
    visitor.open(cable.url)
    visitor.sign_in(key)
    cable.__exit__()
    answer = visitor.whole(visitor.ask("Anybody there?"))
    expect(answer.locator(".notice")).to_contain_text("The server can't be reached")
    expect(answer.get_by_role("button", name="Ask again")).to_be_enabled()


def test_too_many_bad_keys_count_down(visitor: Reader, gateway: Gateway, key: str) -> None:
    """The last here: from now on bad keys of this address are answered so, for a minute."""
    until(lambda: gateway.request("GET", "/v1/models", key="vt_bad").status == 429, what="the brake")
    visitor.page.locator("#key").fill("vt_bad")
    visitor.page.locator("#key-submit").click()
    expect(visitor.page.get_by_role("alert")).to_contain_text("Too many keys that are not valid")
    expect(visitor.page.locator("#key-error")).to_contain_text(re.compile(r"again in \d+ s"))
    expect(visitor.page.locator("#key-submit")).to_be_disabled()
