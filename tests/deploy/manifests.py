"""What must fit together in deploy/kubernetes beyond each object's own schema: one line for each thing that does not."""

import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

Document = dict[str, Any]

NAME = "app.kubernetes.io/name"
ELSEWHERE = {"vitrine-redis"}  # pods that others bring
# Made by hand, since they are secret; deploy/kubernetes/README.md says how.
SECRETS = {"vitrine-keys", "vitrine-gateway-tls", "vitrine-engine-tls", "vitrine-shared-limits"}
_SETS = ("StatefulSet", "Deployment")


def of_kind(documents: list[Document], *kinds: str) -> list[Document]:
    return [document for document in documents if document["kind"] in kinds]


def named(document: Document) -> str:
    return f"{document['kind']}/{document['metadata']['name']}"


def sets(documents: list[Document]) -> list[Document]:
    return of_kind(documents, *_SETS)


def labels(document: Document) -> dict[str, str]:
    """Of a set's pods."""
    return dict(document["spec"]["template"]["metadata"]["labels"])


def pod(document: Document) -> Document:
    return dict(document["spec"]["template"]["spec"])


def containers(document: Document) -> list[Document]:
    spec = pod(document)
    return [*spec.get("initContainers", []), *spec["containers"]]


def ports(container: Document) -> dict[str, int]:
    return {port["name"]: port["containerPort"] for port in container.get("ports", [])}


def selected(documents: list[Document], wanted: dict[str, str]) -> list[Document]:
    """The sets whose pods have these labels."""
    return [one for one in sets(documents) if wanted.items() <= labels(one).items()]


def selectors(documents: list[Document]) -> list[str]:
    """Whatever selects pods finds some, each set its own, and each set has a budget."""
    found = []
    for one in sets(documents):
        if not one["spec"]["selector"]["matchLabels"].items() <= labels(one).items():
            found.append(f"{named(one)} does not select its own pods")
        budgets = [
            budget
            for budget in of_kind(documents, "PodDisruptionBudget")
            if budget["spec"]["selector"]["matchLabels"].items() <= labels(one).items()
        ]
        if len(budgets) != 1:
            found.append(f"{named(one)} has {len(budgets)} PodDisruptionBudgets")
    for one in of_kind(documents, "Service", "PodDisruptionBudget", "NetworkPolicy"):
        for wanted in _selected_by(one):
            if wanted and wanted.get(NAME) not in ELSEWHERE and not selected(documents, wanted):
                found.append(f"{named(one)} selects {wanted}, which no pod has")
    for one in of_kind(documents, "ServiceMonitor"):
        wanted = one["spec"]["selector"]["matchLabels"]
        services = [
            service for service in of_kind(documents, "Service") if wanted.items() <= _labels_of(service).items()
        ]
        known = {port["name"] for service in services for port in service["spec"]["ports"]}
        found += [
            f"{named(one)} scrapes port {end['port']}, which no such Service has"
            for end in one["spec"]["endpoints"]
            if end["port"] not in known
        ]
    known_places = {
        f"{one['metadata']['name']}.vitrine.svc:{port['port']}"
        for one in of_kind(documents, "Service")
        for port in one["spec"]["ports"]
    }
    for one in of_kind(documents, "ScrapeConfig"):
        places = [urlsplit(where["url"]).netloc for where in one["spec"]["httpSDConfigs"]]
        found += [
            f"{named(one)} finds engines at {place}, which is no Service's"
            for place in places
            if place not in known_places
        ]
    return found


def _labels_of(document: Document) -> dict[str, str]:
    return dict(document["metadata"].get("labels", {}))


def _selected_by(one: Document) -> Iterator[dict[str, str]]:
    spec = one["spec"]
    if one["kind"] == "Service":
        yield spec["selector"]
    elif one["kind"] == "PodDisruptionBudget":
        yield spec["selector"]["matchLabels"]
    else:
        yield spec["podSelector"].get("matchLabels", {})
        for rule in [*spec.get("ingress", []), *spec.get("egress", [])]:
            for peer in [*rule.get("from", []), *rule.get("to", [])]:
                if "namespaceSelector" not in peer:
                    yield peer["podSelector"]["matchLabels"]


def named_ports(documents: list[Document]) -> list[str]:
    """Each port that is named is one that the pods have."""
    found = []
    for one in of_kind(documents, "Service"):
        for pods in selected(documents, one["spec"]["selector"]):
            known = {name for container in containers(pods) for name in ports(container)}
            found += [
                f"{named(one)} means port {port['targetPort']} of {named(pods)}, which has none"
                for port in one["spec"]["ports"]
                if port["targetPort"] not in known
            ]
    for pods in sets(documents):
        for container in containers(pods):
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                asked = container.get(probe, {})
                port = (asked.get("httpGet") or asked.get("tcpSocket") or {}).get("port")
                if port is not None and port not in ports(container):
                    found.append(f"{named(pods)} {container['name']} {probe} asks port {port}, which it has not")
    for one in of_kind(documents, "NetworkPolicy"):
        for pods in selected(documents, one["spec"]["podSelector"].get("matchLabels", {})):
            known = {name for container in containers(pods) for name in ports(container)}
            for rule in one["spec"].get("ingress", []):
                found += [
                    f"{named(one)} lets port {port['port']} in, which {named(pods)} has not"
                    for port in rule.get("ports", [])
                    if port["port"] not in known
                ]
    return found


def references(documents: list[Document]) -> list[str]:
    """Each ConfigMap, Secret, claim, volume and Service that is named is there, and each volume is used."""
    there = {
        kind: {one["metadata"]["name"] for one in of_kind(documents, kind)}
        for kind in ("ConfigMap", "PersistentVolumeClaim", "Service")
    }
    there["Secret"] = SECRETS
    found = []
    for one in sets(documents):
        wanted: set[tuple[str, str]] = set()
        volumes = {volume["name"] for volume in pod(one)["volumes"]}
        volumes |= {claim["metadata"]["name"] for claim in one["spec"].get("volumeClaimTemplates", [])}
        mounted = {mount["name"] for container in containers(one) for mount in container["volumeMounts"]}
        found += [f"{named(one)}: {name} is mounted and is no volume" for name in sorted(mounted - volumes)]
        found += [f"{named(one)}: volume {name} is never mounted" for name in sorted(volumes - mounted)]
        for volume in pod(one)["volumes"]:
            wanted |= {("ConfigMap", volume["configMap"]["name"])} if "configMap" in volume else set()
            wanted |= {("Secret", volume["secret"]["secretName"])} if "secret" in volume else set()
            if "persistentVolumeClaim" in volume:
                wanted.add(("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]))
        for container in containers(one):
            wanted |= {("ConfigMap", source["configMapRef"]["name"]) for source in container.get("envFrom", [])}
            wanted |= {
                ("Secret", variable["valueFrom"]["secretKeyRef"]["name"])
                for variable in container.get("env", [])
                if "secretKeyRef" in variable.get("valueFrom", {})
            }
        if one["kind"] == "StatefulSet":
            wanted.add(("Service", one["spec"]["serviceName"]))
        found += [
            f"{named(one)} names {kind} {name}, which is not there"
            for kind, name in sorted(wanted)
            if name not in there[kind]
        ]
    return found


def locked(documents: list[Document]) -> list[str]:
    """Nobody is root, nothing is privileged, images have a version, memory has a bound, endings have time."""
    found = []
    for one in sets(documents):
        spec = pod(one)
        secure = spec["securityContext"]
        if not (secure.get("runAsNonRoot") and secure.get("runAsUser", 0) > 0):
            found.append(f"{named(one)} may be root")
        if secure.get("seccompProfile") != {"type": "RuntimeDefault"}:
            found.append(f"{named(one)} has no seccomp profile")
        if spec.get("automountServiceAccountToken") is not False or spec.get("enableServiceLinks") is not False:
            found.append(f"{named(one)} gets a token or links")
        for container in containers(one):
            name = f"{named(one)} {container['name']}"
            if container["securityContext"] != {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }:
                found.append(f"{name} is not locked")
            if not re.search(r":\d[\w.-]*$", container["image"]):
                found.append(f"{name} has an image without a version")
            resources = container.get("resources", {})
            if "memory" not in resources.get("limits", {}) or "cpu" not in resources.get("requests", {}):
                found.append(f"{name} has no bounds")
    return found


def ways_out(documents: list[Document], pods: Document) -> set[tuple[str, int]] | None:
    """Where a set's pods may connect to: (who, port); None if anywhere, because no policy about egress selects them."""
    policies = [
        one["spec"]
        for one in of_kind(documents, "NetworkPolicy")
        if "Egress" in one["spec"]["policyTypes"]
        and one["spec"]["podSelector"].get("matchLabels", {}).items() <= labels(pods).items()
    ]
    if not policies:
        return None
    found = set()
    for rule in (rule for spec in policies for rule in spec.get("egress", [])):
        for peer in rule.get("to", [{}]):
            who = peer.get("podSelector", {}).get("matchLabels", {})
            name = who.get(NAME) or who.get("k8s-app") or "anybody"
            found |= {(name, port["port"]) for port in rule.get("ports", [{"port": 0}])}
    return found


CHECKS: tuple[Callable[[list[Document]], list[str]], ...] = (selectors, named_ports, references, locked)


def faults(documents: list[Document]) -> list[str]:
    return [fault for check in CHECKS for fault in check(documents)]
