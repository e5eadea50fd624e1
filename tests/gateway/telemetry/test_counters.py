"""What is counted without a socket: names past their number, and the time of a request that comes back to a stage."""

from dataclasses import replace
from typing import Any

import pytest
from prometheus_client import generate_latest

from gateway.relay.stage_times import StageTimes
from gateway.telemetry.catalogue import MOST_NAMES, OTHER, Outcome, RoutingReason, Stage
from gateway.telemetry.counters import Metrics
from gateway.telemetry.ended_exchange import EndedExchange
from tests.support.scrape import parse

ENDED = EndedExchange(
    id="",
    id_in_log="",
    route="/v1/chat/completions",
    model="glm-4v",
    tenant="default",
    engine="engine-0",
    outcome=Outcome.COMPLETED,
    status=200,
    stream=False,
    n=1,
    max_tokens=None,
    temperature=None,
    finish="stop",
    traceparent=b"",
    prompt_tokens=10,
    completion_tokens=5,
    images=0,
    image_bytes=0,
    image_pixels=0,
    body_bytes=100,
    answer_bytes=100,
    stages=[],
    began_s=0.0,
    ended_s=0.0,
    waited_s=None,
    first_byte_s=None,
    first_token_s=None,
    last_piece_s=0.0,
    longest_silence_s=0.0,
    admit_s=None,
    complete_s=None,
)
SERIES = "vitrine_tenant_limits_hit_total"


def test_names_past_their_number_are_counted_together() -> None:
    metrics = Metrics("0")
    for number in range(MOST_NAMES + 50):
        metrics.limited(f"tenant-{number}", "concurrent", "tenant")
        metrics.chosen(f"gpu-{number}", RoutingReason.ONLY)
    found = parse(generate_latest(metrics.registry).decode())
    tenants = {name: value for name, value in found.items() if name.startswith(SERIES)}
    assert len(tenants) == MOST_NAMES + 1
    assert tenants[f'{SERIES}{{limit="concurrent",tenant="{OTHER}"}}'] == 50
    assert found[f'vitrine_engine_choices_total{{engine="{OTHER}",why="only"}}'] == 50


def test_a_stage_that_is_come_back_to_adds_up_and_all_are_the_whole() -> None:
    moments = [(Stage.QUEUE, 1.0), (Stage.ENGINE, 1.25), (Stage.QUEUE, 3.0), (Stage.ENGINE, 3.5), (Stage.SEND, 7.0)]
    spent = replace(ENDED, ended_s=7.25, stages=[(Stage.AUTH, 0.0), *moments]).spent()
    assert spent == pytest.approx({Stage.AUTH: 1.0, Stage.QUEUE: 0.75, Stage.ENGINE: 5.25, Stage.SEND: 0.25})


def test_the_stage_that_goes_on_is_the_last_one_entered() -> None:
    times = StageTimes()
    times.enter(Stage.QUEUE)
    assert times.stage is Stage.QUEUE
    assert [stage for stage, _ in times.stages] == [Stage.AUTH, Stage.QUEUE]


@pytest.mark.parametrize(
    ("changes", "counted"),
    [
        ({"stream": True, "ended_s": 61.0}, 1),
        ({"stream": True, "ended_s": 2.9}, 0),
        ({"stream": False, "ended_s": 61.0}, 0),  # a whole answer has no first token
        ({"stream": True, "ended_s": 61.0, "first_token_s": 1.0}, 1),
        ({"stream": True, "ended_s": 61.0, "outcome": Outcome.ENGINE_BROKE}, 0),  # it burns the other objective
    ],
)
def test_a_client_that_leaves_after_the_objectives_time_without_a_token_counts_as_a_late_one(
    changes: dict[str, Any], counted: int
) -> None:
    metrics = Metrics("0")
    metrics.count(replace(ENDED, **{"outcome": Outcome.CLIENT_LEFT, **changes}))
    found = parse(generate_latest(metrics.registry).decode())
    assert found['vitrine_first_token_seconds_count{model="glm-4v"}'] == counted
    in_time = 1 if "first_token_s" in changes else 0
    assert found['vitrine_first_token_seconds_bucket{le="3.0",model="glm-4v"}'] == in_time
