"""For everyone: both languages, both themes, every width, keyboard and screen reader."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.page.reader import Reader, drawn
from tests.support.fake_engine import Behaviour, FakeEngine
from tests.support.gateway import Gateway

WEB = Path(__file__).parents[2] / "gateway" / "web"
RICH = """## Head

| a | b |
|---|---|
| $x^2$ | `code` |

```python
print(1)
```

> quoted [link](https://example.org)

A circle <|begin_of_box|>[[75,335,400,665]]<|end_of_box|>
"""
LOOKS = [("light", "en-GB"), ("dark", "zh-CN")]


@pytest.fixture(params=LOOKS, ids=["light English", "dark Chinese"])
def looked(request: pytest.FixtureRequest, browser: Browser, gateway: Gateway, engine: FakeEngine) -> Iterator[Reader]:
    """A visitor with one theme and one language."""
    theme, locale = request.param
    context = browser.new_context(locale=locale, color_scheme=theme, base_url=gateway.url)
    reader = Reader(context)
    reader.open()
    yield reader
    reader.check()
    context.close()


def test_no_state_of_the_page_has_a_serious_fault_for_assistive_technology(
    looked: Reader, engine: FakeEngine, key: str
) -> None:
    page = looked.page
    faults: dict[str, list[str]] = {"signed out": looked.accessibility_faults()}
    looked.sign_in(key)
    faults["nothing asked"] = looked.accessibility_faults()
    engine.script = [
        {"reasoning": "Hm."},
        {"content": RICH},
        {"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": "{}"}}]},
    ]
    looked.choose(drawn(100, 80))
    expect(page.locator("#chips .size")).to_have_count(1)
    faults["picture chosen"] = looked.accessibility_faults()
    answer = looked.whole(looked.ask("?"))
    answer.locator(".thinking summary").click()
    answer.locator(".verify").click()
    expect(answer.locator(".verdict.good")).to_be_visible(timeout=10_000)
    faults["answered and verified"] = looked.accessibility_faults()
    engine.script, engine.behaviour = [], Behaviour.CUTS_AFTER_TWO_EVENTS
    looked.whole(looked.ask("?"))
    looked.choose(b"none")
    expect(page.locator("#refused .notice")).to_be_visible()
    looked.questions.last.locator(".tool").first.click()
    faults["broken off, a file refused, editing"] = looked.accessibility_faults()
    page.locator("#open-drawer").click()
    faults["drawer"] = looked.accessibility_faults()
    page.keyboard.press("Escape")
    page.locator("#wipe").click()
    faults["second thought"] = looked.accessibility_faults()
    page.keyboard.press("Escape")
    page.set_viewport_size({"width": 390, "height": 800})
    page.locator("#open-history").click()
    expect(page.locator("#close-history")).to_be_focused()
    faults["phone, conversations"] = looked.accessibility_faults()
    assert {state: found for state, found in faults.items() if found} == {}


def test_nothing_is_wider_than_the_page(reader: Reader, engine: FakeEngine) -> None:
    engine.script = [
        {"content": RICH + "x" * 500 + "\n\n```\n" + "y" * 500 + "\n```\n\n$$" + "+".join("abcdefgh" * 20) + "$$"}
    ]
    reader.choose(drawn(1200, 100))
    answer = reader.whole(reader.ask("z" * 300))
    answer.locator(".verify").click()
    expect(answer.locator(".verdict")).to_be_visible(timeout=10_000)
    for width in (320, 390, 768, 1100, 2000):
        reader.page.set_viewport_size({"width": width, "height": 800})
        wide = reader.page.evaluate(
            """() => [document.documentElement, document.getElementById("scroll")]
                .map((one) => one.scrollWidth - one.clientWidth)"""
        )
        assert wide == [0, 0], width


def test_the_language_is_the_browsers_until_it_is_switched_and_then_remembered(
    browser: Browser, gateway: Gateway
) -> None:
    context = browser.new_context(locale="zh-CN", base_url=gateway.url)
    reader = Reader(context)
    reader.open()
    expect(reader.page.locator("h1").first).to_have_text("登录")
    assert reader.page.evaluate("document.documentElement.lang") == "zh-CN"
    reader.page.locator("#switch-language").click()
    expect(reader.page.locator("h1").first).to_have_text("Sign in")
    reader.page.reload()
    expect(reader.page.locator("h1").first).to_have_text("Sign in")
    assert reader.page.evaluate("document.documentElement.lang") == "en"
    reader.check()
    context.close()


def test_switching_the_language_changes_a_conversation_that_is_open(reader: Reader) -> None:
    reader.choose(drawn(20, 20))
    reader.whole(reader.ask("What?"))
    reader.page.locator("#switch-language").click()
    expect(reader.answers.last.locator(".verify")).to_have_text("验证")
    expect(reader.answers.last.locator(".prose")).to_contain_text("red circle")
    expect(reader.page.locator("#text")).to_have_attribute("placeholder", "就图片提问……")


def test_the_theme_is_the_systems_until_it_is_switched_and_then_remembered(browser: Browser, gateway: Gateway) -> None:
    context = browser.new_context(color_scheme="dark", base_url=gateway.url)
    reader = Reader(context)
    reader.open()
    assert _lightness(reader) < 60
    reader.page.locator("#switch-theme").click()
    assert _lightness(reader) > 200
    reader.page.reload()
    assert _lightness(reader) > 200
    reader.check()
    context.close()


def _lightness(reader: Reader) -> int:
    colour = reader.page.evaluate("getComputedStyle(document.body).backgroundColor")
    return max(int(part) for part in re.findall(r"\d+", colour)[:3])


def test_everything_is_done_with_the_keyboard_alone(reader: Reader, engine: FakeEngine) -> None:
    page = reader.page
    page.reload()
    expect(page.locator("#text")).to_be_focused()
    page.locator(".brand").focus()
    page.keyboard.press("Shift+Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#text")).to_be_focused()
    page.keyboard.type("Hello")
    page.keyboard.press("Enter")
    reader.whole()
    expect(page.locator("#text")).to_be_focused()
    settings = page.locator("#open-drawer")
    settings.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#drawer")).to_be_visible()
    assert page.evaluate("document.getElementById('drawer').contains(document.activeElement)")
    page.keyboard.press("Escape")
    expect(settings).to_be_focused()
    reached = _tabbed(reader, 40)
    for wanted in ("new", "switch-language", "attach", "sign-out"):
        assert wanted in reached, wanted
    for control in page.locator("button:visible, a:visible, input:visible, textarea:visible").all():
        assert control.evaluate(NAMED), control.evaluate("(element) => element.outerHTML")


NAMED = """(element) => Boolean(
    element.getAttribute("aria-label") || element.textContent.trim() || (element.labels && element.labels.length)
)"""


def _tabbed(reader: Reader, most: int) -> list[str]:
    """The ids of what Tab reaches."""
    reached = []
    for _ in range(most):
        reader.page.keyboard.press("Tab")
        reached.append(reader.page.evaluate("document.activeElement.id"))
    return reached


def test_the_focus_is_seen(reader: Reader) -> None:
    reader.page.locator("#text").press("Tab")
    outline = "(element) => getComputedStyle(element).outlineStyle + getComputedStyle(element).outlineWidth"
    assert reader.page.locator("#attach").evaluate(outline) == "solid2px"


def test_a_screen_reader_hears_the_answer_in_sentences_and_not_word_by_word(reader: Reader, engine: FakeEngine) -> None:
    engine.script = [{"content": f"Sentence {number}. " if number % 2 else "and "} for number in range(400)]
    reader.page.evaluate(
        """() => {
            window.heard = [];
            const place = document.getElementById("announcements");
            new MutationObserver(() => window.heard.push(place.textContent)).observe(place, {childList: true});
        }"""
    )
    assert reader.page.locator("#announcements").get_attribute("aria-live") == "polite"
    reader.whole(reader.ask("Tell me."))
    heard: list[str] = reader.page.evaluate("window.heard")
    assert heard[0] == "Answering …"
    assert len(heard) <= 6
    whole = " ".join(" ".join(heard[1:]).split())
    assert whole == " ".join("".join(delta["content"] for delta in engine.script).split())
    live = reader.page.locator("[aria-live]:not([aria-live=off]), [role=status], [role=log]")
    assert live.evaluate_all("(all) => all.some((one) => one.querySelector('.prose'))") is False


def test_both_languages_say_everything(visitor: Reader) -> None:
    english, chinese = (
        dict[str, str](visitor.page.evaluate(f"import('/static/app/{name}.js').then((found) => found.{name.upper()})"))
        for name in ("english", "chinese")
    )
    assert list(english) == list(chinese)
    for name, text in english.items():
        assert text.strip(), name
        assert chinese[name].strip(), name
        assert set(re.findall(r"\{\w+\}", text)) == set(re.findall(r"\{\w+\}", chinese[name])), name
        if name not in ("title", "language") and len(text) > 12 and "{" not in text:
            assert re.search("[\u4e00-\u9fff]", chinese[name]), name
    used = set()
    for path in (WEB / "static" / "app").glob("*.js"):
        code = path.read_text(encoding="utf-8")
        used |= set(re.findall(r"\bt\(\"(\w+)\"", code)) | set(re.findall(r"\bgive\(\"(\w+)\"", code))
        used |= {f"fail_{kind}" for kind in re.findall(r"new Failure\(\"(\w+)\"", code)}
        used |= set(re.findall(r"new Refused\(\"(\w+)\"", code))
    used |= set(re.findall(r"data-(?:t|label|hint)=\"(\w+)\"", (WEB / "index.html").read_text(encoding="utf-8")))
    server = (WEB / "static" / "app" / "server.js").read_text(encoding="utf-8")
    kinds = re.search(r"const KINDS = \{(.*?)\};.*?const BY_STATUS = \{(.*?)\};", server, re.DOTALL)
    assert kinds
    used |= {f"fail_{kind}" for kind in re.findall(r": \"(\w+)\"", kinds[1] + kinds[2])}
    assert used - set(english) == set()


def test_every_module_is_loaded_ahead() -> None:
    """Else each import would wait for the one that names it."""
    page = (WEB / "index.html").read_text(encoding="utf-8")
    ahead = re.findall(r"modulepreload\" href=\"/(static/[\w./]+)\"", page)
    entry = WEB / "static" / "app" / "main.js"
    assert sorted(WEB / path for path in ahead) == sorted(_imported(entry, set()) - {entry})


def _imported(module: Path, seen: set[Path]) -> set[Path]:
    """``seen``, with a module and all that it imports."""
    if module not in seen:
        seen.add(module)
        for name in re.findall(
            r"^import (?:.* from )?\"([\w./]+)\";$", module.read_text(encoding="utf-8"), re.MULTILINE
        ):
            _imported((module.parent / name).resolve(), seen)
    return seen
