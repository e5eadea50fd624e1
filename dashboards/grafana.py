"""Writes a dashboard as the JSON that Grafana documents (schema 39, Grafana 11 and newer); reads and fetches nothing."""

from typing import Any

from dashboards.model import (
    ColorStep,
    Dashboard,
    GridPlace,
    Language,
    Panel,
    PanelKind,
    PanelQuery,
    PanelRow,
    Text,
    Variable,
    placed,
)

SCHEMA = 39
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
RUNBOOK_UID = "vitrine-runbook"
_SETS = {"en": "", "zh": "-zh"}  # both sets are in one Grafana, so their uids differ


def uid(name: str, language: Language) -> str:
    return f"vitrine-{name}{_SETS[language]}"


def document(dashboard: Dashboard, language: Language, runbook: dict[str, int]) -> dict[str, Any]:
    """The dashboard in one language. ``runbook`` holds the runbook dashboard's panel ids by section."""
    return {
        "uid": uid(dashboard.name, language),
        "title": dashboard.title.said(language),
        "description": dashboard.about.said(language),
        "tags": ["vitrine", f"vitrine-{language}"],
        "schemaVersion": SCHEMA,
        "editable": False,  # a change made there would be lost: `make dashboards`
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "links": [_others(language)],
        "templating": {"list": [_datasource(language), *(_variable(one, language) for one in dashboard.variables)]},
        "annotations": {"list": []},
        "panels": [
            _row(what, place, number, language)
            if isinstance(what, PanelRow)
            else _panel(what, place, number, language, runbook)
            for number, (what, place) in enumerate(placed(dashboard), start=1)
        ],
    }


def _others(language: Language) -> dict[str, Any]:
    return {
        "type": "dashboards",
        "title": Text("Vitrine", "Vitrine 面板").said(language),
        "tags": [f"vitrine-{language}"],
        "asDropdown": False,
        "includeVars": True,
        "keepTime": True,
        "icon": "external link",
        "targetBlank": False,
        "tooltip": "",
        "url": "",
    }


def _datasource(language: Language) -> dict[str, Any]:
    return {
        "name": "datasource",
        "type": "datasource",
        "label": Text("Prometheus", "数据源").said(language),
        "query": "prometheus",
        "hide": 0,
        "includeAll": False,
        "multi": False,
        "refresh": 1,
        "regex": "",
    }


def _variable(one: Variable, language: Language) -> dict[str, Any]:
    query = f"label_values({one.metric}, {one.label})"
    return {
        "name": one.name,
        "type": "query",
        "label": one.title.said(language),
        "datasource": SOURCE,
        "query": {"query": query, "refId": "A"},
        "hide": 0,
        "includeAll": True,
        "allValue": ".*",
        "multi": True,
        "current": {"text": ["All"], "value": ["$__all"]},
        "refresh": 2,
        "regex": "",
        "sort": 1,
    }


def _row(row: PanelRow, place: GridPlace, number: int, language: Language) -> dict[str, Any]:
    return {
        "type": "row",
        "id": number,
        "title": row.title.said(language),
        "collapsed": False,
        "panels": [],
        "gridPos": _grid(place),
    }


def _panel(panel: Panel, place: GridPlace, number: int, language: Language, runbook: dict[str, int]) -> dict[str, Any]:
    made: dict[str, Any] = {
        "type": panel.kind.value,
        "id": number,
        "title": panel.title.said(language),
        "description": panel.about.said(language),
        "gridPos": _grid(place),
    }
    if panel.kind is PanelKind.TEXT:
        return {**made, "options": {"mode": "markdown", "content": panel.content}}
    made |= {
        "datasource": SOURCE,
        "targets": [
            _target(panel, query, letter, language) for letter, query in zip("ABCDEFGHIJ", panel.queries, strict=False)
        ],
        "fieldConfig": {"defaults": _defaults(panel, language), "overrides": _overrides(panel, language)},
        "options": _options(panel),
    }
    if panel.kind is PanelKind.TABLE:
        made["transformations"] = _columns(panel, language)
    if panel.runbook is not None:
        title = Text("Runbook: ", "处置手册：").said(language) + panel.runbook
        url = f"/d/{RUNBOOK_UID}?viewPanel={runbook[panel.runbook]}"
        made["links"] = [{"title": title, "url": url, "targetBlank": True}]
    return made


def _grid(place: GridPlace) -> dict[str, int]:
    return {"x": place.x, "y": place.y, "w": place.w, "h": place.h}


def _target(panel: Panel, query: PanelQuery, letter: str, language: Language) -> dict[str, Any]:
    instant = panel.kind in (PanelKind.TABLE, PanelKind.BARS)
    formats = {PanelKind.TABLE: "table", PanelKind.HEATMAP: "heatmap"}
    return {
        "refId": letter,
        "datasource": SOURCE,
        "editorMode": "code",
        "expr": query.expr,
        "legendFormat": query.legend.said(language) or "__auto",
        "format": formats.get(panel.kind, "time_series"),
        "instant": instant,
        "range": not instant,
    }


def _defaults(panel: Panel, language: Language) -> dict[str, Any]:
    by_threshold = panel.kind in (PanelKind.STAT, PanelKind.BARS, PanelKind.STATES, PanelKind.TABLE)
    steps = panel.steps or (ColorStep(None, "green" if panel.kind is not PanelKind.TABLE else "text"),)
    made: dict[str, Any] = {
        "unit": panel.unit,
        "color": {"mode": "thresholds" if by_threshold else "palette-classic"},
        "thresholds": {"mode": "absolute", "steps": [{"value": step.value, "color": step.color} for step in steps]},
        "mappings": _mappings(panel, language),
    }
    limits = {"min": panel.lowest, "max": panel.highest, "decimals": panel.decimals}
    made |= {name: value for name, value in limits.items() if value is not None}
    if panel.quiet:
        made["noValue"] = Text("None", "无").said(language)
    if panel.kind is PanelKind.TIMESERIES:
        made["custom"] = {
            "drawStyle": "line",
            "lineWidth": 1 if panel.stacked else 2,
            "fillOpacity": 30 if panel.stacked else 0,
            "showPoints": "auto",
            "spanNulls": False,
            "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
            "thresholdsStyle": {"mode": "dashed" if panel.steps else "off"},
        }
    return made


def _mappings(panel: Panel, language: Language) -> list[dict[str, Any]]:
    if panel.kind is PanelKind.STAT and not panel.states:
        # 0 / 0: there was nothing to measure.
        idle = {"text": "–", "color": "text", "index": 0}
        return [{"type": "special", "options": {"match": "null+nan", "result": idle}}]
    if not panel.states:
        return []
    options = {
        value: {"text": text.said(language), "color": color, "index": index}
        for index, (value, text, color) in enumerate(panel.states)
    }
    return [{"type": "value", "options": options}]


def _overrides(panel: Panel, language: Language) -> list[dict[str, Any]]:
    if panel.kind is not PanelKind.TABLE:
        return []
    return [
        {
            "matcher": {"id": "byName", "options": query.legend.said(language)},
            "properties": [{"id": "unit", "value": query.unit}],
        }
        for query in panel.queries
        if query.unit
    ]


def _columns(panel: Panel, language: Language) -> list[dict[str, Any]]:
    """One line for each set of labels, one column for each query, headed by its legend."""
    named = {
        f"Value #{letter}": query.legend.said(language)
        for letter, query in zip("ABCDEFGHIJ", panel.queries, strict=False)
    }
    if len(panel.queries) == 1:
        named = {"Value": panel.queries[0].legend.said(language)}
    return [
        {"id": "merge", "options": {}},
        {"id": "organize", "options": {"excludeByName": {"Time": True}, "renameByName": named, "indexByName": {}}},
    ]


def _options(panel: Panel) -> dict[str, Any]:
    last = {"calcs": ["lastNotNull"], "fields": "", "values": False}
    match panel.kind:
        case PanelKind.STAT:
            return {
                "reduceOptions": last,
                "colorMode": "value",
                "graphMode": "area",
                "textMode": "auto",
                "justifyMode": "auto",
                "orientation": "auto",
            }
        case PanelKind.BARS:
            return {
                "reduceOptions": last,
                "displayMode": "basic",
                "orientation": "horizontal",
                "showUnfilled": True,
                "valueMode": "color",
            }
        case PanelKind.HEATMAP:
            return {
                "calculate": False,
                "cellGap": 1,
                "showValue": "never",
                "legend": {"show": True},
                "color": {
                    "mode": "scheme",
                    "scheme": "Oranges",
                    "steps": 64,
                    "exponent": 0.5,
                    "scale": "exponential",
                    "fill": "dark-orange",
                    "reverse": False,
                },
                "yAxis": {"axisPlacement": "left", "reverse": False, "unit": panel.unit},
                "cellValues": {"unit": "short"},
                "filterValues": {"le": 1e-9},
                "rowsFrame": {"layout": "auto"},
                "tooltip": {"show": True, "yHistogram": False},
                "exemplars": {"color": "rgba(255,0,255,0.7)"},
            }
        case PanelKind.STATES:
            return {
                "showValue": "auto",
                "mergeValues": True,
                "alignValue": "left",
                "rowHeight": 0.9,
                "legend": _legend(),
                "tooltip": {"mode": "single", "sort": "none"},
            }
        case PanelKind.TABLE:
            return {"showHeader": True, "cellHeight": "sm"}
        case _:
            return {"legend": _legend(), "tooltip": {"mode": "multi", "sort": "desc"}}


def _legend() -> dict[str, Any]:
    return {"showLegend": True, "displayMode": "list", "placement": "bottom", "calcs": []}
