"""The way to the directory: TLS or nothing, deadlines, a directory that is away, the brake, settings that can't work."""

import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway import wiring
from gateway.people import directory
from gateway.people.directory import BadDirectory, check_url
from gateway.people.directory_process import escaped
from gateway.settings import BadSettings, read
from tests.gateway.people.browser import GROUPS, Browser
from tests.support.audit import Ledger
from tests.support.certificate import certificate
from tests.support.deadline import until
from tests.support.fake_engine import FakeEngine
from tests.support.gateway import Gateway
from tests.support.process import run
from tests.support.slapd import BASE, PASSWORDS, Slapd

MAPPED = {"VITRINE_GROUPS": json.dumps(GROUPS)}


def test_passwords_go_to_a_directory_over_starttls_too(
    home: Path, slapd: Slapd, engine: FakeEngine, ledger: Ledger
) -> None:
    url = f"ldap://127.0.0.1:{slapd.port}"
    groups = {
        "VITRINE_LDAP_GROUP_ATTRIBUTE": "none",
        "VITRINE_LDAP_GROUP_FILTER": "(member={dn})",
        "VITRINE_LDAP_GROUP_BASE": f"ou=groups,{BASE}",
    }
    settings = slapd.settings(**MAPPED, **groups, VITRINE_LDAP_URL=url, VITRINE_LDAP_START_TLS="true")
    with Gateway(home, **settings, VITRINE_FAILED_LOGINS_PER_MIN="3") as gateway:
        # Here groups are searched for and not named by the entry.
        assert Browser(gateway).sign_in("o'hara (lab)*", PASSWORDS["o'hara (lab)*"]).status == 200
        assert Browser(gateway).sign_in("carol", PASSWORDS["carol"]).status == 403
        _brake(gateway, ledger)


def _brake(gateway: Gateway, ledger: Ledger) -> None:
    """Three wrong passwords a minute, also when all come at once; right ones cost nothing, until it brakes."""
    for _ in range(5):
        assert Browser(gateway).sign_in("alice", PASSWORDS["alice"]).status == 200
    with ThreadPoolExecutor(8) as many:
        answers = list(many.map(lambda _: Browser(gateway).sign_in("bob", "wrong"), range(8)))
    assert sorted(answer.status for answer in answers) == [401] * 3 + [429] * 5
    braked = Browser(gateway).sign_in("bob", PASSWORDS["bob"])
    assert (braked.status, braked.error["code"]) == (429, "too_many_failed_logins")
    assert 1 <= int(braked.headers["retry-after"]) <= 60
    assert ledger.records(kind="deny", reason="too_many_failed_logins", route="/auth/sign-in")[-1]["key"]


def test_one_name_written_otherwise_is_one_name_to_the_brake(
    home: Path, slapd: Slapd, running_engine: FakeEngine, ledger: Ledger
) -> None:
    """All of these are alice to this directory, and each try comes from an address of its own."""
    writings = ["ａｌｉｃｅ", "ALİCE", "al\u2170ce", "\U0001d41alice", "  Alice\xa0", "ＡＬＩＣＥ", "al\u0130ce"]
    settings = slapd.settings(**MAPPED, VITRINE_TRUSTED_PROXIES="127.0.0.1")
    with Gateway(home, **settings, VITRINE_FAILED_LOGINS_PER_MIN="3") as gateway:

        def tries(user: str, password: str, number: int) -> int:
            browser = Browser(gateway, X_Forwarded_For=f"192.0.2.{number}", X_Forwarded_Proto="https")
            return browser.sign_in(user, password).status

        assert {tries(writing, PASSWORDS["alice"], 1) for writing in writings} == {200}
        statuses = [tries(writing, "wrong", 10 + number) for number, writing in enumerate(writings)]
        assert statuses == [401] * 3 + [429] * 4
        assert tries("alice", "wrong", 99) == 429
        # Directories differ in what they take for the same; marks and signs without a width count for none in some.
        assert tries("Álice", "wrong", 98) == 429
        assert tries("a\u200blice", "wrong", 97) == 429
        assert tries("alicia", "wrong", 96) == 401
        denied = ledger.records(kind="deny", reason="wrong_password")[-4:]
        assert denied[0]["key"] == ledger.records(kind="key")[-1]["key"]


@pytest.fixture(scope="module")
def strict(home: Path, slapd: Slapd, running_engine: FakeEngine, ledger: Ledger) -> Iterator[Gateway]:
    """A gateway with little patience: two wrong passwords a minute, two seconds for the directory."""
    settings = slapd.settings(**MAPPED)
    with Gateway(home, **settings, VITRINE_FAILED_LOGINS_PER_MIN="2", VITRINE_LDAP_TIMEOUT_S="2") as running:
        yield running


@pytest.mark.parametrize("wrong", ["authority", "name", "no TLS"])
def test_a_directory_that_can_not_prove_itself_gets_no_password(
    home: Path, slapd: Slapd, tmp_path: Path, wrong: str, running_engine: FakeEngine, ledger: Ledger
) -> None:
    settings = slapd.settings(**MAPPED)
    if wrong == "authority":
        settings["VITRINE_LDAP_CA"] = str(certificate(tmp_path, "127.0.0.1")[0])
    elif wrong == "name":
        settings["VITRINE_LDAP_URL"] = f"ldaps://127.0.0.2:{slapd.tls_port}"
    else:
        settings["VITRINE_LDAP_URL"] = f"ldaps://127.0.0.1:{slapd.port}"
    # What a file or a variable of the machine says about checks does not count.
    with Gateway(home, **settings, LDAPTLS_REQCERT="never") as gateway:
        answer = Browser(gateway).sign_in("alice", PASSWORDS["alice"])
        assert (answer.status, answer.error["code"]) == (503, "directory_away")
        assert "127.0.0" not in answer.error["message"]


def test_a_directory_that_is_away_is_told_so_and_wrong_passwords_are_not_counted(strict: Gateway, slapd: Slapd) -> None:
    slapd.stop()
    try:
        for _ in range(4):
            answer = Browser(strict).sign_in("alice", PASSWORDS["alice"])
            assert (answer.status, answer.error["code"]) == (503, "directory_away")
    finally:
        slapd.start()
    assert _signs_in(strict)


def test_a_directory_that_hangs_is_given_up_and_nobody_else_waits_for_it(
    strict: Gateway, slapd: Slapd, engine: FakeEngine
) -> None:
    key = strict.create_key()
    with ThreadPoolExecutor(8) as many:
        slapd.pause()
        try:
            began_s = time.monotonic()
            waiting = [many.submit(Browser(strict).sign_in, "alice", PASSWORDS["alice"]) for _ in range(6)]
            slowest_s = 0.0
            while not all(one.done() for one in waiting):
                asked_s = time.monotonic()
                assert strict.chat(key).status == 200
                slowest_s = max(slowest_s, time.monotonic() - asked_s)
            took_s = time.monotonic() - began_s
            answers = [one.result() for one in waiting]
        finally:
            slapd.go_on()
    # Two are let through at once, the others meet the brake: nobody knows yet that nothing was learned.
    assert {answer.status for answer in answers} <= {503, 429}
    assert [answer.status for answer in answers].count(503) >= 2
    assert 2 <= took_s < 8
    assert slowest_s < 1.5
    until(lambda: not _asking(strict.process.pid), what="no asking process left")
    assert _signs_in(strict)


def test_nobody_signs_in_without_a_record(strict: Gateway, ledger: Ledger) -> None:
    ledger.process.end()
    try:
        browser = Browser(strict)
        answer = browser.sign_in("alice", PASSWORDS["alice"])
        assert (answer.status, answer.error["code"], browser.cookie) == (503, "audit_unavailable", None)
    finally:
        ledger.start()


def _signs_in(gateway: Gateway) -> bool:
    """Whether alice can; a busy machine may need more than two seconds for her first try."""
    return until(lambda: Browser(gateway).sign_in("alice", PASSWORDS["alice"]).status == 200, what="alice signed in")


def _asking(pid: int) -> list[str]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [child for child in children if b"directory_process" in Path(f"/proc/{child}/cmdline").read_bytes()]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"VITRINE_LDAP_URL": "ldap://dc.example.org"}, "would send passwords readable"),
        ({"VITRINE_LDAP_URL": "https://dc.example.org"}, "no directory's address"),
        ({"VITRINE_LDAP_START_TLS": "true"}, "leave VITRINE_LDAP_START_TLS out"),
        ({"VITRINE_LDAP_BASE": ""}, "needs VITRINE_LDAP_BASE"),
        ({"VITRINE_LDAP_FILTER": "(uid=alice)"}, "everybody would be found"),
        ({"VITRINE_LDAP_CA": "/nowhere.pem"}, "can't be read as certificates"),
        ({"VITRINE_LDAP_BIND_PASSWORD_FILE": "/nowhere"}, "VITRINE_LDAP_BIND_PASSWORD_FILE = /nowhere: can't be read"),
        ({"VITRINE_GROUPS": ""}, "no group may do anything"),
        ({"VITRINE_GROUPS": '[{"group": "x", "scopes": ["everything"]}]'}, "VITRINE_GROUPS"),
        ({"VITRINE_GROUPS": "no json"}, "VITRINE_GROUPS"),
        ({"VITRINE_AUTH_HEADER": "X-Remote-User"}, "needs VITRINE_TRUSTED_PROXIES"),
    ],
)
def test_settings_that_can_not_work_are_refused_with_the_way_out(
    tmp_path: Path, slapd: Slapd, monkeypatch: pytest.MonkeyPatch, changed: dict[str, str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in {**slapd.settings(**MAPPED), **changed}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(BadSettings, match=re.escape(message)):
        wiring.check(read())


def test_such_settings_stop_the_start_in_one_sentence(tmp_path: Path, slapd: Slapd) -> None:
    settings = {"VITRINE_HOME": str(tmp_path), "VITRINE_PORT": "0", **slapd.settings(**MAPPED, VITRINE_LDAP_BASE="")}
    done = run("gateway", env=settings)
    assert done.returncode == 78, done.stderr
    assert "VITRINE_LDAP_URL needs VITRINE_LDAP_BASE" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def without_bonsai(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)


def test_without_the_library_the_start_says_how_to_install_it(without_bonsai: None) -> None:
    with pytest.raises(BadDirectory, match=r"bonsai.*locks/ldap\.txt"):
        directory.require_library()


def test_addresses_get_their_one_form() -> None:
    assert check_url("ldaps://dc.example.org", start_tls=False) == "ldaps://dc.example.org:636"
    assert check_url("LDAP://DC.example.org/", start_tls=True) == "ldap://dc.example.org:389"
    assert check_url("ldap://[::1]:3890", start_tls=False) == "ldap://[::1]:3890"
    for url in ("ldap://127.evil.example", "ldap://u:p@127.0.0.1", "ldap://127.0.0.1/dc=x", "ldaps://", "ldaps://h:x"):
        with pytest.raises(BadDirectory):
            check_url(url, start_tls=False)


def test_values_are_escaped_as_rfc_4515_has_it() -> None:
    assert escaped("Parens R Us (for all your parenthetical needs)") == (
        "Parens\\20R\\20Us\\20\\28for\\20all\\20your\\20parenthetical\\20needs\\29"
    )
    assert escaped("*\\\0Lučić") == "\\2a\\5c\\00Lu\\c4\\8di\\c4\\87"
