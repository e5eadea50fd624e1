"""Numbers that say nothing are wrong usage, and a server's words steer no terminal; in this process."""

from pathlib import Path

import pytest

from loadtest.__main__ import main
from loadtest.errors import WrongUsage
from loadtest.scenario import load
from loadtest.terminal_report import errors


@pytest.mark.parametrize("value", ["inf", "nan", "-inf"])
@pytest.mark.parametrize(
    "words",
    [
        ["run", "--rate"],
        ["run", "--step-s"],
        ["run", "--for-s"],
        ["run", "--timeout-s"],
        ["run", "--ceiling"],
        ["ceiling", "--seconds"],
        ["run", "--goal", "errors_share="],
        ["run", "--sweep", "1:"],
    ],
    ids=" ".join,
)
def test_no_number_is_without_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], value: str
) -> None:
    given = [*words[:-1], words[-1] + value] if words[-1][-1] in "=:" else [*words, value]
    nowhere = ["--url", "http://127.0.0.1:1"] if words[0] == "run" else []
    monkeypatch.setattr("sys.argv", ["loadtest", *given, *nowhere])
    assert main() == 64
    assert capsys.readouterr().err.startswith("error: ")


def test_no_number_of_a_scenario_is_without_end(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    text = "name = 'a'\ndescription = ''\n[ask]\ntext_tokens = 1\nanswer_tokens = 1\n[load]\ntimeout_s = "
    path.write_text(text + "1.0\n")
    assert load(str(path)).load.timeout_s == 1.0
    path.write_text(text + "inf\n")
    with pytest.raises(WrongUsage, match="finite"):
        load(str(path))


def test_what_a_server_said_is_printed_escaped() -> None:
    line = errors({"errors": {"status 500": 2}, "errors_said": {"status 500": "no\x1b[2J\n\u202e"}})[0]
    assert line == r"2 × status 500: no\x1b[2J\n\u202e"
