"""The real engine's own metrics, through the real gateway and a real Prometheus: every expression about vLLM has an answer."""

import math
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.monitoring.prometheus import Prometheus, Window
from tests.monitoring.promql import of_alerts, of_dashboards
from tests.monitoring.town import asking, picture
from tests.support.deadline import until
from tests.support.fake_engine import VLLM_METRICS
from tests.support.prometheus import PrometheusServer
from tests.support.stack import Stack

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

SCRAPE_S = 1.0
OF_VLLM = [one for one in [*of_dashboards(), *of_alerts()] if "vllm:" in one.expr]
# True only where something is wrong with the engine.
SILENT = {"VitrineKvCacheFull", "VitrineEngineOverloaded"}


@pytest.fixture(scope="module")
def asked(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Prometheus, Window]]:
    """A Prometheus that saw the engine answer a few questions about pictures, some of them twice."""
    stack.wait_until_ready()
    folder: Path = tmp_path_factory.mktemp("prometheus")
    with PrometheusServer(folder, {"127.0.0.1:8081": f"127.0.0.1:{stack.metrics_port}"}, SCRAPE_S) as server:
        prometheus, started = Prometheus(server.url), time.time()
        until(lambda: prometheus.at('up{job="vitrine-engine"} == 1'), within_s=30, what="the engine is scraped")
        for turn in range(4):
            answer = stack.chat(stack.key, stream=turn % 2 == 0, max_tokens=20, messages=asking(picture(112, 112)))
            assert answer.status == 200
        later = f'timestamp(up{{job="vitrine-engine"}}) > {time.time() + 2 * SCRAPE_S}'
        until(lambda: prometheus.at(later), within_s=30, what="the engine was scraped twice more")
        yield prometheus, Window(started, time.time(), SCRAPE_S)


def test_every_expression_about_vllm_has_an_answer(asked: tuple[Prometheus, Window]) -> None:
    prometheus, window = asked
    assert len(OF_VLLM) > 20
    empty = []
    for one in OF_VLLM:
        series = prometheus.over(window.filled(one.expr), window)
        if not any(math.isfinite(value) for line in series for _, value in line.points):
            empty.append(one.where)
    assert set(empty) == SILENT


def _names(page: str) -> set[str]:
    return {line.split()[2] for line in page.splitlines() if line.startswith("# TYPE vllm:")}


def test_the_page_that_the_fake_engine_serves_has_the_real_ones_names(stack: Stack) -> None:
    stack.wait_until_ready()
    url = f"http://127.0.0.1:{stack.metrics_port}/metrics/engines/engine-0"
    with urllib.request.urlopen(url, timeout=10) as answer:
        assert _names(answer.read().decode()) == _names(VLLM_METRICS.read_text())
