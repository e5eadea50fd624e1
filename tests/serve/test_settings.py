"""Settings come from the command line, the environment and vitrine.toml, in that order; what is unknown is refused by name."""

from pathlib import Path

import pytest

from tests.support.process import run

BAD_SETTINGS, WRONG_USAGE = 78, 64


def check(cwd: Path, *words: str, **environment: str) -> tuple[int, str, str]:
    """``python -m serve check`` in a folder of its own: exit status, output, errors."""
    done = run("serve", "check", *words, env={"VITRINE_HOME": str(cwd / "home"), **environment}, cwd=cwd)
    return done.returncode, done.stdout, done.stderr


def test_an_unknown_variable_is_refused_by_name(tmp_path: Path) -> None:
    status, _, errors = check(tmp_path, VITRINE_ENGINE_MODLE="/m")
    assert status == BAD_SETTINGS
    assert errors == "error: unknown setting VITRINE_ENGINE_MODLE; did you mean VITRINE_ENGINE_MODEL?\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[engine]\nmodle = 'x'", "unknown setting engine.modle in vitrine.toml; did you mean model?"),
        (
            "[engine]\nxyzzy = 'x'",
            "unknown setting engine.xyzzy in vitrine.toml; known names are drain_timeout_s, hang_t",
        ),
        ("[enigne]\nmodel = 'x'", "unknown table [enigne] in vitrine.toml; there are [engine] and [ledger]"),
        (
            "[engine]\nload_timeout_s = 'soon'",
            "engine.load_timeout_s in vitrine.toml = 'soon': input should be a valid number",
        ),
        (
            "[engine]\nload_timeout_s = inf",
            "engine.load_timeout_s in vitrine.toml = inf: input should be a finite number",
        ),
        ("[engine]\nnumber = 1000", "engine.number in vitrine.toml = 1000: input should be less than or equal to 999"),
        ("[engine]\nisolation = 'maybe'", "engine.isolation in vitrine.toml = 'maybe': string should match pattern"),
        ("engine = 1", "vitrine.toml: engine must be a table, [engine]; mend the file"),
        ("[engine", "vitrine.toml cannot be read:"),
    ],
)
def test_a_fault_in_the_file_is_told_with_key_and_value(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "vitrine.toml").write_text(text)
    status, _, errors = check(tmp_path)
    assert (status, errors.count("\n")) == (BAD_SETTINGS, 1)
    assert message in errors


def test_a_wrong_type_in_the_environment_names_the_variable(tmp_path: Path) -> None:
    status, _, errors = check(tmp_path, VITRINE_ENGINE_NUMBER="first")
    assert status == BAD_SETTINGS
    assert "VITRINE_ENGINE_NUMBER = 'first': input should be a valid integer" in errors


def test_names_of_other_rooms_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "vitrine.toml").write_text("port = 1\n[ledger]\nmode = 'strict'\n")
    _, output, errors = check(tmp_path, VITRINE_PORT="1")
    assert "miniature:" in output
    assert errors == ""


def test_the_command_line_is_stronger_than_the_environment_and_that_than_the_file(tmp_path: Path) -> None:
    (tmp_path / "vitrine.toml").write_text("[engine]\nnumber = 1\nprofile = 'glm-4.6v'\n")
    assert "engine-1/engine.sock" in check(tmp_path)[1]
    assert check(tmp_path)[1].startswith("glm-4.6v:")
    assert "engine-2/engine.sock" in check(tmp_path, VITRINE_ENGINE_NUMBER="2")[1]
    assert "engine-3/engine.sock" in check(tmp_path, "--engine", "3", VITRINE_ENGINE_NUMBER="2")[1]
    assert check(tmp_path, "miniature")[1].startswith("miniature:")


def test_an_empty_model_means_not_set_and_hides_nothing(tmp_path: Path) -> None:
    assert (
        "glm-4.6v-flash brings no weights; set MODEL=" in check(tmp_path, "glm-4.6v-flash", VITRINE_ENGINE_MODEL="")[1]
    )
    (tmp_path / "vitrine.toml").write_text("[engine]\nmodel = 'from-the-file'\n")
    assert "model folder" in check(tmp_path)[1]
    assert f"model folder {tmp_path / 'from-the-file'} does not exist" in check(tmp_path, VITRINE_ENGINE_MODEL="")[1]


@pytest.mark.parametrize("words", [["--no-such"], ["--engine", "first"], ["a", "b"]])
def test_wrong_usage_has_its_own_status(tmp_path: Path, words: list[str]) -> None:
    status, _, errors = check(tmp_path, *words)
    assert status == WRONG_USAGE
    assert errors.startswith("error: ")
