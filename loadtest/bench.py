"""Hands ``python -m loadtest.bench`` on to ``python -m bench``, where the gateway's bench is now; measures nothing."""

import runpy
import sys
from importlib.util import find_spec

if __name__ == "__main__":
    if find_spec("bench") is None:
        sys.exit("error: bench is not installed: it is in Vitrine's repository only; run it there as python -m bench")
    print("python -m loadtest.bench is now python -m bench", file=sys.stderr)
    runpy.run_module("bench", run_name="__main__", alter_sys=True)
