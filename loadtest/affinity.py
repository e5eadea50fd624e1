"""Hands ``python -m loadtest.affinity`` on to ``python -m bench.affinity``, where it is now; measures nothing."""

import runpy
import sys
from importlib.util import find_spec

if __name__ == "__main__":
    if find_spec("bench") is None:
        sys.exit(
            "error: bench is not installed: it is in Vitrine's repository only; run it there as python -m bench.affinity"
        )
    print("python -m loadtest.affinity is now python -m bench.affinity", file=sys.stderr)
    runpy.run_module("bench.affinity", run_name="__main__", alter_sys=True)
