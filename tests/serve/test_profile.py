"""A profile is refused by name, or it is what vLLM is started with."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from loadtest.gpu import variants
from serve import profile
from serve.errors import BadSettings
from serve.profile import BUILT_IN, FORBIDDEN, OURS, Profile
from tests.serve.profiles import PLAIN, write
from tests.support.process import TOP, clean_environment

NAMES = ("glm-4.6v", "glm-4.6v-flash", "glm-4.6v-flash-24gb", "glm-4.6v-flash-fp8", "glm-4v-9b", "miniature")

PARSE = """
import contextlib, io, json, sys
from vllm.entrypoints.launchers.cli_args import make_arg_parser
from vllm.utils.argparse_utils import FlexibleArgumentParser

parser = make_arg_parser(FlexibleArgumentParser(allow_abbrev=False))
answers = []
for words in json.load(sys.stdin):
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            parsed = vars(parser.parse_args(words))
        answers.append({name: value for name, value in parsed.items() if isinstance(value, (bool, int, float, str))})
    except SystemExit:
        answers.append(said.getvalue().strip().splitlines()[-1])
print("ANSWERS" + json.dumps(answers))
"""


def load(tmp_path: Path, **changes: Any) -> Profile:
    return profile.load(str(write(tmp_path / "test.toml", {**PLAIN, **changes})))


def test_the_built_in_profiles_are_these() -> None:
    assert tuple(profile.names()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_built_in_profile_loads_and_serves_glm_4v(name: str) -> None:
    found = profile.load(name)
    assert found.name == name
    assert found.served_names[0] == "glm-4v"
    assert found.needs.gpus > 0 if found.device == "gpu" else found.needs.gpus == 0


@pytest.mark.slow("imports vLLM anew")
def test_every_built_in_profile_and_every_variant_of_the_load_test_is_understood_by_vllm_itself() -> None:
    """vLLM's own parser, once for all: it takes ten seconds to import. Two lines that it must refuse show that it looks."""
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("needs an engine's packages: make setup")
    cases = [(name, capability) for name in NAMES for capability in (8.0, 9.0)]
    lines = [["m", *profile.load(name).on(capability).arguments()] for name, capability in cases]
    campaigns = {path.stem: variants.read(path) for path in sorted((TOP / "loadtest" / "gpu").glob("*.toml"))}
    tried = [
        (f"{file}: {name}", one.arguments(variant))
        for file, one in campaigns.items()
        for name, variant in one.variants.items()
    ]
    lines += [["m", *words] for _, words in tried] + [["m", "--no-such-flag"], ["m", "--trust-remote"]]
    done = subprocess.run(
        [sys.executable, "-c", PARSE],
        input=json.dumps(lines),
        env=clean_environment({"VLLM_LOGGING_LEVEL": "ERROR"}),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        cwd=TOP,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    *answers, unknown, abbreviated = json.loads(done.stdout.partition("ANSWERS")[2])
    assert "unrecognized arguments: --no-such-flag" in unknown
    assert "unrecognized arguments: --trust-remote" in abbreviated
    for (name, _), answer in zip(tried, answers[len(cases) :], strict=True):
        assert isinstance(answer, dict), f"{name}: {answer}"
    for (name, capability), answer in zip(cases, answers, strict=False):
        assert isinstance(answer, dict), f"{name}: {answer}"
        assert answer["trust_remote_code"] is False
        for flag, value in profile.load(name).on(capability).flags.items():
            if not str(value).startswith("{"):
                assert answer[flag.replace("-", "_")] == value, f"{name}: {flag}"


def test_an_unknown_profile_lists_the_known_ones() -> None:
    with pytest.raises(BadSettings, match=r"there is no profile 'glm-5'; choose one of glm-4.6v, .*miniature"):
        profile.load("glm-5")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"modle": "x"}, "unknown name 'modle'; remove it or correct its spelling"),
        ({"needs": {"gpu": 1}}, "unknown name 'needs.gpu'"),
        ({"served_names": "glm-4v"}, "served_names = 'glm-4v': input should be a valid list"),
        ({"served_names": []}, r"served_names = \[\]: list should have at least 1 item"),
        ({"device": "tpu"}, "device = 'tpu': input should be 'cpu' or 'gpu'"),
        ({"needs": {"gpus": "one"}}, "needs.gpus = 'one': input should be a valid integer"),
        ({"needs": {"gpus": -1}}, "needs.gpus = -1: input should be greater than or equal to 0"),
        ({"environment": {"A": 1}}, "environment.A = 1: input should be a valid string"),
        ({"flags": {"dtype": {"a": 1}}}, r"flags.dtype = {'a': 1}: expected true, false, a number, a string or a list"),
        ({"flags": {"dtype": [1]}}, r"flags.dtype = \[1\]: expected true, false"),
        ({"flags": {"--dtype": "half"}}, "string should match pattern"),
        ({"flags": {"trust_remote_code": True}}, "string should match pattern"),
        ({"flags": {"enforce-eager": "--trust-remote-code"}}, "vLLM would read it as one more flag"),
        ({"flags": {"served": ["a", "-O3"]}}, "flags.served = '-O3': vLLM would read it as one more flag"),
        ({"capability_flags": {"8.9": {"api-key": "x"}}}, "flags.api-key is not allowed, Vitrine sets it itself"),
        ({"capability_flags": {"ada": {}}}, "string should match pattern"),
        (
            {"environment": {"VLLM_PLUGINS": "vitrine,other"}},
            "VLLM_PLUGINS = 'vitrine,other': an engine loads no plugin but",
        ),
    ],
)
def test_a_fault_is_told_with_key_value_and_what_was_expected(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadSettings, match=message) as refusal:
        load(tmp_path, **changes)
    assert str(tmp_path / "test.toml") in str(refusal.value)
    assert refusal.value.exit_code == 78


@pytest.mark.parametrize("flag", sorted(OURS | FORBIDDEN))
def test_a_flag_that_would_open_a_second_door_or_run_code_is_refused(tmp_path: Path, flag: str) -> None:
    with pytest.raises(BadSettings, match=rf"flags.{flag} is not allowed, .*; remove it"):
        load(tmp_path, flags={flag: True})


def test_the_one_scheduler_that_may_be_named_is_vitrines_own(tmp_path: Path) -> None:
    found = load(tmp_path, flags={"scheduler-cls": profile.SCHEDULER})
    assert found.arguments() == ["--scheduler-cls", "serve.paced_scheduler.PacedScheduler"]
    for other in ("serve.paced_scheduler.Other", "vllm.v1.core.sched.scheduler.Scheduler", [profile.SCHEDULER]):
        with pytest.raises(BadSettings, match=r"flags\.scheduler-cls is not allowed"):
            load(tmp_path, flags={"scheduler-cls": other})


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "test.toml", {key: value for key, value in PLAIN.items() if key != "device"})
    with pytest.raises(BadSettings, match="device is missing; add it"):
        profile.load(str(path))


@pytest.mark.parametrize("content", [b"name =", b"\xff\xfe", b"name = 1\nname = 2"])
def test_a_file_that_is_not_toml_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.toml"
    path.write_bytes(content)
    with pytest.raises(BadSettings, match=r"broken.toml cannot be read: .*; mend the file"):
        profile.load(str(path))


def test_a_switch_a_number_a_list_and_json_become_words(tmp_path: Path) -> None:
    found = load(
        tmp_path,
        flags={
            "enforce-eager": True,
            "async-scheduling": False,
            "seed": -1,
            "share": 0.5,
            "sizes": ["1", "2"],
            "x": "{}",
        },
    )
    assert found.arguments() == [
        "--enforce-eager",
        "--no-async-scheduling",
        "--seed",
        "-1",
        "--share",
        "0.5",
        "--sizes",
        "1",
        "2",
        "--x",
        "{}",
    ]


def test_a_card_adds_the_flags_of_its_capability_and_of_those_below(tmp_path: Path) -> None:
    found = load(
        tmp_path,
        flags={"dtype": "half", "kv-cache-dtype": "auto"},
        capability_flags={"10.0": {"seed": 10}, "8.9": {"kv-cache-dtype": "fp8", "seed": 8}},
    )
    assert found.on(8.6).flags == {"dtype": "half", "kv-cache-dtype": "auto"}
    assert found.on(8.9).flags == {"dtype": "half", "kv-cache-dtype": "fp8", "seed": 8}
    assert found.on(12.0).flags == {"dtype": "half", "kv-cache-dtype": "fp8", "seed": 10}  # 10.0 after 8.9, not before


def test_the_cache_in_fp8_is_for_cards_that_have_it_only() -> None:
    small = profile.load("glm-4.6v-flash-24gb")
    assert "kv-cache-dtype" not in small.on(8.6).flags
    assert small.on(8.9).flags["kv-cache-dtype"] == "fp8"


@pytest.mark.parametrize(
    ("flags", "places"),
    [
        ({"max-num-seqs": 16}, 16),
        ({"max-num-seqs": "16"}, 16),
        ({"max-num-seqs": 64, "data-parallel-size": 2}, 128),
        ({}, None),
        ({"max-num-seqs": "many"}, None),
    ],
)
def test_the_places_of_an_engine_are_its_flags(tmp_path: Path, flags: dict[str, Any], places: int | None) -> None:
    assert load(tmp_path, flags=flags).max_num_seqs == places


def test_the_digest_is_the_same_in_any_order_and_another_for_any_change(tmp_path: Path) -> None:
    flags, environment = {"seed": 1, "dtype": "half"}, {"A": "1", "B": "2"}
    one = load(tmp_path, flags=flags, environment=environment)
    two = load(tmp_path, flags=dict(reversed(flags.items())), environment=dict(reversed(environment.items())))
    assert one.digest() == two.digest()
    others = [
        load(tmp_path, flags={**flags, "seed": 2}, environment=environment),
        load(tmp_path, flags={**flags, "seed": "1"}, environment=environment),
        load(tmp_path, flags=flags, environment={**environment, "A": "2"}),
        load(tmp_path, flags=flags),
    ]
    assert len({one.digest(), *(other.digest() for other in others)}) == 5


def test_another_model_keeps_the_names_and_adds_its_folders() -> None:
    with pytest.raises(BadSettings, match="can't be used: leave out the characters"):
        profile.load("miniature").with_model(Path("/models/mi\x1bne"))
    found = profile.load("miniature").with_model(Path("/models/mine"))
    assert (found.model, found.served_names) == ("/models/mine", ["glm-4v", "glm-4v-miniature", "mine"])
    assert profile.load("miniature").with_model(Path("/models/glm-4v")).served_names == ["glm-4v", "glm-4v-miniature"]


def test_only_the_miniature_is_a_demo_and_another_model_in_its_profile_is_none() -> None:
    assert {name for name in NAMES if profile.load(name).demo} == {"miniature"}
    assert profile.load("miniature").demo == "demo model: simple shapes and short texts only"
    assert profile.load("miniature").with_model(Path("/models/mine")).demo == ""


def test_a_relative_model_folder_is_found_from_the_profile(tmp_path: Path) -> None:
    assert load(tmp_path, model="weights").model == str(tmp_path / "weights")
    assert profile.load("miniature").model == str(BUILT_IN.parent / "checkpoint")
