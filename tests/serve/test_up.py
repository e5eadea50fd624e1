"""``python -m serve up`` as the operator runs it: ready, private, isolated, told to other rooms, and drained at the end."""

import os
import signal
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from serve import model_manifest, profile
from tests.serve.house import STANDIN, House, group
from tests.support.deadline import until
from tests.support.process import TOP, Process

OURS = {
    "VITRINE_ENGINE_DRAIN_TIMEOUT_S": "20",
    "VITRINE_TEST": "ours",
    "VLLM_API_KEY": "ours",
    "OPENAI_API_KEY": "ours",
    "HF_TOKEN": "ours",
    "http_proxy": "http://127.0.0.1:9",
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
    "CUDA_VISIBLE_DEVICES": "0",
    "HF_HUB_OFFLINE": "0",
}


@dataclass
class Running:
    house: House
    process: Process
    profile: Path
    state: dict[str, Any]


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with House() as house:
        name = house.profile({"OF_THE_PROFILE": "1"})
        process = house.start("serve", "up", str(name), **OURS)
        process.line_with("ready after")
        yield Running(house, process, name, house.until_phase("ready"))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_state_file_tells_other_rooms_what_runs(running: Running, tmp_path: Path) -> None:
    state = running.state
    chosen = profile.load(str(running.profile))
    assert state["schema"] == 1
    assert (state["number"], state["profile"], state["model"]) == (0, "test", str(running.house.model))
    assert state["served_names"] == ["glm-4v", "standin"]
    assert state["supervisor_pid"] == running.process.pid
    assert f"--max-model-len\0{state['max_model_len']}" in Path(f"/proc/{state['pid']}/cmdline").read_text()
    assert state["flags_digest"] == chosen.digest()
    assert state["manifest_root"] == model_manifest.root(running.house.model, tmp_path / "cache.json")
    assert state["started_at_s"] < state["ready_since_s"] <= state["written_at_s"]
    assert (state["restarts"], state["hangs"], state["silent_since_s"], state["message"]) == (0, 0, None, "")
    assert state["max_num_seqs"] is None  # this profile leaves it to vLLM


def test_the_socket_and_every_folder_above_it_are_private(running: Running) -> None:
    home = running.house.home
    for path in (
        home,
        home / "run",
        home / "run" / "engine-0",
        home / "cache",
        running.house.engine_folder / "engine.sock",
    ):
        assert mode(path) == 0o700, path
    assert mode(running.house.engine_folder / "state.json") == 0o600


def test_the_engine_has_a_network_of_its_own_and_the_state_proves_it(running: Running) -> None:
    proof = running.state["namespace"]
    if not proof["isolated"]:
        assert "the engine is NOT isolated" in running.process.output
        pytest.skip("this machine allows no network namespace")
    theirs = os.stat(f"/proc/{running.state['pid']}/ns/net").st_ino
    assert (proof["inode"], proof["interfaces"], proof["no_routes"]) == (theirs, ["lo"], 0)
    assert theirs != os.stat("/proc/self/ns/net").st_ino
    assert f"isolated: network namespace {theirs} with lo alone" in running.process.output


def test_the_engine_inherits_the_machine_and_nothing_of_ours(running: Running) -> None:
    raw = Path(f"/proc/{running.state['pid']}/environ").read_text()
    found = dict(item.split("=", 1) for item in raw.rstrip("\0").split("\0"))
    assert "ours" not in found.values()
    assert not [name for name in found if name.startswith("VITRINE_") or name.lower().endswith("_proxy")]
    assert {name for name in found if name.startswith("VLLM_")} == {
        "VLLM_HOST_IP",
        "VLLM_NO_USAGE_STATS",
        "VLLM_PLUGINS",
        "VLLM_CACHE_ROOT",
        "VLLM_CONFIG_ROOT",
    }
    assert (found["HF_HUB_OFFLINE"], found["DO_NOT_TRACK"], found["VLLM_PLUGINS"]) == ("1", "1", "")
    assert (found["CUDA_VISIBLE_DEVICES"], found["OF_THE_PROFILE"]) == ("0", "1")
    assert found["PYTHONPATH"] == f"{STANDIN}{os.pathsep}{TOP}"  # the profile's; ours has one folder
    caches = [
        found[name] for name in ("XDG_CACHE_HOME", "TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR", "VLLM_CACHE_ROOT")
    ]
    assert all(Path(cache).is_relative_to(running.house.home / "cache") for cache in caches)


def test_the_engines_lines_are_passed_on_with_its_name(running: Running) -> None:
    assert running.process.lines[0] == "engine-0 | starting vLLM with profile test"
    assert "engine-0 | stand-in | loading" in running.process.lines


def test_a_second_one_is_told_that_another_listens(running: Running) -> None:
    second = running.house.start("serve", "up", str(running.profile))
    assert second.wait() == 1
    assert len(second.lines) == 1
    assert "another engine listens on" in second.lines[0]
    assert running.house.state["phase"] == "ready"


def test_sigterm_lets_a_running_request_finish(house: House) -> None:
    process = house.start("serve", "up", str(house.profile()), VITRINE_ENGINE_DRAIN_TIMEOUT_S="20")
    process.line_with("ready after")
    engine = house.state["pid"]
    asked = house.ask({"hold": True})
    process.line_with("stand-in | holding a request")
    os.kill(process.pid, signal.SIGTERM)
    assert asked.answer() == {"usage": {"completion_tokens": 1}}
    assert process.wait() == 0
    assert "engine-0 | stopping: running requests have 20 s to finish" in process.lines
    assert "engine-0 | stand-in | drained" in process.lines
    assert group(engine) == []
    assert (house.state["phase"], house.state["pid"]) == ("stopped", 0)
    assert not (house.engine_folder / "engine.sock").exists()


def test_ctrl_c_during_load_is_one_sentence_with_status_3(house: House) -> None:
    process = house.start("serve", "up", str(house.profile(never_serves=True)))
    process.line_with("stand-in | loading")
    engine = house.until_phase("loading")["pid"]
    assert process.end(signal.SIGINT) == 3
    assert process.lines[-1] == "error: stopped by SIGINT before the engine was ready; start it again when you like"
    assert group(engine) == []


def test_an_engine_that_tries_to_get_out_is_told_in_the_state(house: House) -> None:
    process = house.supervise(knocks_once_ready=True)
    until(lambda: house.state.get("phase") == "ready", within_s=30, what="ready")
    if not house.state["namespace"]["isolated"]:
        pytest.skip("this machine allows no network namespace")
    until(lambda: house.state["namespace"]["no_routes"] == 1, within_s=10, what="the attempt is told")
    process.line_with("WARNING 1 packets of the engine tried to leave its network and found no way out")


def test_isolation_can_be_switched_off_and_the_state_says_so(house: House) -> None:
    process = house.start("serve", "up", str(house.profile()), VITRINE_ENGINE_ISOLATION="off")
    process.line_with("ready after")
    proof = house.state["namespace"]
    assert (proof["isolated"], proof["inode"]) == (False, os.stat("/proc/self/ns/net").st_ino)
    assert not [line for line in process.lines if "isolated:" in line]
    assert process.end() == 0
