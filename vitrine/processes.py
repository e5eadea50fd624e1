"""``vitrine up``: ledger, engine and gateway together; starts nothing if one of them is not installed."""

import importlib.util
import sys

from vitrine.dispatch import NotInstalled

_WAY_OUT = "run `make setup` in a clone, or install the wheel with its extra 'gpu'"
# In the order of their start; they stop in the reverse order.
_PARTS = (
    ("ledger", ("gateway.ledger", "serve")),
    ("engine", ("serve", "up")),
    ("gateway", ("gateway", "--welcome")),
)


def up() -> int:
    """Start all three and live until a signal or until one of them ends; the exit status. Raises NotInstalled."""
    for package, what in (("psutil", "psutil, which finds processes,"), ("vllm", "the engine, vLLM,")):
        if importlib.util.find_spec(package) is None:
            raise NotInstalled(
                f"{what} is not installed here; {_WAY_OUT};"
                " a host of the gateway alone runs `vitrine ledger serve` and `vitrine gateway`"
            )
    from vitrine.stack import Part, Stack, write_line

    # The processes get the Python that runs this, wherever it is installed.
    parts = [Part(name, (sys.executable, "-m", *words)) for name, words in _PARTS]
    return Stack(parts, lambda line: write_line(f"vitrine  | {line}")).run()
