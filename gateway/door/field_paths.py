"""Names places in a body the way clients write them: `messages[2].content[0].uuid`; it never reads what stands there."""

from typing import Any

Place = tuple[str | int, ...]

_NAME_CHARS = 80


def path(place: Place) -> str:
    """`("messages", 2, "content", 0)` as `messages[2].content[0]`; a client's own names are cut and made printable."""
    text = ""
    for step in place:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f".{printable(step)}" if text else printable(step)
    return text


def printable(name: str) -> str:
    """`name` in printable ASCII, without backticks, of at most 80 characters before escapes."""
    shown = name[:_NAME_CHARS].encode("ascii", "backslashreplace").decode("ascii")
    return "".join(c if c.isprintable() and c != "`" else "?" for c in shown) + (
        "..." if len(name) > _NAME_CHARS else ""
    )


def find(tree: Any, wanted: Any) -> Place:
    """Where the very object `wanted` stands in plain objects; () if nowhere."""
    # Each way down is a chain of (way so far, step): copying places would cost their length at every node.
    stack: list[tuple[Any, Any]] = [((), tree)]
    while stack:
        way, node = stack.pop()
        if node is wanted:
            return _steps(way)
        if isinstance(node, dict):
            stack.extend(((way, key), below) for key, below in node.items())
        elif isinstance(node, list):
            stack.extend(((way, index), below) for index, below in enumerate(node))
    return ()


def look_up(tree: Any, place: Place) -> Any:
    """What stands at `place`; None if there is no such place."""
    node = tree
    for step in place:
        try:
            node = node[step]
        except (KeyError, IndexError, TypeError):
            return None
    return node


def _steps(way: Any) -> Place:
    steps: list[str | int] = []
    while way:
        way, step = way
        steps.append(step)
    return tuple(reversed(steps))
