"""Keys: their form, their life in the store, and the commands."""

import json
import re
import sqlite3
import stat
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.command_line import run_command
from gateway.keys import first_start, token
from gateway.keys.__main__ import LedgerAway, app
from gateway.keys.allowance import Allowance
from gateway.keys.caller import Scope
from gateway.keys.store import KeyStore, StoreError
from gateway.ledger.format.printable import printable
from tests.support.audit import Ledger
from tests.support.deadline import until
from tests.support.process import run


def test_a_key_has_the_form_of_the_contract() -> None:
    key = token.make()
    assert re.fullmatch(r"vt_[0-9A-Za-z]{37,}", key)
    assert len(key) == token.LENGTH >= 40
    assert token.well_formed(key)
    assert token.make() != key


@given(st.integers(3, token.LENGTH - 1), st.sampled_from("0123456789ABCabc"))
def test_one_wrong_character_is_seen_by_the_checksum(place: int, character: str) -> None:
    key = token.make()
    changed = key[:place] + character + key[place + 1 :]
    assert token.well_formed(changed) is (changed == key)


@given(st.text(max_size=80))
def test_other_texts_are_no_keys(text: str) -> None:
    assert not token.well_formed(text)


@pytest.fixture
def store(tmp_path: Path) -> KeyStore:
    return KeyStore(tmp_path / "keys.sqlite")


def test_a_key_is_found_as_its_caller_and_never_stored(store: KeyStore, tmp_path: Path) -> None:
    text, key = store.create("ann", tenant="lab", scopes=[Scope.INFERENCE, Scope.AUDIT])
    caller = store.caller(text)
    assert caller is not None
    assert (caller.key_id, caller.name, caller.tenant) == (key.key_id, "ann", "lab")
    assert caller.scopes == {Scope.INFERENCE, Scope.AUDIT}
    assert len(caller.tenant_secret) == 32
    store.close()
    for path in tmp_path.iterdir():
        assert text.encode() not in path.read_bytes()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_tenants_have_different_secrets_and_keys_of_one_the_same(store: KeyStore) -> None:
    texts = [store.create("x", tenant=tenant, scopes=[Scope.INFERENCE])[0] for tenant in ("a", "a", "b")]
    secrets = [caller.tenant_secret for caller in map(store.caller, texts) if caller]
    assert secrets[0] == secrets[1] != secrets[2]


def test_a_revoked_and_an_expired_key_are_nobody(store: KeyStore) -> None:
    text, key = store.create("x", tenant="a", scopes=[Scope.INFERENCE])
    store.revoke(key.key_id)
    assert store.caller(text) is None
    assert store.get(key.key_id).state(time.time()) == "revoked"
    expired, key = store.create("x", tenant="a", scopes=[Scope.INFERENCE], expires_at_s=time.time() - 1)
    assert store.caller(expired) is None
    assert key.state(time.time()) == "expired"


def test_rotation_keeps_the_old_key_for_its_grace(store: KeyStore) -> None:
    old, key = store.create("x", tenant="a", scopes=[Scope.METRICS])
    new, newer = store.rotate(key.key_id, grace_s=3600)
    assert store.caller(old) is not None
    found = store.caller(new)
    assert found is not None
    assert (found.tenant, found.scopes, found.key_id) == ("a", frozenset({Scope.METRICS}), newer.key_id)
    last, _ = store.rotate(newer.key_id, grace_s=0)
    assert store.caller(new) is None
    assert store.caller(last) is not None
    with pytest.raises(StoreError, match="is revoked; create a new one"):
        store.rotate(newer.key_id, grace_s=0)


def test_keys_that_replace_each_other_are_counted_as_the_first(store: KeyStore) -> None:
    first, key = store.create("x", tenant="a", scopes=[Scope.INFERENCE])
    second, newer = store.rotate(key.key_id, grace_s=3600)
    third, _ = store.rotate(newer.key_id, grace_s=3600)
    other, _ = store.create("x", tenant="a", scopes=[Scope.INFERENCE])
    callers = [store.caller(text) for text in (first, second, third, other)]
    counted = [caller.counted_as for caller in callers if caller]
    assert counted[:3] == [key.key_id] * 3
    assert counted[3] not in counted[:3]


@pytest.mark.parametrize("schema", [1, 2])
def test_a_file_of_an_older_version_is_read_and_written_on(tmp_path: Path, schema: int) -> None:
    store = KeyStore(tmp_path / "keys.sqlite")
    text, key = store.create("x", tenant="a", scopes=[Scope.INFERENCE])
    store.close()
    with sqlite3.connect(tmp_path / "keys.sqlite") as older:
        older.execute("ALTER TABLE keys DROP COLUMN limits_of")
        if schema == 1:
            older.execute("DROP TABLE limits")
        older.execute(f"PRAGMA user_version = {schema}")
    older.close()
    for _ in range(2):
        store = KeyStore(tmp_path / "keys.sqlite")
        caller = store.caller(text)
        assert caller is not None
        assert caller.counted_as == key.key_id
        store.close()
    new, _ = KeyStore(tmp_path / "keys.sqlite").rotate(key.key_id, grace_s=60)
    found = KeyStore(tmp_path / "keys.sqlite").caller(new)
    assert found is not None
    assert found.counted_as == key.key_id


def test_another_connection_sees_a_revocation_at_once(store: KeyStore, tmp_path: Path) -> None:
    text, key = store.create("x", tenant="a", scopes=[Scope.INFERENCE])
    other = KeyStore(tmp_path / "keys.sqlite")
    assert other.caller(text) is not None
    store.revoke(key.key_id)
    assert other.caller(text) is None
    other.close()


def test_a_caller_that_is_remembered_is_never_an_old_one(store: KeyStore, tmp_path: Path) -> None:
    text, key = store.create("test", tenant="lab", scopes=[Scope.INFERENCE])
    soon, _ = store.create("soon", tenant="lab", scopes=[Scope.INFERENCE], expires_at_s=time.time() + 0.3)
    other = KeyStore(tmp_path / "keys.sqlite")
    for writer, most in ((store, 5), (other, 6)):
        assert store.caller(text) is not None
        writer.allow("key", key.key_id, Allowance(concurrent=most))
        writer.allow("tenant", "lab", Allowance(concurrent=most + 10))
        for reader in (store, other):
            found = reader.caller(text)
            assert found is not None
            assert (found.key_allowance.concurrent, found.tenant_allowance.concurrent) == (most, most + 10)
    assert store.caller(soon) is not None
    until(lambda: store.caller(soon) is None, what="it expired")
    other.revoke(key.key_id)
    assert store.caller(text) is None
    other.close()


def test_a_file_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    (tmp_path / "noise").write_bytes(b"not a database" * 100)
    with pytest.raises(StoreError, match="restore it or move it away"):
        KeyStore(tmp_path / "noise")
    with sqlite3.connect(tmp_path / "other") as other:
        other.execute("CREATE TABLE theirs (x)")
    other.close()
    with pytest.raises(StoreError, match="another program's database"):
        KeyStore(tmp_path / "other")
    with sqlite3.connect(tmp_path / "newer") as newer:
        newer.execute("PRAGMA user_version = 99")
    newer.close()
    with pytest.raises(StoreError, match="run the newer Vitrine"):
        KeyStore(tmp_path / "newer")


def test_the_commands_make_list_rotate_and_revoke_with_a_record_of_each(ledger: Ledger) -> None:
    env = ledger.env
    made = run("gateway.keys", "create", "--name", "ann", "--tenant", "lab", "--expires", "90d", "--json", env=env)
    key = json.loads(made.stdout)
    assert token.well_formed(key["key"])
    assert key["expires_at_s"] - key["created_at_s"] == pytest.approx(90 * 86400, abs=60)
    rotated = run("gateway.keys", "rotate", key["key_id"], "--grace", "1h", "--quiet", env=env)
    assert token.well_formed(rotated.stdout.strip())
    assert run("gateway.keys", "revoke", key["key_id"], env=env).stdout == f"{key['key_id']} is revoked\n"
    listed = json.loads(run("gateway.keys", "list", "--json", env=env).stdout)
    assert [(entry["name"], entry["tenant"], entry["state"]) for entry in listed] == [
        ("ann", "lab", "revoked"),
        ("ann", "lab", "active"),
    ]
    assert "key_" in run("gateway.keys", "list", env=env).stdout
    recorded = [(record["event"], record["key"]) for record in ledger.records(kind="key")]
    new = listed[1]["key_id"]
    assert recorded == [
        ("created", key["key_id"]),
        ("created", new),
        ("changed", key["key_id"]),
        ("revoked", key["key_id"]),
    ]
    assert ledger.records(kind="key")[1]["facts"]["replaces"] == key["key_id"]


def test_the_columns_of_a_list_do_not_run_together(ledger: Ledger) -> None:
    env = ledger.env
    run("gateway.keys", "create", "--name", "ann", "--quiet", env=env)
    long = "a name of forty characters, and then some"
    run("gateway.keys", "create", "--name", long, "--tenant", "the-laboratory-of-somebody", "--quiet", env=env)
    titles, *rows = run("gateway.keys", "list", env=env).stdout.splitlines()
    assert all("key_" in row for row in rows)
    for word in ("name", "tenant", "scopes", "state", "made"):  # columns begin in one place, two blanks behind the last
        assert {row[titles.index(word) - 2 : titles.index(word)] for row in rows} == {"  "}
    assert any(long in row for row in rows)


def test_a_bad_setting_of_the_ledger_is_named_and_ends_with_78(tmp_path: Path) -> None:
    env = {"VITRINE_HOME": str(tmp_path), "VITRINE_LEDGER_MOOD": "strict"}
    ended = run("gateway.keys", "create", "--name", "x", env=env)
    assert ended.returncode == 78
    assert "VITRINE_LEDGER_MOOD" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_without_the_ledger_no_key_changes(tmp_path: Path) -> None:
    env = {"VITRINE_HOME": str(tmp_path)}
    ended = run("gateway.keys", "create", "--name", "x", env=env)
    assert ended.returncode == 1
    assert "keys change only with a record" in ended.stderr
    assert json.loads(run("gateway.keys", "list", "--json", env=env).stdout) == []


def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], home: Path, *words: str
) -> tuple[int, str, str]:
    """``python -m gateway.keys WORDS`` in this process: exit status, output, errors."""
    monkeypatch.chdir(home)
    monkeypatch.setenv("VITRINE_HOME", str(home))
    monkeypatch.setattr("sys.argv", ["keys", *words])
    status = run_command(app, LedgerAway, StoreError)
    return status, *capsys.readouterr()


@pytest.mark.parametrize("option", ["--name", "--tenant"])
@pytest.mark.parametrize(
    "name", ["", "  ", ".people", ".", "a\x1b[2J", "a\nb", "a\u202eb", "a\u2028b", "a\x9b", "a" * 65, "Jose\u0301"]
)
def test_a_name_that_would_mislead_makes_no_key(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, option: str, name: str
) -> None:
    words = ["create", option, name, *(["--name", "ann"] if option == "--tenant" else [])]
    status, out, err = command(monkeypatch, capsys, tmp_path, *words)
    assert (status, out) == (64, "")
    assert "can't be used: it" in err
    assert err.rstrip("\n").isprintable()
    assert not (tmp_path / "keys.sqlite").exists()


def test_names_of_an_older_version_are_read_and_shown_escaped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    store = KeyStore(tmp_path / "keys.sqlite")
    text, key = store.create("a\x1b[2Jb", tenant="t\n\u202e", scopes=[Scope.INFERENCE])
    store.create("", tenant=".people", scopes=[Scope.INFERENCE])
    status, out, _ = command(monkeypatch, capsys, tmp_path, "list")
    assert status == 0
    assert [line.isprintable() for line in out.splitlines()] == [True] * 3
    assert r"a\x1b[2Jb" in out
    assert r"t\n\u202e" in out
    listed = json.loads(command(monkeypatch, capsys, tmp_path, "list", "--json")[1])
    assert (listed[0]["name"], listed[0]["tenant"]) == ("a\x1b[2Jb", "t\n\u202e")
    # It lives on: it opens the door, and its limits can be shown and its tenant named.
    found = store.caller(text)
    assert found is not None
    assert found.key_id == key.key_id
    status, out, _ = command(monkeypatch, capsys, tmp_path, "limit", "--tenant", "t\n\u202e")
    assert (status, out.splitlines()[0]) == (0, r"t\n\u202e")
    status, _, err = command(monkeypatch, capsys, tmp_path, "limit", "--tenant", ".people")
    assert (status, "Vitrine's own" in err) == (64, True)
    store.close()


def test_who_changed_a_key_is_recorded_printable(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, ledger: Ledger
) -> None:
    monkeypatch.setenv("LOGNAME", "root\x1b[2J\n" + "x" * 200)
    status, _, err = command(monkeypatch, capsys, ledger.home, "create", "--name", "李雷")
    assert (status, err) == (0, "")
    by = ledger.records(kind="key")[-1]["by"]
    assert by.startswith(r"command line, root\x1b[2J\nxxx")
    assert len(by) < 80


@pytest.mark.parametrize("model", ["x$(touch /tmp/x)", '", "a": "', "a`b`", "a b", "glm\x1b[2J", "a\\", "$HOME"])
def test_what_the_welcome_has_pasted_holds_no_name_that_a_shell_would_run(model: str) -> None:
    said = first_start.text("http://127.0.0.1:8080", model, "vt_key")
    shown, pasted = said.split("Put it in the environment")
    assert printable(model) in shown
    assert said.replace("\n", "").isprintable()
    assert model not in pasted.replace("$VITRINE_API_KEY", "").replace("$(base64", "")
    assert pasted.count('"MODEL"') == 2


def test_the_key_stands_once_in_a_log_and_can_be_pasted_in_a_terminal() -> None:
    for watched, times in ((True, 2), (False, 1)):
        said = first_start.text("http://127.0.0.1:8080", "glm-4v", "vt_key", watched=watched)
        assert said.count("vt_key") == times
        assert said.count("\nvt_key\n") == 1


def test_the_welcome_names_a_plain_model() -> None:
    assert first_start.text("http://127.0.0.1:8080", "THUDM/glm-4v-9b:1", None).count('"THUDM/glm-4v-9b:1"') == 2


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (("revoke", "key_none"), 1, "there is no key key_none"),
        (("create",), 64, "--name"),
        (("create", "--name", "x", "--expires", "soon"), 64, "write 30s, 15m, 12h or 90d"),
        (("create", "--name", "x", "--scope", "all"), 64, "inference"),
        (("renew",), 64, "No such command"),
    ],
)
def test_bad_input_is_one_sentence(ledger: Ledger, words: tuple[str, ...], status: int, message: str) -> None:
    ended = run("gateway.keys", *words, env=ledger.env)
    assert ended.returncode == status
    assert message in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
