"""``vitrine up``: processes start together, stop in order, lose no answer, and leave no process behind."""

import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import psutil
import pytest

from tests.serve.house import House
from tests.support.audit import records
from tests.support.deadline import until
from tests.support.gateway import PATIENT, Gateway
from tests.support.ports import free_port
from tests.support.process import Process

KILLED_BY_HAND = 128 + signal.SIGINT


def part(name: str, *, needs_s: float = 0, deaf: bool = False, more: str = "pass") -> tuple[str, str]:
    """A program that says when it is up and when it ends, for which it needs ``needs_s`` after one signal, nothing after two."""
    return (
        name,
        f"""
import os, signal, subprocess, sys, time
signals = []
for one in (signal.SIGTERM, signal.SIGINT):
    signal.signal(one, lambda number, _: {deaf} or signals.append(number))
{more}
def say(line):
    sys.stdout.write(line + "\\n")
    sys.stdout.flush()
say(f"{name} is up {{os.getpid()}}")
while not signals:
    time.sleep(0.01)
until = time.monotonic() + {needs_s}
while time.monotonic() < until and len(signals) < 2:
    time.sleep(0.01)
say("{name} ends")
""",
    )


class Up:
    """The stack with small programs."""

    def __init__(self, *parts: tuple[str, str], at_once_s: float = 5.0) -> None:
        self.process = Process("tests.support.parts", json.dumps({"parts": parts, "at_once_s": at_once_s}), env={})
        self.pids = {
            name: int(self.process.line_with(f"{name} is up").split()[-1]) for name, _ in parts if "is up" in _
        }

    def ended(self) -> list[str]:
        return [line.split()[0] for line in self.process.lines if line.endswith(" ends")]


def alive(*pids: int) -> list[int]:
    found = []
    for pid in pids:
        with suppress(psutil.NoSuchProcess):
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                found.append(pid)
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_one_signal_stops_each_part_after_the_one_before_it_has_ended(number: signal.Signals) -> None:
    up = Up(part("first"), part("second", needs_s=0.3), part("third", needs_s=0.6))
    assert up.process.end(number) == 0
    assert up.ended() == ["third", "second", "first"]
    assert "stopping third, then second, then first; a second Ctrl-C ends at once" in up.process.lines
    assert alive(*up.pids.values()) == []


def test_ctrl_c_in_the_terminal_reaches_no_part_but_through_the_stack() -> None:
    up = Up(part("first"), part("second", needs_s=0.5))
    assert up.process.interrupt() == 0
    assert up.ended() == ["second", "first"]


def test_a_second_signal_ends_all_at_once_and_the_first_part_still_last() -> None:
    up = Up(part("first"), part("second", needs_s=300), part("third", needs_s=300))
    up.process.send(signal.SIGINT)
    up.process.line_with("stopping third")
    until(lambda: len(up.ended()) == 0, what="the third waits")
    assert up.process.end(signal.SIGINT, within_s=10) == KILLED_BY_HAND
    assert up.ended()[-1] == "first"
    assert sorted(up.ended()) == ["first", "second", "third"]


def test_a_part_that_ignores_two_signals_is_killed_and_so_are_its_children() -> None:
    sleeps = "[sys.executable, '-c', 'import time; time.sleep(300)']"
    leaves = f"print('child', subprocess.Popen({sleeps}, start_new_session=True).pid, flush=True)"
    up = Up(part("first"), part("deaf", deaf=True, more=leaves), at_once_s=0.5)
    child = int(up.process.line_with("child").split()[-1])
    up.process.send(signal.SIGTERM)
    up.process.line_with("stopping deaf")
    assert up.process.end(signal.SIGTERM, within_s=15) == 128 + signal.SIGTERM
    assert "deaf has not ended" in up.process.output
    assert up.ended() == ["first"]
    assert f"killing {child}, which outlived its parent" in up.process.lines
    assert alive(child, *up.pids.values()) == []


def test_when_one_part_ends_the_others_are_stopped_in_order_and_its_status_is_the_stacks() -> None:
    up = Up(part("first"), ("fails", "import time; time.sleep(0.5); raise SystemExit(78)"), part("third"))
    assert up.process.wait() == 78
    assert "fails ended with status 78; the others are stopped" in up.process.lines
    assert up.ended() == ["third", "first"]


def test_a_part_killed_by_a_signal_is_a_status_as_a_shell_says_it() -> None:
    up = Up(part("first"), part("second"))
    os.kill(up.pids["second"], signal.SIGKILL)
    assert up.process.wait() == 128 + signal.SIGKILL
    assert up.ended() == ["first"]


def test_no_part_outlives_a_killed_stack() -> None:
    up = Up(part("first"), part("second"))
    up.process.end(signal.SIGKILL)
    until(lambda: alive(*up.pids.values()) == [], what="both have ended")


# The real ledger, supervisor and gateway, and a stand-in for vLLM.


class Running(Gateway):
    """``vitrine up`` in a house, ready to be asked."""

    def __init__(self, house: House, **settings: str) -> None:
        self.home, self.port = house.home, free_port()
        self.metrics_port = free_port()
        ours = {
            "VITRINE_ENGINE_PROFILE": str(house.profile(answers_after_s=3)),
            "VITRINE_PORT": str(self.port),
            "VITRINE_METRICS_PORT": str(self.metrics_port),
        }
        self.process = house.start("vitrine", "up", **PATIENT, **ours, **settings)
        self.process.line_with("Ctrl-C stops everything.", within_s=60)


@pytest.fixture
def house() -> Iterator[House]:
    with House() as made:
        yield made


@pytest.mark.slow("starts the whole stack, and its answers take three seconds")
@pytest.mark.parametrize("workers", ["1", "2"])
def test_ctrl_c_under_load_loses_no_answer_and_no_record_and_leaves_no_process(house: House, workers: str) -> None:
    up = Running(house, VITRINE_WORKERS=workers, VITRINE_DRAIN_TIMEOUT_S="30")
    key = up.create_key()
    below = [one.pid for one in psutil.Process(up.process.pid).children(recursive=True)]
    with ThreadPoolExecutor(8) as clients:
        answers = [clients.submit(up.chat, key) for _ in range(8)]
        until(lambda: len(records(house.home, kind="admit")) == 8, what="all are asked")
        assert up.process.interrupt() == 0, up.process.output
        assert [answer.result(30).status for answer in answers] == [200] * 8
    assert len(records(house.home, kind="complete", outcome="completed")) == 8
    assert sum("stopping: waiting for 8 answers" in line for line in up.process.lines) == 1, up.process.output
    assert alive(*below) == []
    assert [record for record in records(house.home) if record["kind"] == "shutdown"], "the ledger ended in order"


def test_the_time_for_running_answers_is_the_gateways_setting(house: House) -> None:
    up = Running(house, VITRINE_DRAIN_TIMEOUT_S="1")
    key = up.create_key()
    with ThreadPoolExecutor(1) as clients:
        answer = clients.submit(up.chat, key)
        until(lambda: len(records(house.home, kind="admit")) == 1, what="it is asked")
        assert up.process.interrupt() == 0, up.process.output
        assert answer.result(30).status == 504
    assert len(records(house.home, kind="complete", outcome="timed_out")) == 1
