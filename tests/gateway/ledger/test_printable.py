"""What may come in as a name, and how any text goes out: pure, and then through the ledger's commands on a log with odd names."""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.ledger.__main__ import main
from gateway.ledger.commands.run import make_logger
from gateway.ledger.format import printable as room
from gateway.ledger.format.printable import ascii_json, name_fault, printable, printable_lines, text_fault
from gateway.ledger.readers import verify_proof
from gateway.ledger.readers.exports.table import to_row
from tests.gateway.ledger.logs import Hand

# Clears the screen, turns what follows, goes up a line, breaks it in three ways; C1's own CSI.
STEERS = "\x1b[2J\u202e\x1b[1A\r\n\u2028\x85\x9b31m\x7f\u200b"
ODD = f"ann{STEERS}bob"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ann", "ann"),
        ("李雷 ×2", "李雷 ×2"),
        ("LAB\\ann", "LAB\\ann"),
        ("a\x1b[31mb", r"a\x1b[31mb"),
        ("a\nb\r\tc", r"a\nb\r\tc"),
        ("\x9b\x7f", r"\x9b\x7f"),
        ("\u202egpj", r"\u202egpj"),
        ("a\u2028b\u2029c", r"a\u2028b\u2029c"),
        ("\udc9b", r"\udc9b"),
        ("\U000e0041", r"\U000e0041"),
        ("", ""),
    ],
)
def test_what_steers_a_terminal_is_shown_escaped_and_the_rest_as_it_is(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text())
def test_whatever_it_is_it_becomes_one_line_that_can_be_printed(text: str) -> None:
    assert printable(text).isprintable()
    assert printable(text) == (text if text.isprintable() else printable(text))
    assert all(line.replace("\t", "").isprintable() for line in printable_lines(text).split("\n"))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(exclude_categories=["Cs"])),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
    ),
    st.booleans(),
)
def test_json_is_plain_ascii_and_means_the_same(value: object, indent: bool) -> None:
    text = ascii_json(value, indent=indent)
    assert all(letter == "\n" or 0x20 <= ord(letter) < 0x7F for letter in text)
    assert json.loads(text) == value


@pytest.mark.parametrize("name", ["ann", "李雷", "key of the lab, 2", "José", "a" * 64, "a.b", "🦜"])
def test_a_plain_name_may_come_in(name: str) -> None:
    assert name_fault(name) is None


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "empty"),
        ("   ", "empty"),
        ("a" * 65, "at most 64"),
        (".people", "begins with a dot"),
        (".", "begins with a dot"),
        ("a\x1b[2J", "U+001B"),
        ("a\nb", "U+000A"),
        ("a\u202eb", "U+202E"),
        ("a\u2028", "U+2028"),
        ("a\u200bb", "U+200B"),
        ("a\x9b", "U+009B"),
        ("\udc80", "U+DC80"),
        (" ann", "a space"),
        ("Jose\u0301", "NFC"),
    ],
)
def test_a_name_that_would_mislead_is_refused_with_the_way_out(name: str, why: str) -> None:
    fault = name_fault(name)
    assert fault is not None
    assert why in fault
    assert ";" in fault or "begin with" in fault


def test_a_models_name_may_be_a_path() -> None:
    assert text_fault("./models/glm-4v", room.MOST_MODEL_CHARS) is None
    assert text_fault("glm\x1b", room.MOST_MODEL_CHARS) is not None


# The commands


@pytest.fixture
def hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hand:
    """A log whose every chosen text is odd, as one of an older version may be."""
    hand = Hand.new(tmp_path / "home")
    whose = {"key": ODD, "tenant": ODD, "ip": ODD, "peer": "p", "route": ODD, "model": ODD}
    for kind, more in (("admit", whose), ("complete", {"outcome": ODD, "status": 200, "total_ms": 1, "finish": ODD})):
        hand.ids = _Same(hand)  # type: ignore[assignment]  # both records of one exchange
        hand.write(1, kind, **more)
    hand.ids = _Same(hand, "01a206ea-f13f-769a-a616-48b66a509ec3")  # type: ignore[assignment]
    hand.write(1, "deny", ip=ODD, key=ODD, tenant=ODD, route=ODD, reason=ODD, status=401)
    hand.write(1, "key", by=ODD, event="created", key=ODD, facts={ODD: ODD, "name": ODD})
    hand.sign()
    hand.close()
    monkeypatch.setenv("VITRINE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return hand


class _Same:
    def __init__(self, hand: Hand, identity: str = "01a206ea-f13f-769a-a616-48b66a509ec2") -> None:
        self.next = lambda: identity


COMMANDS: list[tuple[str, ...]] = [
    ("tail",),
    ("tail", "--json"),
    ("verify",),
    ("prove", "01a206ea-f13f-769a-a616-48b66a509ec2"),
    ("prove", "01a206ea-f13f-769a-a616-48b66a509ec2", "--json"),
    ("export", "--csv"),
    ("export", "--ecs"),
    ("export", "--ocsf"),
    ("prove", "x" + STEERS),
    ("anchor", "--to", "x\x1b\u202e"),
    ("backup", "to\x1b\u202e"),
    ("restore", "from\x1b\u202e"),
    ("verify", "--log", "log\x1b\n\u202e"),
    ("init", "--origin", "x\x1b"),
]
SEARCHES = [("find", "--since", "2020-01-01"), ("find", "--since", "2020-01-01", "--json")]  # over two processes


ALL_COMMANDS = [*COMMANDS, *(pytest.param(words, marks=pytest.mark.process) for words in SEARCHES)]


@pytest.mark.parametrize("words", ALL_COMMANDS, ids=lambda words: " ".join(words).encode("unicode_escape").decode())
def test_no_command_prints_a_text_of_others_raw(
    hand: Hand, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    code = main(list(words))
    out, err = capsys.readouterr()
    assert out + err
    assert code != 0 or out
    for line in re.split("[\r\n]+", out + err):
        assert line.replace("│", "").isprintable(), ascii(line)


def test_a_record_is_one_line_whatever_its_names_are(hand: Hand, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tail"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3  # exchange, refusal, key
    assert all(r"ann\x1b[2J\u202e" in line or r"ann\u001b[2J\u202e" in line for line in lines)


def test_a_cell_of_a_table_is_one_line_too() -> None:
    row = to_row(0, {"kind": "deny", "id": "x", "time_ms": 0, "reason": ODD, "route": "=1+1"}, "origin")
    assert row.count("\n") == 1
    assert row.rstrip("\r\n").isprintable()
    assert "'=1+1" in row


@pytest.mark.parametrize("name", ["\x1b[2J", "a\u202eb", ".hidden", "a" * 256])
def test_a_new_log_gets_no_name_that_would_mislead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    monkeypatch.setenv("VITRINE_HOME", str(tmp_path / "home"))
    assert main(["init", "--origin", name]) == 78
    assert "can't name a log" in capsys.readouterr().err
    assert not (tmp_path / "home" / "ledger").exists()


def test_an_empty_name_is_not_taken_for_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VITRINE_HOME", str(tmp_path / "home"))
    assert main(["init", "--origin", ""]) == 64
    assert not (tmp_path / "home").exists()


def test_the_file_for_auditors_prints_a_strange_record_escaped() -> None:
    assert verify_proof.shown(ODD).isprintable()
    assert verify_proof.shown('{"key":"ann"}') == '{"key":"ann"}'


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_ledgers_log_on_a_terminal_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = _Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    logger = make_logger()
    logger.info("an event", name=ODD)
    try:
        raise ValueError(ODD.replace("\n", ""))
    except ValueError:
        logger.exception("a fault")
    colours = re.compile("\x1b\\[[0-9;]*m")
    lines = colours.sub("", screen.getvalue()).split("\n")
    assert any(r"ann\x1b[2J" in line for line in lines)
    assert all(line.isprintable() for line in lines)
