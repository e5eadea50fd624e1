"""The door of an engine's pod (the nginx in deploy/kubernetes/engine.yaml) with the real nginx: who comes in, and to what."""

import http.client
import json
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.deploy.certificates import Authority
from tests.deploy.proxies import needs, replaced
from tests.deploy.site import PatientEngine
from tests.support.deadline import until
from tests.support.fake_engine import Behaviour
from tests.support.gateway import question
from tests.support.ports import free_port
from tests.support.process import TOP, Process

pytestmark = needs("nginx")
HOST = "vitrine-engine-0.vitrine-engines.vitrine.svc"


class Door:
    def __init__(self, folder: Path, engine: PatientEngine) -> None:
        self.port, self.engine = free_port(), engine
        self.authority = Authority(folder)
        documents = yaml.safe_load_all((TOP / "deploy" / "kubernetes" / "engine.yaml").read_text())
        text = next(one["data"]["nginx.conf"] for one in documents if "nginx.conf" in one.get("data", {}))
        certificate, key = self.authority.issue(HOST)
        changes = {
            "/tmp/": f"{folder}/",  # first: the others bring paths in
            "/state/run/engine-0/engine.sock": str(engine.folder / "engine.sock"),
            "/tls/tls.crt": str(certificate),
            "/tls/tls.key": str(key),
            "/tls/ca.crt": str(self.authority.ca),
            "listen 8000 ssl": f"listen 127.0.0.1:{self.port} ssl",
            "daemon off;": "daemon off; master_process off;",
        }
        (folder / "nginx.conf").write_text(replaced(text, changes))
        words = ("-e", "stderr", "-c", str(folder / "nginx.conf"))
        self.process = Process(*words, env={}, program=("nginx",))
        until(self._listens, what="nginx listens")

    def _listens(self) -> bool:
        assert self.process._popen.poll() is None, self.process.output
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def connect(self, by: Authority | None) -> http.client.HTTPSConnection:
        """With a client's certificate of ``by``, or none."""
        context = ssl.create_default_context(cafile=str(self.authority.ca))
        context.check_hostname = False
        if by is not None:
            context.load_cert_chain(*by.issue("gateway"))
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=10, context=context)

    def ask(self, by: Authority | None, method: str, path: str, body: bytes | None = None) -> int:
        connection = self.connect(by)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"})
            return connection.getresponse().status
        finally:
            connection.close()


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    with PatientEngine(tmp_path / "run") as engine:
        running = Door(tmp_path, engine)
        yield running
        assert running.process.end() == 0, running.process.output


CHAT = json.dumps(question()).encode()


def test_a_gateway_with_our_authoritys_certificate_is_let_in(door: Door) -> None:
    assert door.ask(door.authority, "POST", "/v1/chat/completions", CHAT) == 200
    assert len(door.engine.bodies) == 1


def test_nobody_else_is(door: Door, tmp_path: Path) -> None:
    assert door.ask(None, "POST", "/v1/chat/completions", CHAT) == 400
    assert door.ask(Authority(tmp_path, "another"), "POST", "/v1/chat/completions", CHAT) == 400
    assert not door.engine.bodies


@pytest.mark.parametrize(
    "path", ["/invocations", "/tokenize", "/metrics", "/v1/completions", "/v1/chat/completions/", "/"]
)
def test_no_other_path_of_vllm_is_there(door: Door, path: str) -> None:
    connection = door.connect(door.authority)
    connection.request("POST", path, CHAT)
    response = connection.getresponse()
    assert response.status == 404
    assert b"<center>nginx" in response.read()  # its own words: the engine was not asked
    connection.close()


def test_events_pass_one_by_one_and_a_client_that_leaves_is_noticed(door: Door) -> None:
    door.engine.behaviour = Behaviour.WAITS_FOR_LEAVE_AFTER_TWO_EVENTS
    connection = door.connect(door.authority)
    connection.request(
        "POST", "/v1/chat/completions", json.dumps(question(stream=True)), {"Content-Type": "application/json"}
    )
    response = connection.getresponse()
    assert [response.readline()[:6] for _ in range(3)] == [b"data: ", b"\n", b"data: "]
    connection.close()
    response.close()
    door.engine.wait_until_left(1)
