"""The dashboards' JSON is what dashboards/ makes, and what Grafana documents; both languages ask the same."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard as GrafanasOwn

from dashboards.__main__ import FOLDER, documents, printed
from dashboards.grafana import RUNBOOK_UID
from tests.monitoring.promql import dashboards
from tests.monitoring.units import written

ALL = dashboards()
CHINESE = re.compile(r"[一-鿿]")


def test_what_is_checked_in_is_what_dashboards_makes() -> None:
    made = {name: printed(value) for name, value in documents()}
    kept = {path.relative_to(FOLDER).as_posix(): path.read_text(encoding="utf-8") for path in FOLDER.rglob("*.json")}
    assert kept.keys() == made.keys()
    assert [name for name in made if made[name] != kept[name]] == [], "run `make dashboards`"


def test_both_languages_ask_the_same_in_the_same_places() -> None:
    names = {name.partition("/")[2] for name in ALL} - {"runbook.json"}
    assert len(names) == 5
    for name in names:
        english, chinese = ALL[f"en/{name}"], ALL[f"zh/{name}"]
        for ours, theirs in zip(english["panels"], chinese["panels"], strict=True):
            assert (ours["gridPos"], ours["type"], ours["id"]) == (theirs["gridPos"], theirs["type"], theirs["id"])
            assert [one["expr"] for one in ours.get("targets", [])] == [
                one["expr"] for one in theirs.get("targets", [])
            ]


def _texts(document: dict[str, Any]) -> Iterator[str]:
    yield document["title"]
    yield document["description"]
    for panel in document["panels"]:
        yield panel["title"]
        yield from filter(None, [panel.get("description")])


@pytest.mark.parametrize("name", ALL)
def test_titles_and_descriptions_are_in_the_language_of_the_folder(name: str) -> None:
    wrong = [text for text in _texts(ALL[name]) if bool(CHINESE.search(text)) != name.startswith("zh/")]
    assert wrong == []


@pytest.mark.parametrize("name", ALL)
def test_no_panel_lies_on_another_or_off_the_grid(name: str) -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in ALL[name]["panels"]:
        grid = panel["gridPos"]
        assert 0 <= grid["x"] < grid["x"] + grid["w"] <= 24
        for cell in (
            (x, y) for x in range(grid["x"], grid["x"] + grid["w"]) for y in range(grid["y"], grid["y"] + grid["h"])
        ):
            assert cell not in taken, f"{panel['title']} lies on {taken[cell]}"
            taken[cell] = panel["title"]


@pytest.mark.parametrize("name", [name for name in ALL if "runbook" not in name])
def test_every_panel_has_a_description_a_unit_and_the_chosen_datasource(name: str) -> None:
    for panel in ALL[name]["panels"]:
        if panel["type"] == "row":
            continue
        assert panel["description"]
        assert panel["datasource"]["uid"] == "${datasource}"
        assert written(1.5, panel["fieldConfig"]["defaults"]["unit"])
        assert panel["targets"]
    variables = [one["name"] for one in ALL[name]["templating"]["list"]]
    asked = set(re.findall(r"\$(\w+)", " ".join(t["expr"] for p in ALL[name]["panels"] for t in p.get("targets", []))))
    assert {one for one in asked if not one.startswith("__")} == set(variables) - {"datasource"}


@pytest.mark.parametrize("name", [name for name in ALL if "runbook" not in name])
def test_links_to_the_runbook_lead_to_the_section_they_name(name: str) -> None:
    sections = {panel["id"]: panel["title"] for panel in ALL["en/runbook.json"]["panels"]}
    links = [link for panel in ALL[name]["panels"] for link in panel.get("links", [])]
    for link in links:
        match = re.fullmatch(rf"/d/{RUNBOOK_UID}\?viewPanel=(\d+)", link["url"])
        assert match, link
        assert link["title"].endswith(sections[int(match[1])])
    assert links or "tenants" in name


def test_every_uid_is_there_once() -> None:
    uids = [document["uid"] for document in ALL.values()]
    assert len(uids) == len(set(uids)) == 11
    assert all(len(uid) <= 40 for uid in uids)


def _paths(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf of a JSON value; list entries by their place."""
    if isinstance(value, dict):
        for key, one in value.items():
            yield from _paths(one, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from _paths(one, f"{path}[{number}]")
    else:
        yield path, value


def misunderstood(document: dict[str, Any]) -> list[str]:
    """What Grafana's own types, made from its schemas, lose or change when they read the dashboard and write it again."""
    again = json.loads(JSONEncoder().encode(GrafanasOwn.from_json(json.loads(json.dumps(document)))))
    kept = dict(_paths(again))
    return [path for path, value in _paths(document) if value is not None and kept.get(path, object()) != value]


@pytest.mark.parametrize("name", ALL)
def test_grafanas_own_types_understand_every_field(name: str) -> None:
    register_default_plugins()
    assert misunderstood(ALL[name]) == []


def test_a_misspelt_field_is_noticed() -> None:
    register_default_plugins()
    document = ALL["en/overview.json"]
    panels = json.loads(json.dumps(document["panels"]))
    panels[1] |= {"discription": "?"}
    panels[1]["options"]["graphmode"] = panels[1]["options"].pop("graphMode")
    assert misunderstood({**document, "panels": panels}) == ["panels[1].options.graphmode", "panels[1].discription"]
