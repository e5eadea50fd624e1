"""``python -m tests.support.parts OPTIONS``: the stack of ``vitrine up`` with small programs in place of ours.

OPTIONS is a JSON object: ``parts`` are pairs of a name and Python code, ``at_once_s`` is how long a second signal may take.
"""

import json
import sys

from vitrine.stack import Part, Stack, write_line


def main(options: str) -> int:
    given = json.loads(options)
    parts = [Part(name, (sys.executable, "-c", code)) for name, code in given["parts"]]
    return Stack(parts, write_line, given.get("at_once_s", 5.0)).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
