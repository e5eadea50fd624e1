"""People who left keep no session: the directory is asked again while they are signed in."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pytest

from tests.gateway.people.browser import GROUPS, Browser
from tests.support.audit import Ledger
from tests.support.deadline import until
from tests.support.fake_engine import FakeEngine
from tests.support.gateway import Gateway
from tests.support.slapd import BASE, PASSWORDS, Slapd, dn_of

SOON_S = 8.0


@pytest.fixture(scope="module")
def gateway(home: Path, running_engine: FakeEngine, ledger: Ledger, slapd: Slapd) -> Iterator[Gateway]:
    settings = slapd.settings(
        VITRINE_GROUPS=json.dumps(GROUPS), VITRINE_LDAP_TIMEOUT_S="6", VITRINE_SESSION_RECHECK_S="0.5"
    )
    with Gateway(home, **settings) as running:
        yield running


def signed_in(gateway: Gateway, user: str) -> Browser:
    browser = Browser(gateway)
    assert browser.sign_in(user, PASSWORDS[user]).status == 200
    return browser


@contextmanager
def changed(slapd: Slapd, user: str, how: Literal["add", "delete"], group: str = "vision") -> Iterator[None]:
    """The directory with one membership added or deleted; at the end it is as before."""

    def change(how: str) -> None:
        slapd.change(f"dn: cn={group},ou=groups,{BASE}\nchangetype: modify\n{how}: member\nmember: {dn_of(user)}\n")

    change(how)
    try:
        yield
    finally:
        change("add" if how == "delete" else "delete")


def over(browser: Browser) -> bool:
    answer = browser.ask("GET", "/v1/models")
    return answer.status == 401 and answer.error["code"] == "session_over"


def test_one_who_leaves_the_group_loses_the_session_and_others_keep_theirs(gateway: Gateway, slapd: Slapd) -> None:
    alice, bob = signed_in(gateway, "alice"), signed_in(gateway, "bob")
    with changed(slapd, "alice", "delete"):
        until(lambda: over(alice), what="the session is over", within_s=SOON_S)
        assert not over(bob)
    assert signed_in(gateway, "alice").ask("GET", "/v1/models").status == 200


def test_one_who_may_do_other_things_now_signs_in_again(gateway: Gateway, slapd: Slapd) -> None:
    alice = signed_in(gateway, "alice")
    with changed(slapd, "alice", "add", "auditors"):
        until(lambda: over(alice), what="the session is over", within_s=SOON_S)


def test_a_name_with_signs_of_filters_keeps_its_session(gateway: Gateway, slapd: Slapd) -> None:
    browser = signed_in(gateway, "o'hara (lab)*")
    alice = signed_in(gateway, "alice")
    with changed(slapd, "alice", "delete"):
        until(lambda: over(alice), what="the directory was asked again", within_s=SOON_S)
        assert not over(browser)


def test_a_directory_that_is_away_takes_nobodys_session(gateway: Gateway, slapd: Slapd) -> None:
    alice = signed_in(gateway, "alice")
    slapd.stop()
    try:
        gateway.process.line_with("the directory was not asked again", within_s=SOON_S)
        assert not over(alice)
    finally:
        slapd.start()
