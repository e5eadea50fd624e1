"""Settings: environment over file over defaults, and every wrong one answered with its name, its value and a way out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.ledger.errors import BadSettings
from gateway.ledger.settings import read_settings
from tests.support.ledger import command


def test_defaults_are_those_of_the_contract(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("VITRINE_HOME", raising=False)
    settings = read_settings(tmp_path / "none.toml")
    assert (settings.mode, settings.digests) == ("strict", "keyed")
    assert settings.socket_path == Path(".vitrine/run/ledger.sock")
    assert settings.log_folder == Path(".vitrine/ledger")
    assert settings.key_folder == Path(".vitrine/ledger-keys")


def test_the_environment_wins_over_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = tmp_path / "vitrine.toml"
    config.write_text('[ledger]\nmode = "buffered"\nretention_days = 400\nanchors = ["/mnt/worm/head"]\n')
    monkeypatch.setenv("VITRINE_LEDGER_MODE", "off")
    settings = read_settings(config)
    assert (settings.mode, settings.retention_days) == ("off", 400)
    assert settings.anchors == [Path("/mnt/worm/head")]


@pytest.mark.parametrize("value", ["inf", "nan"])
@pytest.mark.parametrize("name", ["SIGN_EVERY_S", "SIGN_IDLE_S"])
def test_no_time_is_without_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, value: str) -> None:
    monkeypatch.setenv(f"VITRINE_LEDGER_{name}", value)
    with pytest.raises(BadSettings, match="finite number"):
        read_settings(tmp_path / "none.toml")


def test_the_houses_folder_may_stand_in_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = tmp_path / "vitrine.toml"
    config.write_text('home = "/srv/vitrine"\nport = 9000\n[engine]\nprofile = "x"\n')
    monkeypatch.delenv("VITRINE_HOME", raising=False)
    assert read_settings(config).log_folder == Path("/srv/vitrine/ledger")
    monkeypatch.setenv("VITRINE_HOME", "/elsewhere")
    assert read_settings(config).log_folder == Path("/elsewhere/ledger")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[ledger]\nmod = "off"\n', "mod"),
        ('[ledger]\nmode = "loose"\n', "'loose'"),
        ("ledger = 1\n", "must be a table"),
        ('[legder]\nmode = "off"\n', r"unknown table \[legder\] in .*; there are \[engine\] and \[ledger\]"),
        ('[ledger]\nmod = "off"\n', r"mod .*; did you mean mode\?"),
        ('[ledger]\nxyzzy = "off"\n', "xyzzy .*; there are: allow_volatile, anchors"),
        ("[ledger\n", "cannot read"),
        ("[ledger]\nsegment_bytes = 5\n", "65536"),
        ('[ledger]\nhome = "/x"\n', "home"),
    ],
)
def test_a_wrong_file_is_refused_by_name(tmp_path: Path, text: str, says: str) -> None:
    config = tmp_path / "vitrine.toml"
    config.write_text(text)
    with pytest.raises(BadSettings, match=says):
        read_settings(config)


def test_an_unknown_variable_is_refused_by_name_with_78(tmp_path: Path) -> None:
    done = command(tmp_path / "home", "serve", mood="strict")
    assert done.returncode == 78
    assert "VITRINE_LEDGER_MOOD is no setting" in done.stderr
    assert "VITRINE_LEDGER_MODE" in done.stderr


def test_a_bad_value_is_refused_by_name_with_78(tmp_path: Path) -> None:
    done = command(tmp_path / "home", "verify", sign_every_s="never")
    assert done.returncode == 78
    assert "VITRINE_LEDGER_SIGN_EVERY_S = 'never'" in done.stderr


@pytest.mark.parametrize(
    ("place", "makes", "says"),
    [
        ("ledger", "file", "ledger: File exists; it is there already: name another place"),
        ("ledger-keys", "file", "ledger-keys: File exists; it is there already"),
        ("", "file", "home: File exists; it is there already"),
        ("run/" + "x" * 120, "socket", "the socket's path has over 107 bytes; set VITRINE_HOME"),
    ],
)
def test_what_the_system_refuses_is_a_sentence_with_a_way_out(
    tmp_path: Path, place: str, makes: str, says: str
) -> None:
    home = tmp_path / "home"
    settings: dict[str, Any] = {}
    if makes == "file":
        (home / place).parent.mkdir(exist_ok=True)
        (home / place).write_text("a file")
    else:
        settings["socket"] = str(home / place)
    done = command(home, "serve", **settings)
    assert done.returncode in (1, 78)
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert says in done.stderr
