"""``python -m tests.serve.supervise PROFILE HOME OPTIONS``: the real supervisor at a pace for tests; OPTIONS is a JSON object."""

import asyncio
import json
import sys
from dataclasses import replace

from serve import profile
from serve.errors import ServeError
from serve.settings import EngineSettings
from serve.supervisor import Backoff, Pace, Supervisor

QUICK = Pace(probe_s=0.02, health_s=0.05, health_deadline_s=0.5, kill_grace_s=1.0)


def main(name: str, home: str, options: str) -> int:
    given = json.loads(options)
    supervisor = Supervisor(
        profile.load(name),
        EngineSettings(home=home, profile=name, **{"hang_timeout_s": 3, **given.get("settings", {})}),
        lambda line: print(line, flush=True),
        Backoff(**{"first_s": 0.01, **given.get("backoff", {})}),
        replace(QUICK, **given.get("pace", {})),
    )
    try:
        asyncio.run(supervisor.run())
    except ServeError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
