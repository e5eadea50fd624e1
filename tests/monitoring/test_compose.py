"""deploy/compose.yaml and Grafana's provisioning fit together and open nothing; no container is started."""

import re
from typing import Any

import pytest
import yaml

from gateway.settings import Settings
from tests.monitoring.promql import dashboards
from tests.support.process import TOP

DEPLOY = TOP / "deploy"
SERVICES: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))["services"]
PROVISIONING = DEPLOY / "grafana" / "provisioning"
LOOPBACK = "127.0.0.1"


def mounts(service: str) -> dict[str, str]:
    """What is where in the container: host paths and volumes by the path inside."""
    return {inside: host for host, inside in (one.split(":")[:2] for one in SERVICES[service]["volumes"])}


@pytest.mark.parametrize("service", SERVICES)
def test_every_image_has_a_version(service: str) -> None:
    assert re.search(r":v?\d+\.\d+\.\d+$", SERVICES[service]["image"])


@pytest.mark.parametrize("service", SERVICES)
def test_nothing_is_open_to_other_machines(service: str) -> None:
    one = SERVICES[service]
    assert "ports" not in one
    said = [*one.get("command", []), *(f"{name}={value}" for name, value in one.get("environment", {}).items())]
    listens = [word for word in said if "listen-address" in word or "HTTP_ADDR" in word]
    assert len(listens) == 1
    assert LOOPBACK in listens[0]


@pytest.mark.parametrize("service", SERVICES)
def test_every_file_that_is_mounted_is_there_and_can_not_be_written(service: str) -> None:
    assert SERVICES[service]["read_only"] is True
    for one in SERVICES[service]["volumes"]:
        if one.startswith("./"):
            host, _, mode = one.split(":")
            assert (DEPLOY / host).is_dir()
            assert mode == "ro"


def test_grafana_has_no_password_of_ours_and_sends_nothing() -> None:
    environment = SERVICES["grafana"]["environment"]
    assert environment["GF_SECURITY_ADMIN_PASSWORD"].startswith("${GRAFANA_PASSWORD:?")
    assert environment["GF_ANALYTICS_REPORTING_ENABLED"] == "false"


def test_prometheus_reads_what_is_checked_in_and_keeps_as_long_as_the_objectives_look_back() -> None:
    command = dict(word.removeprefix("--").split("=", 1) for word in SERVICES["prometheus"]["command"])
    folder = mounts("prometheus")[command["config.file"].rpartition("/")[0]]
    assert (DEPLOY / folder / "prometheus.yml").is_file()
    longest = max(int(days) for days in re.findall(r"\[(\d+)d\]", (DEPLOY / "prometheus/rules.yml").read_text()))
    assert int(command["storage.tsdb.retention.time"].removesuffix("d")) >= longest == 30


def test_the_datasource_is_the_prometheus_of_the_same_file() -> None:
    [source] = yaml.safe_load((PROVISIONING / "datasources/prometheus.yml").read_text())["datasources"]
    assert source["type"] == "prometheus"
    assert f"--web.listen-address={source['url'].removeprefix('http://')}" in SERVICES["prometheus"]["command"]
    config = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())
    assert source["jsonData"]["timeInterval"] == config["global"]["scrape_interval"]


def test_every_dashboard_is_provisioned_and_the_overview_is_the_first_page() -> None:
    inside = mounts("grafana")
    providers = yaml.safe_load((PROVISIONING / "dashboards/vitrine.yml").read_text(encoding="utf-8"))["providers"]
    folders = {one["options"]["path"].rpartition("/")[2] for one in providers}
    assert folders == {name.partition("/")[0] for name in dashboards()}
    root = {one["options"]["path"].rpartition("/")[0] for one in providers}
    assert {inside[path] for path in root} == {"./grafana/dashboards"}
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home.removeprefix(f"{root.pop()}/") in dashboards()


def test_prometheus_asks_the_ports_that_the_gateway_has() -> None:
    config = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())
    own = f"{LOOPBACK}:{Settings.model_fields['metrics_port'].default}"
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    assert jobs["vitrine-gateway"]["static_configs"][0]["targets"] == [own]
    assert jobs["vitrine-engine"]["http_sd_configs"][0]["url"] == f"http://{own}/metrics/engines"
