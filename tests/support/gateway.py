"""The real gateway as a process of its own, and requests to it over a real socket."""

import http.client
import json
import re
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import openai

from tests.support.process import PYTHON, TOP, Process, run

RED_SQUARE = (  # 28 × 28 pixels, all of one red
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAABwAAAAcCAIAAAD9b0jDAAAAJ0lEQVR4nGM8ISfHQG3ARHUTRw0d"
    "NXTU0FFDRw0dNXTU0FFDB6WhAH4EATw6hVmXAAAAAElFTkSuQmCC"
)

# A test machine's disk may be slow: what a test is not about must not end as a late record.
PATIENT = {"VITRINE_ADMIT_TIMEOUT_S": "10"}


class Answer:
    """Status, headers (lower case) and body of one HTTP answer."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.body = response.read()

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> Mapping[str, Any]:
        """The error object, which must be in OpenAI's shape."""
        error = self.json["error"]
        assert set(error) == {"message", "type", "param", "code"}
        return dict(error)


class Gateway:
    """``python -m gateway`` for a state folder, on free ports. ``cwd`` has vitrine.toml, if there is one; ``program`` starts it."""

    def __init__(self, home: Path, cwd: Path = TOP, /, program: Sequence[str] = PYTHON, **settings: str) -> None:
        self.home = home
        self.settings = settings
        env = {"VITRINE_HOME": str(home), "VITRINE_PORT": "0", "VITRINE_METRICS_PORT": "0", **PATIENT, **settings}
        self.process = Process("gateway", env=env, cwd=cwd, program=program)
        line = self.process.line_with("listening")
        match = re.search(r"http://127\.0\.0\.1:(\d+)", line)
        metrics = re.search(r"metrics_port=(\d+)", line)
        assert match, line
        assert metrics, line
        self.port, self.metrics_port = int(match[1]), int(metrics[1])
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.end(signal.SIGTERM) == 0, self.process.output

    def create_key(self, *options: str) -> str:
        """A new key, made by the command line."""
        made = run(
            "gateway.keys", "create", "--name", "test", "--quiet", *options, env={"VITRINE_HOME": str(self.home)}
        )
        assert made.returncode == 0, made.stderr
        return made.stdout.strip()

    def key_ids(self) -> list[str]:
        """The ids of all keys, oldest first."""
        listed = run("gateway.keys", "list", env={"VITRINE_HOME": str(self.home)})
        return re.findall(r"^key_[0-9a-f]+", listed.stdout, re.MULTILINE)

    def limit(self, *words: str) -> str:
        """Set limits by the command line, for a key id or ``--tenant``; what it printed."""
        done = run("gateway.keys", "limit", *words, env={"VITRINE_HOME": str(self.home)})
        assert done.returncode == 0, done.stderr
        return done.stdout

    def limited_key(self, *limits: str, tenant: str = "default") -> tuple[str, str]:
        """A new key with limits of its own, and its id."""
        made = run(
            "gateway.keys",
            "create",
            "--name",
            "test",
            "--tenant",
            tenant,
            "--json",
            env={"VITRINE_HOME": str(self.home)},
        )
        assert made.returncode == 0, made.stderr
        key, key_id = (str(json.loads(made.stdout)[name]) for name in ("key", "key_id"))
        if limits:
            self.limit(key_id, *limits)
        return key, key_id

    def rotate(self, key_id: str, grace: str = "1h") -> str:
        """The key that replaces this one; both are good for the grace period."""
        made = run("gateway.keys", "rotate", key_id, "--grace", grace, "--quiet", env={"VITRINE_HOME": str(self.home)})
        assert made.returncode == 0, made.stderr
        return made.stdout.strip()

    def request(
        self,
        method: str,
        path: str,
        *,
        key: str | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request on a connection of its own. ``body`` is sent as JSON unless it is bytes."""
        sent = {**({"Authorization": f"Bearer {key}"} if key else {}), **(headers or {})}
        content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, content, sent)
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def chat(self, key: str | None, **changes: Any) -> Answer:
        """``POST /v1/chat/completions`` with a good body, changed by ``changes``."""
        return self.request("POST", "/v1/chat/completions", key=key, body=question(**changes))

    def client(self, key: str) -> openai.OpenAI:
        """The official client, without its own retries."""
        return openai.OpenAI(base_url=self.url + "/v1", api_key=key, max_retries=0, timeout=30)


def question(**changes: Any) -> dict[str, Any]:
    """A good body: one small picture and a question."""
    content = [
        {"type": "image_url", "image_url": {"url": RED_SQUARE}},
        {"type": "text", "text": "What is in this picture?"},
    ]
    return {"model": "glm-4v", "messages": [{"role": "user", "content": content}], **changes}
