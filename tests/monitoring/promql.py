"""Every expression that we ship: of dashboards, alerts and recording rules, with the selectors inside it."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from tests.support.process import TOP

DASHBOARDS = TOP / "deploy" / "grafana" / "dashboards"
PROMETHEUS = TOP / "deploy" / "prometheus"
_SELECTOR = re.compile(r"\b((?:vitrine|vllm|DCGM)[A-Za-z0-9_:]*|up\b|ALERTS\b)(\{[^}]*\})?")


@dataclass(frozen=True)
class Expression:
    """``where`` names it for people: file and panel, or the alert's name."""

    where: str
    expr: str

    def selectors(self) -> set[str]:
        """Each metric with its labels, as it is written."""
        return {name + labels for name, labels in _SELECTOR.findall(self.expr)}


def dashboards() -> dict[str, dict[str, Any]]:
    """Every dashboard that is checked in, by its path."""
    return {
        path.relative_to(DASHBOARDS).as_posix(): json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(DASHBOARDS.rglob("*.json"))
    }


def of_dashboards() -> Iterator[Expression]:
    for name, document in dashboards().items():
        for panel in document["panels"]:
            for target in panel.get("targets", []):
                yield Expression(f"{name}: {panel['title']} {target['refId']}", target["expr"])


def rules(name: str) -> list[dict[str, Any]]:
    """All rules of a file in deploy/prometheus."""
    text = (PROMETHEUS / name).read_text(encoding="utf-8")
    return [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]


def alerts() -> list[dict[str, Any]]:
    return rules("alerts.yml")


def of_alerts() -> Iterator[Expression]:
    yield from (Expression(rule["alert"], rule["expr"]) for rule in alerts())


def of_records() -> Iterator[Expression]:
    yield from (Expression(rule["record"], rule["expr"]) for rule in rules("rules.yml"))
