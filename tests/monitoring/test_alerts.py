"""Alerts and objectives: promtool accepts and tests them; each has a section of the runbook with what is needed at night."""

import re
import subprocess

import pytest
import yaml

from dashboards.runbook import anchor, sections
from tests.docs.readme import tables
from tests.monitoring.promql import PROMETHEUS, alerts, dashboards
from tests.support.process import TOP
from tests.support.prometheus import program

RUNBOOK = sections((TOP / "docs" / "runbook.md").read_text(encoding="utf-8"))
ANCHORS = {f"docs/runbook.md#{anchor(title)}": title for title in RUNBOOK}
ALERTS = {rule["alert"]: rule for rule in alerts()}
TESTS = ("alerts_test.yml", "days_test.yml")
CHINESE = re.compile(r"[一-鿿]")


def promtool(*words: str) -> None:
    done = subprocess.run(
        [program("promtool"), *words], cwd=PROMETHEUS, capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_accepts_the_rules() -> None:
    promtool("check", "rules", "rules.yml", "alerts.yml")


def test_promtool_accepts_the_configuration() -> None:
    promtool("check", "config", "prometheus.yml")


def test_the_gateways_job_has_the_same_name_on_kubernetes() -> None:
    files = [TOP / "deploy" / "kubernetes" / name for name in ("monitoring.yaml", "gateway.yaml")]
    documents = [one for path in files for one in yaml.safe_load_all(path.read_text(encoding="utf-8"))]
    [monitor] = [one for one in documents if one["kind"] == "ServiceMonitor"]
    [service] = [one for one in documents if one["kind"] == "Service" and one["metadata"]["name"] == "vitrine-gateways"]
    job = service["metadata"]["labels"][monitor["spec"]["jobLabel"]]
    jobs = [one["job_name"] for one in yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())["scrape_configs"]]
    assert job in jobs
    assert f'up{{job="{job}"}}' in ALERTS["VitrineGatewayDown"]["expr"]


@pytest.mark.slow("promtool plays hours of series for each case")
@pytest.mark.parametrize("name", TESTS)
def test_every_alert_fires_when_it_must_and_does_not_when_it_must_not(name: str) -> None:
    promtool("test", "rules", name)


def test_every_alert_has_a_test_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    fires: set[str] = set()
    silent: set[str] = set()
    for name in TESTS:
        for case in yaml.safe_load((PROMETHEUS / name).read_text(encoding="utf-8"))["tests"]:
            for check in case["alert_rule_test"]:
                (fires if check["exp_alerts"] else silent).add(check["alertname"])
    assert fires == set(ALERTS)
    assert silent == set(ALERTS)


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_what_is_wrong_in_both_languages_and_where_to_read_on(name: str) -> None:
    rule = ALERTS[name]
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert not CHINESE.search(rule["annotations"]["summary"])
    assert CHINESE.search(rule["annotations"]["summary_zh"])
    assert rule["annotations"]["runbook_url"] in ANCHORS
    uids = {document["uid"] for document in dashboards().values()}
    assert rule["annotations"]["dashboard"].removeprefix("/d/") in uids


def test_the_table_of_alerts_is_complete() -> None:
    table = tables("docs/monitoring.md")["alerts"]
    written = {name: (cells[0], cells[-1].rpartition("(")[2].rstrip(")")) for name, cells in table.items()}
    assert written == {
        name: (rule["labels"]["severity"], rule["annotations"]["runbook_url"].removeprefix("docs/"))
        for name, rule in ALERTS.items()
    }


def test_every_section_of_the_runbook_belongs_to_an_alert() -> None:
    assert {rule["annotations"]["runbook_url"] for rule in ALERTS.values()} == set(ANCHORS)


@pytest.mark.parametrize("title", RUNBOOK)
def test_a_section_says_what_it_means_what_to_look_at_and_what_to_do(title: str) -> None:
    parts = re.findall(r"^\*\*(What it means|What to look at|What to do)\.\*\* (.+)", RUNBOOK[title], re.MULTILINE)
    assert [part for part, _ in parts] == ["What it means", "What to look at", "What to do"]
    assert all(len(text) > 20 for _, text in parts)


def test_what_the_runbook_tells_to_look_at_is_there() -> None:
    titles: dict[str, set[str]] = {}
    for name, document in dashboards().items():
        if name.startswith("en/"):
            titles[document["title"].partition(": ")[2].capitalize()] = {panel["title"] for panel in document["panels"]}
    for title, text in RUNBOOK.items():
        text = " ".join(text.split())
        for board, panels in re.findall(r"\*(\w+)\*, ((?:\"[^\"]+\"(?:,? and |, )?)+)", text):
            for panel in re.findall(r'"([^"]+)"', panels):
                assert panel.rstrip(",") in titles[board], f"{title}: {board} has no panel {panel!r}"
        for section in re.findall(r'as under "([^"]+)"', text):
            assert section in RUNBOOK
