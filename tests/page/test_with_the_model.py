"""The page in front of the real engine: a newcomer's first minute."""

import pytest
from playwright.sync_api import Browser, expect

from tests.page.reader import Reader
from tests.support.stack import Stack


@pytest.mark.engine
@pytest.mark.timeout(900)
def test_an_example_is_answered_by_the_model_with_a_box_on_the_picture_and_a_receipt_that_holds(
    browser: Browser, stack: Stack
) -> None:
    context = browser.new_context(locale="en-GB", base_url=stack.url)
    reader = Reader(context)
    reader.open()
    reader.sign_in(stack.key)
    reader.page.locator(".example", has_text="Locate the red circle.").click()
    answer = reader.answers.last
    expect(answer).to_have_attribute("aria-busy", "false", timeout=120_000)
    picture, box = answer.locator(".stage img").bounding_box(), answer.locator(".box").bounding_box()
    assert picture
    assert box
    middle = (box["x"] + box["width"] / 2 - picture["x"]) / picture["width"]
    assert 0.1 < middle < 0.4  # the circle is on the left
    answer.locator(".verify").click()
    expect(answer.locator(".verdict.good")).to_be_visible(timeout=20_000)
    reader.check()
    context.close()
