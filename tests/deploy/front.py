"""deploy/haproxy/haproxy.cfg with the names of a cluster's pods; ``python -m tests.deploy.front`` prints it."""

from tests.deploy.proxies import HAPROXY, replaced

_POD = "vitrine-gateway-{}.vitrine-gateways.vitrine.svc.cluster.local:8080 resolvers cluster init-addr none"


def front() -> str:
    """The tested file, changed where a cluster is different: names that are looked up again and again, and no user to become."""
    text = replaced(
        HAPROXY.read_text(),
        {
            "10.0.0.11:8080": _POD.format(0),
            "10.0.0.12:8080": _POD.format(1),
            " gateway-1.example/vitrine": " vitrine-gateway-0.example/vitrine",
            " gateway-2.example/vitrine": " vitrine-gateway-1.example/vitrine",
            "    user haproxy\n": "",
            "    group haproxy\n": "",
            "frontend vitrine\n": "resolvers cluster\n    parse-resolv-conf\n    hold valid 5s\n\nfrontend vitrine\n",
        },
    )
    return text[text.index("global\n") :]


if __name__ == "__main__":
    print(front(), end="")
