"""Signing in by name, as far as the page does it: what it sends for whom. The server's part is played here."""

import json
from typing import Any

import pytest
from playwright.sync_api import Route, expect

from tests.page.reader import Reader

PERSON = {"name": "Li Na", "csrf": "token-1"}


class Directory:
    """The gateway's ``/auth`` and a question's route, played; ``sent`` are the requests."""

    def __init__(self) -> None:
        self.person: dict[str, str] | None = None
        self.token = "token-1"
        self.demo = False
        self.sent: list[tuple[str, dict[str, str], Any]] = []

    def __call__(self, route: Route) -> None:
        request = route.request
        path = request.url.partition("/auth/")[2] or request.url.rpartition("/")[2]
        self.sent.append((path, request.all_headers(), json.loads(request.post_data or "null")))
        match path:
            case "methods":
                known = self.person and {**self.person, "csrf": self.token}
                route.fulfill(json={"methods": ["key", "ldap"], "signed_in": known})
            case "sign-in" if self.sent[-1][2]["password"] == "right":
                self.person = PERSON
                route.fulfill(json={"signed_in": PERSON})
            case "sign-in":
                route.fulfill(status=401, json={"error": {"message": "wrong", "code": "wrong_password"}})
            case "sign-out":
                self.person = None
                route.fulfill(json={"signed_in": None})
            case "models" if self.person:
                said = {"demo": True, "description": "demo model: shapes only"} if self.demo else {}
                route.fulfill(json={"data": [{"id": "glm-4v", "max_model_len": 4096, **said}]})
            case _ if self.person and self.sent[-1][1].get("x-csrf-token") != self.token:
                route.fulfill(status=403, json={"error": {"message": "token", "code": "csrf"}})
            case _:
                route.fulfill(status=401, json={"error": {"message": "who?", "code": "session_over"}})


@pytest.fixture
def directory(visitor: Reader) -> Directory:
    """A server with a directory, and a visitor who has just opened its page."""
    played = Directory()
    visitor.page.route("**/auth/*", played)
    visitor.page.route("**/v1/**", played)
    visitor.page.reload()
    expect(visitor.page.locator("body:not([data-state=starting])")).to_be_attached()
    return played


def sign_in(visitor: Reader, password: str) -> None:
    visitor.page.get_by_label("Name").fill("lina")
    visitor.page.get_by_label("Password").fill(password)
    visitor.page.get_by_label("Password").press("Enter")


def test_a_name_and_a_password_sign_in_and_nothing_of_them_is_kept(visitor: Reader, directory: Directory) -> None:
    sign_in(visitor, "wrong")
    expect(visitor.page.get_by_role("alert")).to_have_text("Name or password is wrong.")
    sign_in(visitor, "right")
    expect(visitor.page.locator("#who")).to_have_text("Signed in as Li Na")
    assert visitor.page.evaluate("[...Object.values(sessionStorage), ...Object.values(localStorage)]") == []
    assert visitor.page.locator("#password").input_value() == ""
    assert [body for path, _, body in directory.sent if path == "sign-in"][-1] == {"user": "lina", "password": "right"}


def test_a_session_sends_its_token_and_no_key_and_ends_on_the_server(visitor: Reader, directory: Directory) -> None:
    directory.person = PERSON
    visitor.page.reload()
    expect(visitor.page.locator("#who")).to_have_text("Signed in as Li Na")
    path, headers, _ = directory.sent[-1]
    assert (path, headers["x-csrf-token"], "authorization" in headers) == ("models", "token-1", False)
    visitor.page.get_by_role("button", name="Sign out").click()
    expect(visitor.page.locator("#user")).to_be_focused()
    assert directory.sent[-1][0] == "sign-out"
    assert directory.sent[-1][1]["x-csrf-token"] == "token-1"


def test_a_token_that_another_tab_renewed_is_fetched_and_an_ended_session_leads_to_sign_in(
    visitor: Reader, directory: Directory
) -> None:
    sign_in(visitor, "right")
    directory.token = "token-2"
    notice = visitor.whole(visitor.ask("Hello")).locator(".notice")
    asked = [headers["x-csrf-token"] for path, headers, _ in directory.sent if path == "completions"]
    assert asked == ["token-1", "token-2"]
    expect(notice).to_contain_text("Your session has ended.")
    directory.person = None
    notice.get_by_role("button", name="Sign in again").click()
    sign_in(visitor, "right")
    expect(visitor.questions).to_have_count(1)


def test_a_demo_model_has_a_badge_in_both_languages_and_another_has_none(visitor: Reader, directory: Directory) -> None:
    badge = visitor.page.locator("#demo")
    sign_in(visitor, "right")
    expect(visitor.page.locator("#model-name")).to_have_text("glm-4v")
    expect(badge).to_be_hidden()
    directory.demo = True
    visitor.page.reload()
    expect(badge.locator("summary")).to_have_text("Demo model")
    expect(badge.locator("p")).to_be_hidden()
    badge.locator("summary").click()
    expect(badge.locator("p")).to_contain_text("docs/models.md")
    visitor.page.get_by_role("button", name="中文").click()
    expect(badge.locator("summary")).to_have_text("演示模型")
    expect(badge.locator("p")).to_contain_text("只认识简单图形和短文字")
