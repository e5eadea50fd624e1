"""What the gateway's processes print of themselves stays text, whatever an event or an exception holds."""

import re
from collections.abc import Iterator

import pytest
import structlog

from gateway.telemetry import logs

ODD = "gpu\x1b[2J\u202e\x9b1A\r\u2028"


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def test_an_event_and_a_fault_are_printed_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    structlog.get_logger().error("the roster was not taken over\n2026-11-30 [info] all is well", why=ODD, names=[ODD])
    try:
        raise ValueError(ODD)
    except ValueError:
        structlog.get_logger().exception("a fault")
    lines = re.sub("\x1b\\[[0-9;]*m", "", capsys.readouterr().out).rstrip("\n").split("\n")
    assert all(line.isprintable() for line in lines), lines
    assert sum(r"gpu\x1b[2J\u202e\x9b1A\r\u2028" in line for line in lines) == 2
    assert not any(line.startswith("2026-11-30 [info]") for line in lines)
    assert any(line.startswith("Traceback") for line in lines)


def test_each_kind_of_503_is_said_at_once_and_then_once_a_minute_with_its_number(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure()
    now_s = 1000.0
    refusals = logs.RefusalLog(clock_s=lambda: now_s)
    for _ in range(5):
        refusals.note("engine_busy", "the engine is busy")
        refusals.note("audit_unavailable", "the audit log does not answer")
    now_s += 60
    refusals.note("engine_busy", "the engine is busy")
    lines = [line for line in capsys.readouterr().out.splitlines() if "requests are answered 503" in line]
    assert [(re.findall(r"code=(\w+)", line), re.findall(r"count=(\d+)", line)) for line in lines] == [
        (["engine_busy"], ["1"]),
        (["audit_unavailable"], ["1"]),
        (["engine_busy"], ["5"]),
    ]
