"""The auditor's view in a real browser: who may look, what is shown, the head, the picture that stays in the browser."""

import base64
import re
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.support.gateway import RED_SQUARE, Gateway
from tests.support.process import TOP
from tests.support.slapd import PASSWORDS

AXE = TOP / "tests" / "page" / "vendor" / "axe.js"
RED = base64.b64decode(RED_SQUARE.partition(",")[2])


def enter(page: Page, key: str) -> None:
    page.get_by_label("API key").fill(key)
    page.keyboard.press("Enter")
    expect(page.locator("#rows tr").first).to_be_visible()


def shown(page: Page) -> int:
    return page.locator("#rows > tr:not([hidden])").count()


def test_an_auditor_sees_a_green_head_and_the_newest_records_first(page: Page, auditor: str) -> None:
    enter(page, auditor)
    expect(page.locator("#head")).to_have_attribute("data-verdict", "good")
    expect(page.locator("#head-verdict")).to_contain_text("Green: the log is what was written")
    expect(page.locator("#head-words")).to_contain_text(
        re.compile(
            r"\d+ records are signed and unchanged, \d+ not signed yet; all were hashed and compared at .*20\d\d"
        )
    )
    leaves = [
        int(text.replace(",", "")) for text in page.locator("#rows > tr:not([hidden]) td:last-child").all_inner_texts()
    ]
    assert len(leaves) >= 14
    assert leaves == sorted(leaves, reverse=True)
    page.get_by_text("What was checked").click()
    expect(page.locator("#head-note")).to_contain_text("— ")


def test_a_record_unfolds_to_digests_and_lengths(page: Page, auditor: str) -> None:
    enter(page, auditor)
    page.get_by_label("Outcome").select_option("completed")
    page.get_by_role("button", name="Show", exact=True).click()
    expect(page.locator("#rows > tr:not([hidden])")).to_have_count(11)
    first = page.locator("#rows button").first
    first.focus()
    page.keyboard.press("Enter")
    expect(first).to_have_attribute("aria-expanded", "true")
    text = page.locator("#rows pre").first
    expect(text).to_contain_text('"conversation"')
    expect(text).to_contain_text(re.compile(r'"digest": "[0-9a-f]{64}"'))


def test_filters_and_their_end(page: Page, auditor: str) -> None:
    enter(page, auditor)
    everything = shown(page)
    page.get_by_label("Outcome").select_option("denied")
    page.get_by_label("Tenant").fill("lab")
    page.keyboard.press("Enter")
    expect(page.locator("#rows > tr:not([hidden])")).to_have_count(1)
    expect(page.locator("#rows")).to_contain_text("denied: ")
    page.get_by_label("Tenant").fill("nobody")
    page.keyboard.press("Enter")
    expect(page.locator("#said")).to_contain_text("Nothing fits")
    page.get_by_role("button", name="All", exact=True).click()
    expect(page.locator("#said")).to_contain_text("shown of")
    assert shown(page) >= everything


def test_which_exchanges_saw_this_picture(page: Page, auditor: str, gateway: Gateway, tmp_path: Path) -> None:
    enter(page, auditor)
    sent: list[tuple[str, str]] = []  # a body that is a file is not shown to us: there must be none
    page.on("request", lambda asked: sent.append((asked.method, asked.url.removeprefix(gateway.url).partition("?")[0])))
    (tmp_path / "red.png").write_bytes(RED)
    (tmp_path / "other.png").write_bytes(RED + b"\0")
    page.locator("#file").set_input_files(tmp_path / "red.png")
    expect(page.locator("#rows > tr:not([hidden])")).to_have_count(2)
    expect(page.locator("#picture-name")).to_contain_text("red.png · SHA-256 ")
    expect(page.locator("#rows")).to_contain_text("28×28")
    page.locator("#file").set_input_files(tmp_path / "other.png")
    expect(page.locator("#said")).to_contain_text("Nothing fits")
    assert ("GET", "/v1/audit/records") in sent
    assert set(sent) <= {("GET", "/v1/audit/records"), ("GET", "/v1/audit/head")}
    page.get_by_role("button", name="Without the picture").click()
    expect(page.locator("#rows tr").nth(4)).to_be_attached()


def test_a_picture_is_dropped_anywhere_on_the_page(page: Page, auditor: str) -> None:
    enter(page, auditor)
    dropped = page.evaluate_handle(
        """(text) => { const held = new DataTransfer();
        held.items.add(new File([Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0))], "drop.png"));
        return held; }""",
        RED_SQUARE.partition(",")[2],
    )
    page.dispatch_event("#head", "drop", {"dataTransfer": dropped})
    expect(page.locator("#picture-name")).to_contain_text("drop.png")
    expect(page.locator("#rows > tr:not([hidden])")).to_have_count(2)


def test_a_key_without_the_scope_is_told_which_it_needs(page: Page, gateway: Gateway) -> None:
    page.get_by_label("API key").fill(gateway.create_key())
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert").first).to_contain_text("It needs the scope audit")
    assert page.evaluate("sessionStorage.length") == 0


def test_somebody_of_the_directory_signs_in_and_out(page: Page) -> None:
    page.get_by_label("Name", exact=True).fill("bob")
    page.get_by_label("Password").fill("wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert").first).to_contain_text("name or password is wrong")
    page.get_by_label("Password").fill(PASSWORDS["bob"])
    page.keyboard.press("Enter")
    expect(page.locator("#who")).to_have_text("bob")
    expect(page.locator("#rows")).to_contain_text("key or session: created")
    assert page.evaluate("document.cookie") == ""
    page.reload()
    expect(page.locator("#who")).to_have_text("bob")
    page.get_by_role("button", name="Sign out").click()
    expect(page.locator("#way-in")).to_be_visible()
    page.reload()
    expect(page.locator("#way-in")).to_be_visible()
    assert page.context.cookies() == []


def test_the_cookie_is_out_of_scripts_reach_and_of_other_sites(page: Page) -> None:
    page.get_by_label("Name", exact=True).fill("bob")
    page.get_by_label("Password").fill(PASSWORDS["bob"])
    page.keyboard.press("Enter")
    expect(page.locator("#who")).to_have_text("bob")
    (cookie,) = page.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Strict", "/")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_chinese_and_both_themes(page: Page, auditor: str, theme: Literal["light", "dark"]) -> None:
    page.emulate_media(color_scheme=theme)
    page.get_by_role("button", name="中文").click()
    page.get_by_label("API 密钥").fill(auditor)
    page.keyboard.press("Enter")
    expect(page.locator("#head-verdict")).to_contain_text("绿色：日志与写入时一致")
    expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(19, 23, 22)") == (theme == "dark")
    page.reload()
    expect(page.locator("#records-title")).to_have_text("记录")


def test_a_chosen_theme_stays(page: Page) -> None:
    page.emulate_media(color_scheme="light")
    page.get_by_role("button", name="Light or dark").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")


def test_both_languages_have_the_same_sentences(page: Page) -> None:
    names = page.evaluate(
        "import('/static/audit/words.js').then(({TEXTS}) => [TEXTS.en, TEXTS.zh].map((texts) => Object.keys(texts).sort()))"
    )
    assert names[0] == names[1]
    assert len(names[0]) > 80


def test_it_fits_a_phone(page: Page, auditor: str) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    enter(page, auditor)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_the_page_allows_nothing_of_others(gateway: Gateway) -> None:
    policy = gateway.request("GET", "/audit").headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self'; style-src 'self';" in policy
    assert "unsafe" not in policy


def test_axe_finds_nothing_in_either_theme(context: BrowserContext, auditor: str) -> None:
    page = context.new_page()
    # The page's own policy would refuse axe, which is put in from outside.
    context.new_cdp_session(page).send("Page.setBypassCSP", {"enabled": True})
    page.goto("/audit")
    page.evaluate(AXE.read_text())
    assert _faults(page) == []
    enter(page, auditor)
    page.locator("#rows button").first.click()
    page.get_by_text("What was checked").click()
    assert _faults(page) == []
    page.emulate_media(color_scheme="dark")
    assert _faults(page) == []


def _faults(page: Page) -> list[str]:
    found = page.evaluate("axe.run()")["violations"]
    return [f"{fault['id']}: {fault['help']}: {fault['nodes'][0]['html']}" for fault in found]
