"""The supervisor against an engine that misbehaves: real processes, a stand-in for vLLM, no long waits."""

import os
import signal
import socket
import time
from typing import Any

import pytest

from tests.serve.house import House, group
from tests.support.deadline import until

FAILED, NEVER_SERVED = 1, 3


def test_an_engine_that_dies_while_loading_was_never_served(house: House) -> None:
    process = house.supervise(dies_while_loading=True)
    assert process.wait() == NEVER_SERVED
    assert "stand-in | the weights are of another model" in process.lines
    assert process.lines[-1] == "error: the engine ended with status 1 while loading; its last lines above say why"
    assert (house.state["phase"], house.state["pid"]) == ("failed", 0)
    assert "ended with status 1" in house.state["message"]


def test_an_engine_that_never_gets_healthy_is_given_up(house: House) -> None:
    process = house.supervise(never_serves=True, starts_a_child=True, settings={"load_timeout_s": 1.5})
    engine = house.until_phase("loading")["pid"]
    assert process.wait() == NEVER_SERVED
    assert process.lines[-1] == "error: the engine was not ready after 2 s; raise VITRINE_ENGINE_LOAD_TIMEOUT_S"
    house.until_gone(engine)


def test_an_engine_that_answers_no_token_is_not_called_ready(house: House) -> None:
    process = house.supervise(answers_no_token=True)
    assert process.wait() == NEVER_SERVED
    assert "the engine is up but does not answer about a picture (status 200" in process.lines[-1]
    assert house.state["ready_since_s"] is None


def test_an_engine_that_dies_in_its_warm_up_is_told_as_dead(house: House) -> None:
    process = house.supervise(dies_in_its_warm_up=True)
    assert process.wait() == NEVER_SERVED
    assert process.lines[-1].startswith("error: the engine ended with status 7 while loading")


def test_an_engine_that_hides_its_length_is_one_sentence(house: House) -> None:
    process = house.supervise(hides_its_length=True)
    assert process.wait() == NEVER_SERVED
    assert "error: the engine does not say its context length (IndexError" in process.lines[-1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_while_loading_is_one_sentence_and_leaves_no_process(house: House, number: signal.Signals) -> None:
    process = house.supervise(never_serves=True, ignores_sigterm=True, starts_a_child=True)
    process.line_with("stand-in | loading")
    engine = house.until_phase("loading")["pid"]
    assert process.end(number) == NEVER_SERVED
    assert process.lines[-1] == (
        f"error: stopped by {number.name} before the engine was ready; start it again when you like"
    )
    assert group(engine) == []
    assert house.state["phase"] == "stopped"


def test_a_stop_does_not_wait_for_the_digest_of_a_large_model(house: House) -> None:
    with (house.model / "large").open("wb") as file:
        file.truncate(1 << 40)  # no blocks on the disk, but a quarter of an hour to read
    process = house.supervise(never_serves=True)
    process.line_with("stand-in | loading")
    assert process.end(within_s=30) == NEVER_SERVED


def test_an_abbreviated_flag_is_refused_by_the_engine_itself(house: House) -> None:
    """As --trust-remote would be: it is not on the profile's list of forbidden names."""
    process = house.supervise(flags={"max-model": 5})
    assert process.wait() == NEVER_SERVED
    assert "unrecognized arguments: --max-model 5" in process.output


def test_a_dead_engine_is_started_again(house: House) -> None:
    process = house.supervise()
    first = house.until_phase("ready")
    os.kill(first["pid"], signal.SIGKILL)
    process.line_with("WARNING the engine ended with status -9")
    process.line_with("starting again in 0 s")
    second = until(lambda: house.state if house.state["pid"] not in (0, first["pid"]) else {}, what="another engine")
    second = house.until_phase("ready")
    assert second["restarts"] == 1
    assert second["ready_since_s"] > first["ready_since_s"]
    assert process.end() == 0


def test_the_state_says_restarting_between_two_lives(house: House) -> None:
    process = house.supervise(backoff={"first_s": 60})
    os.kill(house.until_phase("ready")["pid"], signal.SIGKILL)
    state = house.until_phase("restarting")
    assert (state["pid"], state["ready_since_s"], state["restarts"]) == (0, None, 1)
    assert process.end() == 0  # at once, not after the minute
    assert house.state["phase"] == "stopped"


def test_an_engine_that_keeps_dying_is_given_up_in_the_end(house: House) -> None:
    process = house.supervise(dies_once_ready=True, backoff={"allowed": 2})
    assert process.wait() == FAILED
    assert process.lines[-1].startswith("error: the engine keeps dying soon after its start")
    assert sum("starting vLLM" in line for line in process.lines) == 3
    assert (house.state["phase"], house.state["ready_since_s"], house.state["restarts"]) == ("failed", None, 2)


def test_an_engine_that_dies_while_it_loads_again_counts_as_one_more_short_life(house: House) -> None:
    lived = str(house.folder / "lived")
    process = house.supervise(dies_while_loading=True, only_in_later_lives=lived, backoff={"allowed": 2})
    os.kill(house.until_phase("ready")["pid"], signal.SIGKILL)
    assert process.wait() == FAILED
    again = [line for line in process.lines if line.startswith("WARNING the engine ended with status 1 while loading")]
    assert len(again) == 2
    assert process.lines[-1].startswith("error: the engine keeps dying")


@pytest.mark.parametrize("how", ["hangs_once_ready", "makes_no_token_once_ready"])
def test_an_engine_that_makes_no_token_is_killed_in_time_and_started_again(house: House, how: str) -> None:
    """Whether it answers nothing any more, or /health only: EngineCore hangs and the API server does not."""
    behaviour: dict[str, Any] = {how: True}
    process = house.supervise(
        settings={"hang_timeout_s": 2}, **behaviour, only_in_the_first_life=str(house.folder / "lived")
    )
    ready_s = house.until_phase("ready")["ready_since_s"]
    process.line_with("although it was asked for one", within_s=5)
    assert ready_s - 1 < house.state["silent_since_s"] < time.time()
    process.line_with("WARNING the engine hangs: it made no token for 2 s and was killed", within_s=5)
    assert time.time() - ready_s < 4
    process.line_with("starting again in")
    state = house.until_phase("ready")
    assert (state["restarts"], state["hangs"], state["silent_since_s"]) == (1, 1, None)
    assert process.end() == 0


def test_the_state_says_that_it_hung_until_it_is_started_again(house: House) -> None:
    process = house.supervise(makes_no_token_once_ready=True, settings={"hang_timeout_s": 1}, backoff={"first_s": 60})
    state = house.until_phase("restarting")
    assert state["message"] == "it made no token for 1 s and was killed"
    assert process.end() == 0


def test_a_busy_engine_that_lets_a_token_wait_is_not_hung(house: House) -> None:
    process = house.supervise(makes_no_token_once_ready=True, counts=True, settings={"hang_timeout_s": 0.5})
    ready_s = house.until_phase("ready")["ready_since_s"]
    until(lambda: time.time() - ready_s > 2, what="four times as long as a hang")
    assert (house.state["phase"], house.state["hangs"], house.state["silent_since_s"]) == ("ready", 0, None)
    assert process.end() == 0


def test_an_idle_engine_that_answers_is_not_hung(house: House) -> None:
    process = house.supervise(settings={"hang_timeout_s": 0.5})
    ready_s = house.until_phase("ready")["ready_since_s"]
    until(lambda: time.time() - ready_s > 2, what="four times as long as a hang")
    assert (house.state["phase"], house.state["hangs"]) == ("ready", 0)
    assert process.end() == 0


def test_without_the_setting_no_engine_is_called_hung(house: House) -> None:
    process = house.supervise(makes_no_token_once_ready=True, settings={"hang_timeout_s": 0})
    process.line_with("although it was asked for one")
    assert house.state["phase"] == "ready"
    assert process.end() == 0


def test_an_engine_that_ignores_sigterm_is_killed_with_its_children(house: House) -> None:
    process = house.supervise(ignores_sigterm=True, starts_a_child=True)
    engine = house.until_phase("ready")["pid"]
    assert len(group(engine)) == 2
    assert process.end() == 0
    assert "WARNING not gone 1 s after SIGTERM, killing it" in process.output
    assert group(engine) == []


def test_a_process_that_left_the_engines_group_is_killed_with_it(house: House) -> None:
    process = house.supervise(starts_a_child_that_leaves=True)
    child = int(process.line_with("stand-in | child").split()[-1])
    house.until_phase("ready")
    assert process.end() == 0
    assert f"killing process {child}, which left the engine's group" in process.output
    assert group(child) == []


def test_a_killed_engine_is_seen_at_once_while_its_children_live_and_none_outlives_it(house: House) -> None:
    """As vLLM's EngineCore does: it holds the output open, and the next health check is far away."""
    process = house.supervise(starts_a_child=True, starts_a_child_that_leaves=True, pace={"health_s": 300})
    child = int(process.line_with("stand-in | child").split()[-1])
    first = house.until_phase("ready")
    os.kill(first["pid"], signal.SIGKILL)
    process.line_with("WARNING the engine ended with status -9", within_s=5)
    process.line_with("starting again in", within_s=5)
    assert group(first["pid"]) == group(child) == []
    assert process.end() == 0


def test_a_second_signal_does_not_wait_for_running_requests(house: House) -> None:
    process = house.supervise(ignores_sigterm=True, settings={"drain_timeout_s": 600})
    engine = house.until_phase("ready")["pid"]
    process.send(signal.SIGTERM)
    process.line_with("stopping: running requests have 600 s to finish")
    assert process.end(signal.SIGTERM, within_s=10) == 0
    assert group(engine) == []


def test_a_stale_socket_is_removed(house: House) -> None:
    house.engine_folder.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(house.engine_folder / "engine.sock"))
    process = house.supervise()
    house.until_phase("ready")
    assert process.end() == 0
    assert not (house.engine_folder / "engine.sock").exists()


def test_a_second_supervisor_of_the_same_number_is_refused_and_another_number_is_not(house: House) -> None:
    first = house.supervise(never_serves=True)
    first.line_with("stand-in | loading")
    second = house.supervise()
    assert second.wait() == FAILED
    assert second.lines == ["error: engine-0 is already running here; stop it, or choose another number with --engine"]
    third = house.supervise(settings={"number": 1})
    third.line_with("ready after")
    assert third.end() == 0
    assert house.state["phase"] == "loading"
    assert first.end() == NEVER_SERVED


def test_an_engine_does_not_outlive_a_killed_supervisor(house: House) -> None:
    process = house.supervise()
    engine = house.until_phase("ready")["pid"]
    process.end(signal.SIGKILL)
    house.until_gone(engine)
    again = house.supervise()
    again.line_with("ready after")
    assert again.end() == 0


def test_a_line_of_2_mib_does_not_stop_the_lines_after_it(house: House) -> None:
    process = house.supervise(prints_bytes=2 << 20)
    process.line_with("stand-in | after the long line")
    house.until_phase("ready")
    assert process.end() == 0
    assert "stand-in | drained" in process.lines


def test_what_an_engine_prints_steers_no_terminal(house: House) -> None:
    process = house.supervise(prints="\x1b[31msaid\x1b[0m \x1b[2J\u202e\x9b\u2028李", dies_while_loading=True)
    assert process.wait() == NEVER_SERVED
    assert r"said \x1b[2J\u202e\x9b\u2028李" in process.lines


def test_a_file_where_the_state_folder_should_be_is_one_sentence(house: House) -> None:
    house.home.write_text("")
    process = house.supervise()
    assert process.wait() == FAILED
    assert process.lines == [f"error: {house.engine_folder} cannot be made (File exists); set VITRINE_HOME elsewhere"]
