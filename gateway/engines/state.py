"""Reads the ``state.json`` that an engine's supervisor writes (contract: serve -> gateway); never writes it."""

from pathlib import Path

import msgspec


class Namespace(msgspec.Struct, frozen=True):
    """What the kernel said of the engine's network. ``no_routes``: packets that found no way out of it."""

    isolated: bool
    no_routes: int


class State(msgspec.Struct, frozen=True):
    """What a supervisor says of its engine. Unknown fields of newer supervisors are passed over."""

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

    @property
    def ready(self) -> bool:
        return self.phase == "ready"


_decoder = msgspec.json.Decoder(State)


def read(path: Path) -> State | None:
    """The state in a file; None if there is none or it can't be understood."""
    try:
        return _decoder.decode(path.read_bytes())
    except (OSError, msgspec.DecodeError, msgspec.ValidationError):
        return None
