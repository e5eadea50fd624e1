"""The manifests of deploy/kubernetes: their schemas, how they fit together, and that every setting in them is one.

No cluster takes part. Three kinds come from operators whose schemas are not here; their fields are looked at by hand.
"""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from gateway import wiring
from gateway.ledger.settings import LedgerSettings
from gateway.settings import Settings
from gateway.telemetry.counters import Metrics
from gateway.telemetry.exporter import PATH
from serve import profile
from serve.settings import EngineSettings
from tests.deploy.front import front
from tests.deploy.manifests import SECRETS, Document, containers, faults, labels, named, of_kind, pod, sets, ways_out
from tests.deploy.proxies import check, needs
from tests.support.process import TOP

FOLDER = TOP / "deploy" / "kubernetes"
OPERATORS = ("ScaledObject", "ServiceMonitor", "ScrapeConfig")


def read() -> list[Document]:
    return [one for path in sorted(FOLDER.glob("*.yaml")) for one in yaml.safe_load_all(path.read_text())]


DOCUMENTS = read()


def the(kind: str, name: str, documents: list[Document] = DOCUMENTS) -> Document:
    return next(one for one in documents if named(one) == f"{kind}/{name}")


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_each_object_has_the_schema_of_its_kind(document: Document) -> None:
    import kubernetes_validate  # two seconds, for the process that needs it alone

    if document["kind"] in OPERATORS:
        with pytest.raises(kubernetes_validate.SchemaNotFoundError):
            kubernetes_validate.validate(document, "1.37", strict=True)
        return
    kubernetes_validate.validate(document, "1.37", strict=True)
    assert document["kind"] == "Namespace" or document["metadata"]["namespace"] == "vitrine"


def test_the_schemas_are_strict() -> None:
    import kubernetes_validate

    wrong = copy.deepcopy(the("Service", "vitrine"))
    wrong["spec"]["selektor"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, "1.37", strict=True)


def test_everything_fits_together() -> None:
    assert faults(DOCUMENTS) == []


def _gateway(documents: list[Document]) -> Document:
    return the("StatefulSet", "vitrine-gateway", documents)


def _first(document: Document) -> Any:
    return pod(document)["containers"][0]


BREAKS: dict[str, Callable[[list[Document]], Any]] = {
    "selects {'app.kubernetes.io/name': 'x'}": lambda all_: the("Service", "vitrine", all_)["spec"].update(
        selector={"app.kubernetes.io/name": "x"}
    ),
    "has 0 PodDisruptionBudgets": lambda all_: all_.remove(the("PodDisruptionBudget", "vitrine-engine", all_)),
    "scrapes port m": lambda all_: the("ServiceMonitor", "vitrine-gateway", all_)["spec"].update(
        endpoints=[{"port": "m"}]
    ),
    "finds engines at vitrine-metrics.vitrine.svc:9": lambda all_: the("ScrapeConfig", "vitrine-engine", all_)[
        "spec"
    ].update(httpSDConfigs=[{"url": "http://vitrine-metrics.vitrine.svc:9/metrics/engines"}]),
    "readinessProbe asks port web": lambda all_: _first(_gateway(all_))["readinessProbe"]["httpGet"].update(port="web"),
    "means port web": lambda all_: the("Service", "vitrine", all_)["spec"]["ports"][0].update(targetPort="web"),
    "tls is mounted and is no volume": lambda all_: _gateway(all_)["spec"]["template"]["spec"]["volumes"].pop(),
    "names ConfigMap vitrine-engine-door": lambda all_: all_.remove(the("ConfigMap", "vitrine-engine-door", all_)),
    "names Service vitrine-engines": lambda all_: all_.remove(the("Service", "vitrine-engines", all_)),
    "may be root": lambda all_: _gateway(all_)["spec"]["template"]["spec"]["securityContext"].pop("runAsNonRoot"),
    "is not locked": lambda all_: _first(_gateway(all_))["securityContext"].update(privileged=True),
    "has an image without a version": lambda all_: _first(_gateway(all_)).update(image="vitrine:latest"),
    "has no bounds": lambda all_: _first(_gateway(all_)).pop("resources"),
    "lets port 9 in": lambda all_: the("NetworkPolicy", "engines", all_)["spec"]["ingress"][0].update(
        ports=[{"port": 9}]
    ),
}


@pytest.mark.parametrize("fault", BREAKS)
def test_what_does_not_fit_is_caught(fault: str) -> None:
    broken = copy.deepcopy(DOCUMENTS)
    BREAKS[fault](broken)
    assert [line for line in faults(broken) if fault in line]


def test_engines_have_no_way_out_and_gateways_three() -> None:
    names = {labels(one)["app.kubernetes.io/name"]: ways_out(DOCUMENTS, one) for one in sets(DOCUMENTS)}
    dns = {("kube-dns", 53)}
    assert names == {
        "vitrine-engine": set(),
        "vitrine-gateway": {("vitrine-engine", 8000), ("vitrine-redis", 6379), *dns},
        "vitrine-front": {("vitrine-gateway", 8080), *dns},
    }
    other = copy.deepcopy(the("StatefulSet", "vitrine-engine"))
    other["spec"]["template"]["metadata"]["labels"] = {"app.kubernetes.io/name": "new"}
    assert ways_out(DOCUMENTS, other) == set()  # whoever is added later
    without = [one for one in DOCUMENTS if one["kind"] != "NetworkPolicy"]
    assert ways_out(without, other) is None


def variables(document: Document, container: Document) -> dict[str, str]:
    """What a container gets of ours; the value is empty where a Secret or the pod gives it."""
    found: dict[str, str] = {}
    for source in container.get("envFrom", []):
        found |= the("ConfigMap", source["configMapRef"]["name"])["data"]
    found |= {variable["name"]: variable.get("value", "") for variable in container.get("env", [])}
    return {name: value for name, value in found.items() if name.startswith("VITRINE_")}


def test_every_setting_is_one_and_its_value_is_taken() -> None:
    rooms: tuple[tuple[str, Any], ...] = (
        ("VITRINE_LEDGER_", LedgerSettings),
        ("VITRINE_ENGINE_", EngineSettings),
        ("VITRINE_", Settings),
    )
    seen: dict[str, dict[str, str]] = {prefix: {} for prefix, _ in rooms}
    for one in sets(DOCUMENTS):
        for container in containers(one):
            for variable, value in variables(one, container).items():
                prefix, model = next(room for room in rooms if variable.startswith(room[0]))
                name = variable.removeprefix(prefix).lower()
                assert name in model.model_fields, variable
                if value:
                    seen[prefix][name] = value
    EngineSettings.model_validate(seen["VITRINE_ENGINE_"])
    Settings.model_validate(seen["VITRINE_"])
    assert seen["VITRINE_LEDGER_"].keys() == {"keys", "origin"}


def test_the_engines_profile_wants_as_many_gpus_as_its_pod_has() -> None:
    wanted = profile.load(the("ConfigMap", "vitrine-engine")["data"]["VITRINE_ENGINE_PROFILE"]).needs.gpus
    assert _first(the("StatefulSet", "vitrine-engine"))["resources"]["limits"]["nvidia.com/gpu"] == str(wanted)


def test_the_gateways_know_every_engine_that_there_may_be() -> None:
    most = the("ScaledObject", "vitrine-engine")["spec"]["maxReplicaCount"]
    listed = the("ConfigMap", "vitrine-gateway")["data"]["VITRINE_ENGINES"].replace(" ", "").split(",")
    assert listed == [f"gpu-{n}=https://vitrine-engine-{n}.vitrine-engines.vitrine.svc:8000" for n in range(most)]


def test_a_pod_has_time_to_end() -> None:
    gateway, engine = (the("StatefulSet", f"vitrine-{name}") for name in ("gateway", "engine"))
    settings = the("ConfigMap", "vitrine-gateway")["data"], the("ConfigMap", "vitrine-engine")["data"]
    pause_s = _first(gateway)["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod(gateway)["terminationGracePeriodSeconds"] > pause_s + int(settings[0]["VITRINE_DRAIN_TIMEOUT_S"]) + 5
    assert pod(engine)["terminationGracePeriodSeconds"] > int(settings[1]["VITRINE_ENGINE_DRAIN_TIMEOUT_S"]) + 10


def test_the_gateways_probes_are_its_own_two_routes() -> None:
    container = _first(the("StatefulSet", "vitrine-gateway"))
    paths = {name: container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "liveness", "readiness")}
    assert paths == {"startup": "/healthz", "liveness": "/healthz", "readiness": "/readyz"}


def test_each_ledger_has_a_volume_and_its_secrets_another() -> None:
    gateway = the("StatefulSet", "vitrine-gateway")["spec"]
    assert {claim["metadata"]["name"] for claim in gateway["volumeClaimTemplates"]} == {"ledger", "ledger-keys"}
    assert gateway["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}


def test_the_autoscaler_asks_for_metrics_that_there_are() -> None:
    """By hand, since KEDA's schema is not here: https://keda.sh/docs/latest/reference/scaledobject-spec."""
    spec = the("ScaledObject", "vitrine-engine")["spec"]
    assert set(spec) == {
        "scaleTargetRef",
        "minReplicaCount",
        "maxReplicaCount",
        "pollingInterval",
        "cooldownPeriod",
        "fallback",
        "advanced",
        "triggers",
    }
    target = spec["scaleTargetRef"]
    assert named({"kind": target["kind"], "metadata": target}) in {named(one) for one in sets(DOCUMENTS)}
    assert 1 <= spec["minReplicaCount"] <= spec["fallback"]["replicas"] <= spec["maxReplicaCount"]
    (trigger,) = spec["triggers"]
    assert trigger["type"] == "prometheus"
    assert {type(value) for value in trigger["metadata"].values()} == {str}
    known = {family.name for family in Metrics("0").registry.collect()}
    asked = {
        word.partition("{")[0] for word in trigger["metadata"]["query"].replace("sum(", " ").split() if "{" in word
    }
    assert asked == {"vitrine_queue_waiting", "vitrine_busy_exchanges"}
    assert asked <= known


def test_the_monitor_has_an_operators_shape() -> None:
    """By hand, since the operator's schema is not here."""
    (monitor,) = of_kind(DOCUMENTS, "ServiceMonitor")
    assert monitor["apiVersion"] == "monitoring.coreos.com/v1"
    assert set(monitor["spec"]) == {"jobLabel", "namespaceSelector", "selector", "endpoints"}
    assert monitor["spec"]["endpoints"] == [{"port": "metrics", "path": "/metrics", "interval": "15s"}]


def test_the_engines_are_found_and_scraped_through_the_gateways(tmp_path: Path) -> None:
    """By hand too, as the operator's v1alpha1 has it; what the gateway says to that address is asked of the gateway's own code."""
    (config,) = of_kind(DOCUMENTS, "ScrapeConfig")
    assert config["apiVersion"] == "monitoring.coreos.com/v1alpha1"
    assert set(config["spec"]) == {"jobName", "scrapeInterval", "httpSDConfigs"}
    (found,) = config["spec"]["httpSDConfigs"]
    assert set(found) == {"url", "refreshInterval"}
    where = urlsplit(found["url"])
    listed = the("ConfigMap", "vitrine-gateway")["data"]["VITRINE_ENGINES"]
    engines = wiring.engine_scraper(Settings(home=tmp_path, engines=listed))
    assert where.path == PATH + "/engines"
    told = engines.discovered(where.netloc)
    assert len(told) == listed.count("=") == 8
    assert {*told[0]["targets"]} == {where.netloc}  # type: ignore[misc]  # its type is object: it is what goes out as JSON
    # As in the configuration that dashboards and alerts are tested with.
    jobs = [
        job["job_name"]
        for job in yaml.safe_load((TOP / "deploy/prometheus/prometheus.yml").read_text())["scrape_configs"]
    ]
    assert config["spec"]["jobName"] in jobs
    # A second Service with the monitor's label would have each gateway scraped twice.
    wanted = the("ServiceMonitor", "vitrine-gateway")["spec"]["selector"]["matchLabels"]
    assert [
        named(one)
        for one in of_kind(DOCUMENTS, "Service")
        if wanted.items() <= one["metadata"].get("labels", {}).items()
    ] == ["Service/vitrine-gateways"]


def test_the_front_is_the_haproxy_file_that_is_tested() -> None:
    assert the("ConfigMap", "vitrine-front")["data"]["haproxy.cfg"] == front()


@needs("haproxy")
def test_haproxy_takes_the_fronts_file(tmp_path: Path) -> None:
    path = tmp_path / "haproxy.cfg"
    path.write_text(the("ConfigMap", "vitrine-front")["data"]["haproxy.cfg"])
    checked = check("haproxy", "-c", "-f", str(path))
    assert checked.returncode == 0, checked.stderr


def test_receipts_go_to_the_pod_whose_log_has_their_origin() -> None:
    text = the("ConfigMap", "vitrine-front")["data"]["haproxy.cfg"]
    gateway = the("StatefulSet", "vitrine-gateway")
    for container in containers(gateway)[1:]:
        assert variables(gateway, container)["VITRINE_LEDGER_ORIGIN"] == "$(POD_NAME).example/vitrine"
    for number in range(gateway["spec"]["replicas"]):
        assert f"-m str vitrine-gateway-{number}.example/vitrine\n" in text
        assert f"vitrine-gateway-{number}.vitrine-gateways.vitrine.svc.cluster.local:8080" in text


def test_the_readme_says_how_each_secret_is_made() -> None:
    text = (FOLDER / "README.md").read_text()
    assert [name for name in SECRETS if f"`{name}`" not in text] == []
