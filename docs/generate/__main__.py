"""``python -m docs.generate``: writes docs/reference/ from the code. Exit 1 names what has no translation, or no place."""

import sys

from docs.generate.reference import BadReference, pages


def main() -> int:
    """Write every page that changed; the exit status."""
    try:
        changed = {path: text for path, text in pages().items() if path.read_text(encoding="utf-8") != text}
    except BadReference as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for path, text in changed.items():
        path.write_text(text, encoding="utf-8")
        print(f"wrote {path.relative_to(path.parents[2])}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
