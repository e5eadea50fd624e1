"""``vitrine``: every word and verb is shown, rooms get their words and give their status, and what is missing is said."""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.ports import free_port
from tests.support.process import TOP, Process, clean_environment
from vitrine.__main__ import COMPLETION, HandedOn, main
from vitrine.dispatch import NotInstalled, group_of, module_of
from vitrine.subcommands import OWN_FIRST, OWN_LAST, ROOMS, Room

FAILED, UNREADABLE, WRONG_USAGE, BAD_SETTINGS = 1, 13, 64, 78
# Programs of developers, which are started with ``python -m``.
NO_WORDS = {"loadtest.bench", "loadtest.gpu"}
PROGRAM = Path(sys.executable).with_name("vitrine")  # as `make setup` installs it
PROJECT = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOADTEST = next(room for room in ROOMS if room.word == "loadtest")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with no setting of ours, and a terminal of 80 columns."""
    for name in [name for name in os.environ if name.startswith("VITRINE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def verbs(command: Any, before: str = "") -> Iterator[str]:
    """Every verb below a command of the CLI library, as in `model prepare`."""
    for name, inner in getattr(command, "commands", {}).items():
        words = f"{before}{name}"
        yield from verbs(inner, f"{words} ") if hasattr(inner, "commands") else [words]


# What is shown.


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.word)
def test_help_has_a_line_for_each_verb_of_a_room(room: Room, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"  {room.word} "))
    shown = []
    for line in lines[start + 1 :]:
        verb = re.fullmatch(r" {4}(\S+(?: \S+)?) {2,}\S.*", line)
        if not verb:
            break
        shown.append(verb[1])
    assert shown == list(verbs(group_of(room)))


def test_help_has_a_line_for_each_word_and_fits_into_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    words = [match[1] for line in lines if (match := re.match(r"  ([a-z]\S*) {2,}\S", line))]
    assert words == [*OWN_FIRST, *(room.word for room in ROOMS), *OWN_LAST]
    assert [line for line in lines if len(line) > 80 or not line.isprintable()] == []


def test_every_room_with_a_command_line_has_a_word() -> None:
    found = {
        ".".join(path.parent.relative_to(TOP).parts)
        for room in ("serve", "gateway", "loadtest")
        for path in (TOP / room).rglob("__main__.py")
    }
    assert found - NO_WORDS == {room.module.removesuffix(".__main__") for room in ROOMS}


def test_without_a_word_the_tree_is_shown_as_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    tree = capsys.readouterr().out
    assert main([]) == WRONG_USAGE
    printed = capsys.readouterr()
    assert (printed.out, printed.err.strip()) == ("", tree.strip())


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["kesy"], "No such command 'kesy'. Did you mean 'keys'?"),
        (["xyzzy"], "No such command 'xyzzy'; there are up, version, serve, gateway, keys, engines, ledger, loadtest"),
        (["--verbose"], "No such option: --verbose"),
        (["up", "now"], "Got unexpected extra argument(s) (now)"),
    ],
)
def test_a_wrong_word_is_wrong_usage_in_one_line(
    words: list[str], error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == WRONG_USAGE
    assert capsys.readouterr().err == f"error: {error} (see vitrine --help)\n"


def test_the_version_is_the_one_of_the_project(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version"]) == 0
    assert capsys.readouterr().out.split()[:2] == ["vitrine", PROJECT["version"]]


# What is handed on.


@pytest.fixture
def stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Room]:
    """A room whose command line says what it got and ends with 13."""
    (folder / "standinroom.py").write_text(
        "def main(arguments, program):\n    print(program, arguments)\n    return 13\n"
    )
    monkeypatch.syspath_prepend(folder)
    yield Room("keys", "standinroom", "")
    sys.modules.pop("standinroom", None)


@pytest.mark.parametrize(
    "words",
    [[], ["--help"], ["create", "--name", "x"], ["--", "a", "--", "b"], ["-x=1", "", "--name="], ["a b", "ü\n"]],
)
def test_words_reach_a_room_as_they_are_and_its_status_comes_back(
    words: list[str], stand_in: Room, capsys: pytest.CaptureFixture[str]
) -> None:
    assert HandedOn(stand_in).main(words, prog_name="vitrine", standalone_mode=False) == UNREADABLE
    assert capsys.readouterr().out == f"vitrine keys {words}\n"


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["keys", "create"], WRONG_USAGE),
        (["keys"], WRONG_USAGE),
        (["keys", "list"], 0),
        (["keys", "list", "--json"], 0),
        (["keys", "limit", "nobody"], FAILED),
        (["engines", "drain", "nobody"], FAILED),
        (["ledger", "verify"], BAD_SETTINGS),
        (["ledger", "verfy"], WRONG_USAGE),
        (["gateway", "--wellcome"], WRONG_USAGE),
        (["serve", "check", "nosuch"], BAD_SETTINGS),
        (["serve", "model"], WRONG_USAGE),
        (["serve", "profiles"], 0),
        (["loadtest", "scenarios"], 0),
        (["loadtest", "run", "--sweep", "1"], WRONG_USAGE),
    ],
)
def test_a_room_ends_and_prints_as_it_does_alone(
    words: list[str], status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == status
    handed_on = capsys.readouterr()
    room = next(room for room in ROOMS if room.word == words[0])
    assert module_of(room).main(words[1:], f"vitrine {room.word}") == status
    assert capsys.readouterr() == handed_on
    assert handed_on.out or handed_on.err


def test_an_unknown_setting_is_bad_settings(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VITRINE_PROT", "1")
    assert main(["keys", "list"]) == BAD_SETTINGS
    assert "VITRINE_PROT" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["keys", "create"], "(see vitrine keys create --help)"),
        (["keys", "create", "--help"], "Usage: vitrine keys create [OPTIONS]"),
        (["serve", "model", "--help"], "Usage: vitrine serve model [OPTIONS] COMMAND"),
        (["ledger", "verfy"], "Try 'vitrine ledger --help' for help."),
        (["gateway", "--help"], "Usage: vitrine gateway [OPTIONS]"),
        (["loadtest", "run", "--rate", "0"], "(see vitrine loadtest run --help)"),
    ],
)
def test_usage_lines_name_the_command_that_was_typed(
    words: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main(words)
    printed = capsys.readouterr()
    assert named in printed.out + printed.err
    assert "python -m" not in printed.out + printed.err


# What is not installed.


def test_a_room_without_its_packages_is_said_to_be_not_installed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("numpy", "matplotlib"):
        monkeypatch.setitem(sys.modules, name, None)
    assert main(["loadtest", "scenarios"]) == FAILED
    assert capsys.readouterr().err == (
        "error: `vitrine loadtest` is not installed here, matplotlib and numpy are missing; "
        "run `make setup` in a clone, or install the wheel with its extra 'loadtest'\n"
    )
    assert main(["keys", "list"]) == 0


@pytest.mark.parametrize("room", [room for room in ROOMS if room.extra], ids=lambda room: room.word)
def test_a_room_needs_what_its_extra_brings(room: Room) -> None:
    names = {re.split(r"[<>=]", wanted)[0] for wanted in PROJECT["optional-dependencies"][room.extra]}
    assert names == set(room.needs)


def test_a_room_that_is_not_there_or_cannot_be_imported_is_not_installed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "lackingroom.py").write_text("import nosuchpackage.inside\n")
    monkeypatch.syspath_prepend(folder)
    for module, missing in (("nosuchroom.__main__", "nosuchroom"), ("lackingroom", "nosuchpackage")):
        with pytest.raises(NotInstalled, match=f"`vitrine x` is not installed here, {missing} is missing; run"):
            module_of(Room("x", module, ""))


def test_a_module_of_ours_that_is_gone_is_no_matter_of_installation() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"gateway\.nosuch"):
        module_of(Room("x", "gateway.nosuch", ""))


@pytest.mark.parametrize("package", ["vllm", "psutil"])
def test_up_says_what_is_not_installed(
    package: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    assert main(["up"]) == FAILED
    error = capsys.readouterr().err
    assert {"vllm": "the engine, vLLM, is not installed", "psutil": "psutil, which"}[package] in error
    assert error.count("\n") == 1


# Shell completion.


@pytest.mark.parametrize(
    ("shell", "line"),
    [
        ("bash", "complete -o default -F _vitrine_completion vitrine"),
        ("zsh", "compdef _vitrine_completion vitrine"),
        ("fish", "complete --command vitrine --no-files"),
    ],
)
def test_the_completion_of_a_shell_is_printed(
    shell: str, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Which shell this is can't be known in a test; the library then has it named.
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    with pytest.raises(SystemExit) as ended:
        main(["--show-completion", shell])
    assert ended.value.code == 0
    script = capsys.readouterr().out
    assert line in script
    assert f"{COMPLETION}=complete_{shell}" in script


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("vitrine ", [*OWN_FIRST, *OWN_LAST, *(room.word for room in ROOMS)]),
        ("vitrine ke", ["keys"]),
        ("vitrine keys ", ["create", "list", "revoke", "rotate", "limit"]),
        ("vitrine ledger ver", ["verify", "verify-proof"]),
        ("vitrine serve model ", ["prepare"]),
        ("vitrine keys create --sc", ["--scope"]),
        ("vitrine gateway --w", ["--welcome"]),
    ],
)
def test_words_verbs_and_options_are_completed(
    typed: str, completed: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(COMPLETION, "complete_bash")
    monkeypatch.setenv("COMP_WORDS", typed)
    monkeypatch.setenv("COMP_CWORD", str(typed.count(" ")))
    with pytest.raises(SystemExit):
        main([])
    assert capsys.readouterr().out.split() == completed


def test_a_room_that_is_not_installed_completes_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "numpy", None)
    monkeypatch.setenv(COMPLETION, "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "vitrine loadtest r")
    monkeypatch.setenv("COMP_CWORD", "2")
    with pytest.raises(SystemExit):
        main([])
    printed = capsys.readouterr()
    assert (printed.out.strip(), printed.err) == ("", "")


# Real programs.


def test_up_starts_all_three_from_any_folder_and_ends_with_the_first_fault(folder: Path) -> None:
    """An engine that cannot start takes the ledger and the gateway with it, and its status is the command's."""
    settings = {
        "VITRINE_ENGINE_PROFILE": "nosuch",
        "VITRINE_HOME": str(folder / "home"),
        "VITRINE_PORT": str(free_port()),
        "VITRINE_METRICS_PORT": str(free_port()),
    }
    running = Process("up", env=settings, cwd=folder, program=[str(PROGRAM)])
    assert running.wait(within_s=60) == BAD_SETTINGS, running.output
    assert "vitrine  | engine ended with status 78; the others are stopped" in running.lines
    assert "error: there is no profile 'nosuch'" in running.output


def test_the_installed_program_measures_with_processes_of_its_own(folder: Path) -> None:
    """The load generator's processes import the program that started them: they must not start it again."""
    done = subprocess.run(
        [PROGRAM, "loadtest", "ceiling", "text", "--seconds", "0.2"],
        cwd=folder,
        env=clean_environment({}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert re.match(r"text: [\d,]+ requests/s of ", done.stdout)
