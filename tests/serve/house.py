"""A state folder, a profile of the stand-in engine, and the processes that a test starts with them; ends them all."""

import http.client
import json
import os
import shutil
import signal
import socket
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.serve.checkpoints import whole
from tests.serve.profiles import PLAIN, write
from tests.support.deadline import until
from tests.support.process import TOP, Process

STANDIN = TOP / "tests" / "support" / "standin"


def group(leader: int) -> list[int]:
    """The processes of a group that still run; zombies do not count."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            state, _, pgrp = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
            if int(pgrp) == leader and state not in "ZX":
                found.append(int(entry.name))
    return found


class House:
    """``folder`` is short, for a socket's path. Use as a context; every supervisor and engine is gone after it."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="vitrine-"))
        self.home = self.folder / "home"
        self.model = whole(self.folder / "model").parent
        self._started: list[Process] = []
        self._engines: set[int] = set()

    def __enter__(self) -> "House":
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._started:
            self._engines.add(self.state.get("pid", 0))
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
            process.wait()
        for engine in self._engines - {0}:
            with suppress(ProcessLookupError):
                os.killpg(engine, signal.SIGKILL)
        shutil.rmtree(self.folder)

    def profile(
        self, environment: dict[str, str] | None = None, flags: dict[str, Any] | None = None, **behaviour: Any
    ) -> Path:
        """A profile whose engine is the stand-in, misbehaving so."""
        path = f"{STANDIN}{os.pathsep}{TOP}"
        standin = {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "STANDIN": json.dumps(behaviour)}
        table = {
            **PLAIN,
            "model": str(self.model),
            "served_names": ["glm-4v", "standin"],
            "flags": flags or {"max-model-len": 2048},
            "environment": {**standin, **(environment or {})},
        }
        return write(self.folder / "standin.toml", table)

    def start(self, *words: str, **environment: str) -> Process:
        """``python -m WORDS`` with this house's state folder."""
        process = Process(*words, env={"VITRINE_HOME": str(self.home), **environment}, cwd=self.folder)
        self._started.append(process)
        return process

    def supervise(
        self,
        *,
        settings: dict[str, Any] | None = None,
        backoff: dict[str, Any] | None = None,
        pace: dict[str, Any] | None = None,
        **behaviour: Any,
    ) -> Process:
        """The real supervisor at a quick pace, with a stand-in that misbehaves so."""
        options = {
            "settings": {"drain_timeout_s": 0, **(settings or {})},
            "backoff": backoff or {},
            "pace": pace or {},
        }
        return self.start("tests.serve.supervise", str(self.profile(**behaviour)), str(self.home), json.dumps(options))

    @property
    def engine_folder(self) -> Path:
        return self.home / "run" / "engine-0"

    @property
    def state(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads((self.engine_folder / "state.json").read_text())
        except (FileNotFoundError, NotADirectoryError):
            return {}
        self._engines.add(found["pid"])
        return found

    def until_phase(self, phase: str) -> dict[str, Any]:
        return until(lambda: self.state if self.state.get("phase") == phase else {}, within_s=30, what=f"phase {phase}")

    def until_gone(self, leader: int) -> None:
        until(lambda: not group(leader), within_s=15, what=f"the end of {leader}'s group")

    def ask(self, body: dict[str, Any]) -> "Asked":
        """Send the engine a chat request and do not wait for its answer."""
        connection = Asked("engine", timeout=30)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(30)
        connection.sock.connect(str(self.engine_folder / "engine.sock"))
        connection.request("POST", "/v1/chat/completions", json.dumps({"model": "standin", **body}))
        return connection


class Asked(http.client.HTTPConnection):
    """A request that was sent."""

    def answer(self) -> Any:
        with self.getresponse() as response:
            return json.load(response)
