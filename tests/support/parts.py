"""``python -m tests.support.parts OPTIONS``: the stack of ``vitrine up`` with small programs in place of ours.

OPTIONS is a JSON object: ``parts`` are pairs of a name and Python code, ``at_once_s`` is how long a second signal may take.
"""

import json
import sys

from vitrine.stack import Part, Stack


def main(options: str) -> int:
    given = json.loads(options)
    parts = [Part(name, (sys.executable, "-c", code)) for name, code in given["parts"]]
    return Stack(parts, _say, given.get("at_once_s", 5.0)).run()


def _say(line: str) -> None:
    """In one write, which no other process's can come between; print makes two of it where output is not buffered."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
