"""Every expression of every dashboard and alert, asked of a real Prometheus that scraped the real gateway at work."""

import math
import re

import pytest

from tests.monitoring.prometheus import QueryError
from tests.monitoring.promql import Expression, alerts, dashboards, of_alerts, of_dashboards, of_records
from tests.monitoring.town import Town

DASHBOARDS = list(of_dashboards())
ALERTS = list(of_alerts())
RECORDS = list(of_records())

# Metrics that the town can't have, each with its reason. Whatever needs one of them must be empty; all else must not.
ABSENT = {
    "DCGM_FI_DEV_GPU_UTIL": "there is no GPU",
    "DCGM_FI_DEV_FB_USED": "there is no GPU",
    "DCGM_FI_DEV_FB_FREE": "there is no GPU",
    "DCGM_FI_DEV_POWER_USAGE": "there is no GPU",
    "DCGM_FI_DEV_GPU_TEMP": "there is no GPU",
}
# Alerts whose expression the town's work makes true. The others must stay silent here; promtool makes them fire.
TRUE = {
    "VitrineErrorBudgetBurnsFast",
    "VitrineErrorBudgetBurnsSlowly",  # its windows are longer than the town lives, so they see the same
    "VitrineEngineDown",
    "VitrineKeysGuessed",
    "VitrineCertificateExpires",  # the town's own is good for a day
}
EITHER = {
    "VitrineLedgerDiskFills",  # by what the machine's disk is like
    "VitrineGatewayDown",  # before the first scrape there is no target
    "VitrineLedgerNotCommitting",  # by how many calls are in time beside the late ones: a quick machine makes more
}


def absent(expression: Expression) -> bool:
    return any(re.search(rf"\b{name}\b", expression.expr) for name in ABSENT)


def values(living: Town, expr: str) -> list[float]:
    """All finite values of ``expr`` during the town's day."""
    window = living.window
    series = living.prometheus.over(window.filled(expr), window)
    return [value for one in series for _, value in one.points if math.isfinite(value)]


def test_everything_is_scraped(living: Town) -> None:
    up = {(one.labels["job"], one.labels.get("engine")): one.last for one in living.prometheus.at("up")}
    assert up == {
        ("vitrine-gateway", None): 1,
        ("vitrine-engine", "engine-0"): 1,
        ("vitrine-engine", "engine-1"): 1,
        ("vitrine-engine", "far"): 1,
        ("prometheus", None): 1,
    }


@pytest.mark.parametrize("expression", DASHBOARDS, ids=lambda one: one.where)
def test_a_panel_shows_something(living: Town, expression: Expression) -> None:
    found = values(living, expression.expr)
    assert bool(found) is not absent(expression), f"{expression.expr}: {len(found)} values"


@pytest.mark.parametrize("expression", ALERTS, ids=lambda one: one.where)
def test_an_alert_is_true_where_the_work_makes_it_true_and_nowhere_else(living: Town, expression: Expression) -> None:
    found = values(living, expression.expr)
    assert expression.where in EITHER or bool(found) is (expression.where in TRUE)


@pytest.mark.parametrize("expression", RECORDS, ids=lambda one: one.where)
def test_what_is_recorded_is_there_and_a_share_is_one(living: Town, expression: Expression) -> None:
    found = values(living, expression.where)
    assert found
    if ":ratio_" in expression.where:
        assert all(0 <= value <= 1 for value in found)


@pytest.mark.parametrize(
    "selector", sorted(set().union(*(one.selectors() for one in [*DASHBOARDS, *ALERTS, *RECORDS])))
)
def test_every_series_that_is_asked_for_is_there(living: Town, selector: str) -> None:
    """Names and labels, also of alerts that are empty since nothing is wrong: a misspelt one would be empty for ever."""
    if absent(Expression("", selector)) or selector == 'ALERTS{alertstate="firing"}':
        return  # no GPU; and nothing is wrong for long enough within the town's day
    assert values(living, selector), selector


@pytest.mark.parametrize("name", [name for name in dashboards() if name.startswith("en/")])
def test_every_variable_offers_something(living: Town, name: str) -> None:
    for variable in dashboards()[name]["templating"]["list"]:
        if variable["type"] == "query":
            match = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"]["query"])
            assert match
            assert living.prometheus.label_values(match[1], match[2])


def test_prometheus_took_every_rule_over(living: Town) -> None:
    groups = living.prometheus.ask("/api/v1/rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert {rule["health"] for rule in rules} == {"ok"}
    assert {rule["name"] for rule in rules if rule["type"] == "alerting"} == {rule["alert"] for rule in alerts()}


def test_an_expression_that_is_broken_is_noticed(living: Town) -> None:
    assert values(living, "vitrine_exchange_total") == []  # a misspelt name
    with pytest.raises(QueryError, match="parse error"):
        values(living, "sum(rate(vitrine_exchanges_total[$__rate_interval])")


def test_the_town_had_all_it_needs_to_be_looked_at(living: Town) -> None:
    outcomes = {one.labels["outcome"] for one in living.prometheus.at("vitrine_exchanges_total")}
    assert {"completed", "engine_broke", "timed_out", "client_left"} <= outcomes
    codes = {one.labels["code"] for one in living.prometheus.at("vitrine_refused_total")}
    assert {"rate_limit_exceeded", "audit_unavailable", "model_not_found", "unknown_parameter"} <= codes
