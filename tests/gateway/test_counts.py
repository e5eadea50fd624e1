"""What is counted without a socket: names past their number, and the time of a request that comes back to a stage."""

import pytest
from prometheus_client import generate_latest

from gateway.counts import Metrics
from gateway.course import Course
from gateway.metrics import MOST_NAMES, OTHER, Choice, Stage
from tests.support.scrape import parse

SERIES = "vitrine_tenant_limits_hit_total"


def test_names_past_their_number_are_counted_together() -> None:
    metrics = Metrics("0")
    for number in range(MOST_NAMES + 50):
        metrics.limited(f"tenant-{number}", "concurrent", "tenant")
        metrics.chosen(f"gpu-{number}", Choice.ONLY)
    found = parse(generate_latest(metrics.registry).decode())
    tenants = {name: value for name, value in found.items() if name.startswith(SERIES)}
    assert len(tenants) == MOST_NAMES + 1
    assert tenants[f'{SERIES}{{limit="concurrent",tenant="{OTHER}"}}'] == 50
    assert found[f'vitrine_engine_choices_total{{engine="{OTHER}",why="only"}}'] == 50


def test_a_stage_that_is_come_back_to_adds_up_and_all_are_the_whole() -> None:
    course = Course()
    moments = [(Stage.QUEUE, 1.0), (Stage.ENGINE, 1.25), (Stage.QUEUE, 3.0), (Stage.ENGINE, 3.5), (Stage.SEND, 7.0)]
    course.began_s, course.ended_s = 0.0, 7.25
    course.stages = [(Stage.AUTH, 0.0), *moments]
    assert course.spent() == pytest.approx({Stage.AUTH: 1.0, Stage.QUEUE: 0.75, Stage.ENGINE: 5.25, Stage.SEND: 0.25})
    assert course.stage is Stage.SEND
