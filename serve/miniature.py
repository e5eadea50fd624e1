"""Lets ``python -m serve.miniature.train`` and its like find ``miniature``, the training code's new place; holds nothing itself."""

import sys
from pathlib import Path

__path__ = [str(Path(__file__).parents[1] / "miniature")]  # a module with a path is a package to Python

print("python -m serve.miniature... is now python -m miniature...", file=sys.stderr)
