"""The engines of this host, as their supervisors describe them, and the choice of one; starts and stops none."""

import asyncio
from pathlib import Path

from gateway.engines.engine import Engine
from gateway.engines.queue import Bounds
from gateway.engines.state import read
from gateway.errors import NotFound, Unavailable

WATCH_INTERVAL_S = 0.25


class Pool:
    """All engines below ``run`` (``engine-N/state.json``). ``watch`` keeps them current."""

    def __init__(self, run: Path, bounds: Bounds) -> None:
        self._run, self._bounds = run, bounds
        self.engines: dict[str, Engine] = {}
        self._versions: dict[str, int] = {}

    async def watch(self) -> None:
        """Follow the state files until cancelled; then close all connections."""
        try:
            while True:
                self.refresh()
                await asyncio.sleep(WATCH_INTERVAL_S)
        finally:
            for engine in self.engines.values():
                await engine.close()

    def refresh(self) -> None:
        """Read each state file that has changed."""
        for path in self._run.glob("engine-*/state.json"):
            name = path.parent.name
            try:
                version = path.stat().st_mtime_ns
            except FileNotFoundError:
                continue
            if self._versions.get(name) == version:
                continue
            state = read(path)
            if state is None:
                continue
            self._versions[name] = version
            if name in self.engines:
                self.engines[name].state = state
            else:
                self.engines[name] = Engine(path.parent, state, self._bounds)

    def served(self) -> dict[str, Engine]:
        """Each name under which an engine serves, ready or not, with the first such engine."""
        found: dict[str, Engine] = {}
        for _, engine in sorted(self.engines.items()):
            for name in engine.state.served_names:
                found.setdefault(name, engine)
        return found

    def waiting_for(self) -> list[str]:
        """Why nothing can be asked yet, one line an engine; empty as soon as one engine is ready."""
        if any(engine.state.ready for engine in self.engines.values()):
            return []
        if not self.engines:
            return ["no engine has been started"]
        return [
            f"{name}: {engine.state.phase}" + (f", {engine.state.message}" if engine.state.message else "")
            for name, engine in sorted(self.engines.items())
        ]

    def pick(self, model: str) -> Engine:
        """The ready engine that serves ``model`` with the shortest queue, then the fewest tokens at work.

        Raises NotFound or Unavailable.
        """
        serving = [engine for engine in self.engines.values() if model in engine.state.served_names]
        if not serving and self.engines:
            known = ", ".join(self.served())
            raise NotFound(f"the model {model!r} is not served here; use one of {known}", code="model_not_found")
        ready = [engine for engine in serving if engine.state.ready]
        if not ready:
            raise Unavailable(f"no engine is ready ({'; '.join(self.waiting_for())}); try again soon", retry_after_s=5)
        return min(ready, key=lambda engine: (engine.queue.waiting, engine.queue.tokens))

    def close_queues(self) -> None:
        """Refuse all who wait for an engine and all who come."""
        for engine in self.engines.values():
            engine.queue.close()
