"""A scrape of a gateway as Prometheus reads it: every series with its value, and what has moved since another scrape."""

import time
import urllib.request
from collections.abc import Callable

from prometheus_client.parser import text_string_to_metric_families

from tests.support.deadline import until

Series = dict[str, float]


def fetch(port: int, path: str = "/metrics") -> str:
    """The text of one scrape of the metrics port."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as answer:
        return str(answer.read().decode())


def scrape(port: int) -> Series:
    """Every series by its name as Prometheus writes it: ``name{a="b",c="d"}``, labels in the order of their names."""
    return parse(fetch(port))


def parse(text: str) -> Series:
    found: Series = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
            name = sample.name + (f"{{{labels}}}" if labels else "")
            assert name not in found, f"{name} is there twice"
            found[name] = sample.value
    return found


def moves(before: Series, after: Series) -> Series:
    """By how much each counted series went up: counters and the counts of histograms."""
    kept = {name: value for name, value in after.items() if _counts(name)}
    return {name: value - before.get(name, 0.0) for name, value in kept.items() if value != before.get(name, 0.0)}


def settled(port: int, moved: Callable[[Series], bool]) -> Series:
    """A scrape of which ``moved`` is true, once it comes: an exchange is counted just after its client has read it all."""
    found: list[Series] = []

    def look() -> bool:
        found[:] = [scrape(port)]
        return moved(found[0])

    until(look, what="counted")
    time.sleep(0.05)  # what is counted after it would come now
    return scrape(port)


def _counts(name: str) -> bool:
    bare = name.partition("{")[0]
    return bare.endswith(("_total", "_count"))
