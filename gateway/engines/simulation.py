"""Hands ``python -m gateway.engines.simulation`` on to ``python -m bench.simulation``, where it is now; measures nothing."""

import runpy
import sys
from importlib.util import find_spec

if __name__ == "__main__":
    if find_spec("bench") is None:
        sys.exit(
            "error: bench is not installed: it is in Vitrine's repository only; run it there as python -m bench.simulation"
        )
    print("python -m gateway.engines.simulation is now python -m bench.simulation", file=sys.stderr)
    runpy.run_module("bench.simulation", run_name="__main__", alter_sys=True)
