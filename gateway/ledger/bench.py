"""Hands ``python -m gateway.ledger.bench`` on to ``python -m bench.ledger``, where it is now; measures nothing."""

import runpy
import sys
from importlib.util import find_spec

if __name__ == "__main__":
    if find_spec("bench") is None:
        sys.exit(
            "error: bench is not installed: it is in Vitrine's repository only; run it there as python -m bench.ledger"
        )
    print("python -m gateway.ledger.bench is now python -m bench.ledger", file=sys.stderr)
    runpy.run_module("bench.ledger", run_name="__main__", alter_sys=True)
