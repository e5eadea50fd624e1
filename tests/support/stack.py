"""All of Vitrine as a newcomer starts it: ``make serve``, its first key read off the terminal."""

import json
import re
from pathlib import Path
from typing import Any

import openai

from tests.support.deadline import until
from tests.support.gateway import PATIENT, Answer, Gateway
from tests.support.process import Process


class Stack(Gateway):
    """``make serve`` with a state folder of its own. ``key`` is the first key."""

    def __init__(self, home: Path, *, port: int, metrics_port: int, within_s: float) -> None:
        self.home, self.port, self.metrics_port = home, port, metrics_port
        self.url = self.base_url = f"http://127.0.0.1:{port}"
        env = {"VITRINE_HOME": str(home), "VITRINE_METRICS_PORT": str(metrics_port), **PATIENT}
        self.process = Process("serve", f"PORT={port}", "PROFILE=miniature", env=env, program=("make",))
        try:
            self.process.line_with("Ctrl-C stops everything.", within_s=within_s)
        except AssertionError:
            self.process.interrupt()
            raise
        keys = [line for line in self.process.lines if re.fullmatch(r"vt_[0-9A-Za-z]+", line)]
        assert len(keys) == 1, self.process.output
        self.key = keys[0]

    def __exit__(self, *_: object) -> None:
        self.process.interrupt()

    @property
    def state(self) -> dict[str, Any]:
        """What the engine's supervisor says now."""
        text = (self.home / "run" / "engine-0" / "state.json").read_text()
        return dict(json.loads(text))

    @property
    def openai(self) -> openai.OpenAI:
        return self.client(self.key)

    def wait_until_ready(self, *, within_s: float = 300) -> Answer:
        """The answer of /readyz once it is 200."""

        def ready() -> Answer | None:
            answer = self.request("GET", "/readyz")
            return answer if answer.status == 200 else None

        answer = until(ready, within_s=within_s, what=f"ready\n{self.process.output}")
        assert answer is not None
        return answer
