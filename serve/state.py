"""``state.json``: what the supervisor tells other rooms about its engine; written atomically, read by nobody here."""

import enum
import json
import os
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from serve.isolation import IsolationProof

SCHEMA = 1


class Phase(enum.StrEnum):
    """Where an engine is in its life."""

    LOADING = "loading"
    READY = "ready"
    RESTARTING = "restarting"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True)
class State:
    """One engine as its supervisor sees it. Times are Unix seconds; ``pid`` is 0 while no engine process lives.

    ``max_num_seqs`` is how many requests it works on at once, None where its profile leaves that to vLLM.
    ``demo`` says what a model that is only for trying out knows; it is empty for any other.
    ``silent_since_s`` is when an engine that is ready was last seen to work, None as long as it works; ``hangs`` counts those
    that were killed for it.
    ``manifest_root`` (hex) stands for every file of the model, ``flags_digest`` (hex) for how it was started."""

    number: int
    profile: str
    model: str
    served_names: list[str]
    flags_digest: str
    supervisor_pid: int
    phase: Phase = Phase.LOADING
    message: str = ""
    pid: int = 0
    manifest_root: str = ""
    namespace: IsolationProof | None = None
    started_at_s: float = 0.0
    ready_since_s: float | None = None
    restarts: int = 0
    max_model_len: int | None = None
    max_num_seqs: int | None = None
    demo: str = ""
    silent_since_s: float | None = None
    hangs: int = 0


class StateFile:
    """The file, and the state last written to it."""

    def __init__(self, path: Path, state: State) -> None:
        self._path = path
        self.state = state

    def write(self, **changes: Any) -> None:
        """Change fields and put the whole state in place; a reader sees the old one or the new one."""
        self.state = replace(self.state, **changes)  # which checks the names
        body = {"schema": SCHEMA, "written_at_s": time.time(), **asdict(self.state)}
        temporary = self._path.with_suffix(".tmp")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(body, file, ensure_ascii=True, indent=1)
        temporary.replace(self._path)
