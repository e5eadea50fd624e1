"""Reads the ``state.json`` that an engine's supervisor writes (contract: serve -> gateway); never writes it."""

import fcntl
import os
from pathlib import Path

import msgspec


class Namespace(msgspec.Struct, frozen=True):
    """What the kernel said of the engine's network. ``no_routes``: packets that found no way out of it."""

    isolated: bool
    no_routes: int


class EngineState(msgspec.Struct, frozen=True):
    """What a supervisor says of its engine. Unknown fields of newer supervisors are passed over.

    ``max_num_seqs``: more than so many it lets wait, where nobody sees them.
    ``silent_since_s``: it is ready and has made no token since then, although it was asked for one.
    """

    schema: int
    number: int
    phase: str
    message: str
    profile: str
    served_names: list[str]
    supervisor_pid: int
    manifest_root: str
    flags_digest: str
    ready_since_s: float | None
    started_at_s: float
    max_model_len: int | None
    namespace: Namespace | None = None
    restarts: int = 0
    demo: str = ""
    silent_since_s: float | None = None
    hangs: int = 0
    max_num_seqs: int | None = None

    @property
    def ready(self) -> bool:
        return self.phase == "ready"


_decoder = msgspec.json.Decoder(EngineState)
_MOST_ENGINES = 1000


def read(path: Path) -> EngineState | None:
    """The state in a file; None if there is none or it can't be understood."""
    try:
        return _decoder.decode(path.read_bytes())
    except (OSError, msgspec.DecodeError, msgspec.ValidationError):
        return None


def supervised(folder: Path) -> bool:
    """Whether the supervisor of the engine in ``folder`` lives: it holds a lock as long as it does, across containers too.

    A state that its supervisor left behind, by a kill or a loss of power, says nothing of now. Without a lock's file (it is not
    ours) the state is believed.
    """
    try:
        descriptor = os.open(folder / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def read_all(run: Path) -> dict[str, EngineState]:
    """The state of every engine of this host that was ever started, by the engine's name."""
    found = {path.parent.name: read(path) for path in sorted(run.glob("engine-*/state.json"))[:_MOST_ENGINES]}
    return {name: state for name, state in found.items() if state is not None}
