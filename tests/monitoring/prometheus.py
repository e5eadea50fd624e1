"""Asks a Prometheus over its HTTP API, with the variables of a dashboard filled in as Grafana would; keeps nothing."""

import json
import re
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import Any

TIMEOUT_S = 30.0
_VARIABLE = re.compile(r"\$(\w+)|\$\{(\w+)\}")


class QueryError(Exception):
    """Prometheus refused the question, or did not answer; the text says why."""


@dataclass(frozen=True)
class Series:
    """One series of an answer: its labels, and (time, value) pairs, oldest first."""

    labels: dict[str, str]
    points: list[tuple[float, float]]

    @property
    def last(self) -> float:
        return self.points[-1][1]


@dataclass(frozen=True)
class Window:
    """The time range that a dashboard shows, in seconds since 1970, and how often the metrics are scraped."""

    start: float
    end: float
    scrape_s: float
    points: int = 240

    @property
    def step(self) -> float:
        return max(self.scrape_s, round((self.end - self.start) / self.points, 1))

    def filled(self, expr: str) -> str:
        """``expr`` without variables: all of them chosen, Grafana's own as Grafana computes them."""
        own = {
            "__rate_interval": f"{round(max(4 * self.scrape_s, self.step + self.scrape_s) * 1000)}ms",
            "__interval": f"{round(self.step * 1000)}ms",
            "__range": f"{round(self.end - self.start)}s",
        }
        return _VARIABLE.sub(lambda match: own.get(match[1] or match[2], ".*"), expr)


class Prometheus:
    """``url`` is where it answers, without a path."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    def at(self, expr: str, moment: float | None = None) -> list[Series]:
        """The value of ``expr`` now, or at ``moment``. Raises QueryError."""
        asked = {"query": expr} | ({} if moment is None else {"time": f"{moment:.3f}"})
        data = self._ask("/api/v1/query", asked)
        if data["resultType"] == "scalar":
            return [Series({}, [(float(data["result"][0]), float(data["result"][1]))])]
        return [Series(one["metric"], [_point(one["value"])]) for one in data["result"]]

    def over(self, expr: str, window: Window) -> list[Series]:
        """The values of ``expr`` in the window. Raises QueryError."""
        asked = {"query": expr, "start": f"{window.start:.3f}", "end": f"{window.end:.3f}", "step": f"{window.step}"}
        data = self._ask("/api/v1/query_range", asked)
        return [Series(one["metric"], [_point(pair) for pair in one["values"]]) for one in data["result"]]

    def label_values(self, metric: str, label: str) -> list[str]:
        """What a dashboard's variable offers. Raises QueryError."""
        return list(self._ask(f"/api/v1/label/{label}/values", {"match[]": metric}))

    def ask(self, path: str) -> Any:
        """Any other question: the answer's data. Raises QueryError."""
        return self._ask(path, {})

    def _ask(self, path: str, asked: dict[str, str]) -> Any:
        url = f"{self.url}{path}?{urllib.parse.urlencode(asked)}"
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise QueryError(f"{asked.get('query', path)}: {_reason(error)}") from None
        except OSError as error:
            raise QueryError(f"{self.url} does not answer: {error}") from None


def _point(pair: list[Any]) -> tuple[float, float]:
    return float(pair[0]), float(pair[1])


def _reason(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.load(error)["error"])
    except (ValueError, KeyError):
        return f"status {error.code}"
