"""Engines' names, addresses and the file that lists them: what is good, and one sentence for what is not."""

from pathlib import Path

import pytest

from gateway.engines.endpoint import BadEndpoint, parse
from gateway.engines.roster import BadRoster, RosterEntry, changing, listed, read, remote


@pytest.mark.parametrize(
    "text", ["http://gpu-1:8000", "https://10.0.0.7:8443", "https://[::1]:8443", "unix:/run/e.sock"]
)
def test_an_address_is_read_and_written_alike(text: str) -> None:
    assert parse(text).url == text


@pytest.mark.parametrize(
    "text",
    [
        "gpu-1:8000",
        "http://gpu-1",
        "ftp://gpu-1:21",
        "http://user:word@gpu-1:1",
        "http://gpu-1:1/v1",
        "http://gpu-1:99999",
        "unix:relative",
        "http://:80",
        "https://gpu-1:8000?x=1",
        "",
    ],
)
def test_what_is_no_address_is_refused_with_the_way_out(text: str) -> None:
    with pytest.raises(BadEndpoint, match="write unix:/path, http://host:port or https://host:port"):
        parse(text)


def test_a_setting_lists_engines() -> None:
    assert listed("gpu-1=http://gpu-1:8000, gpu-2=https://gpu-2:8000") == {
        "gpu-1": RosterEntry("http://gpu-1:8000"),
        "gpu-2": RosterEntry("https://gpu-2:8000"),
    }
    assert listed("") == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("gpu-1", "write NAME=URL"),
        ("GPU=http://g:1", "no engine's name"),
        ("engine-0=http://g:1", "engines of this host"),
        ("gpu-1=g:1", "no engine's address"),
        ("gpu-1=http://g\x9b:1", "have no look"),
        ("g\x1b=http://g:1", "no engine's name"),
        ("a=http://g:1 a=http://h:1", "twice"),
        (".people=http://g:1", "no engine's name"),
    ],
)
def test_a_bad_setting_is_named(text: str, said: str) -> None:
    with pytest.raises(BadRoster, match=said):
        listed(text)


def test_a_change_is_kept_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "engines.json"
    with changing(path) as entries:
        entries["gpu-1"] = RosterEntry("http://gpu-1:8000")
    with changing(path) as entries:
        entries["gpu-1"] = RosterEntry("http://gpu-1:8000", draining=True)
        entries["engine-0"] = RosterEntry(None, draining=True)
    good = read(path)
    assert good == {"gpu-1": RosterEntry("http://gpu-1:8000", True), "engine-0": RosterEntry(None, True)}
    with pytest.raises(BadRoster, match="no engine's name"), changing(path) as entries:
        entries["Bad Name"] = RosterEntry("http://gpu-1:8000")
    assert read(path) == good
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", ["", "[]", '{"gpu-1": {"url": 7}}', '{"gpu-1": {"adress": "http://g:1"}}'])
def test_a_file_that_is_not_ours_is_said_to_be_so(tmp_path: Path, content: str) -> None:
    path = tmp_path / "engines.json"
    path.write_text(content)
    with pytest.raises(BadRoster, match="mend it, or remove it"):
        read(path)


def test_an_engine_of_the_settings_has_the_address_that_they_give_it() -> None:
    named = {"gpu-1": RosterEntry("http://gpu-1:8000"), "gpu-2": RosterEntry("http://gpu-2:8000")}
    file = {
        "gpu-1": RosterEntry("http://old:8000"),
        "gpu-2": RosterEntry(None, True),
        "gpu-3": RosterEntry("http://gpu-3:8000"),
        "engine-0": RosterEntry(None, True),
    }
    assert remote(named, file) == {f"gpu-{number}": f"http://gpu-{number}:8000" for number in (1, 2, 3)}


def test_no_file_is_no_engines(tmp_path: Path) -> None:
    assert read(tmp_path / "engines.json") == {}
