"""The OpenAPI document against the running gateway, by schemathesis: what it promises is what comes back, and never a 500."""

import subprocess
import sys

from tests.support.fake_engine import FakeEngine
from tests.support.gateway import Gateway

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


def test_what_the_document_promises_is_what_comes_back(gateway: Gateway, engine: FakeEngine) -> None:
    key = gateway.create_key("--scope", "inference", "--scope", "metrics", "--scope", "audit")
    ended = subprocess.run(
        [
            sys.executable,
            "-c",
            "from schemathesis.cli import schemathesis; schemathesis()",
            "run",
            gateway.url + "/openapi.json",
            "-H",
            f"Authorization: Bearer {key}",
            "--max-examples",
            "20",
            "--phases",
            "examples,fuzzing",
            "--checks",
            CHECKS,
            "--generation-deterministic",
            "--no-color",
        ],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-1000:]
    assert "16 passed" in ended.stdout, ended.stdout[-3000:]
