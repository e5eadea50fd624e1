"""What the references of a JSON Schema mean: JSON Pointers (RFC 6901), anchors, definitions; pure, and within one schema only."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

DEFINITIONS = ("$defs", "definitions")


class References:
    """Those of one schema. Definitions keep their names; every other target gets one of its own."""

    def __init__(self, root: dict[str, Any]) -> None:
        self._root = root
        self._names: dict[str, str] = {}
        self._anchors: dict[str, dict[str, Any]] | None = None
        kept = [root.get(name) for name in DEFINITIONS]
        self._free = {key for found in kept if isinstance(found, dict) for key in found}  # names that are still its own
        self._used: set[str] = set()
        self._made = 0

    def target(self, reference: str) -> Any:
        """The schema that `reference` means; None where there is none."""
        if not reference.startswith("#"):
            return None
        pointer = unquote(reference[1:])
        if not pointer:
            return self._root
        if not pointer.startswith("/"):
            if self._anchors is None:
                self._anchors = {name: node for node in _objects(self._root) for name in _anchors_of(node)}
            return self._anchors.get(pointer)
        node: Any = self._root
        for step in pointer[1:].split("/"):
            name = step.replace("~1", "/").replace("~0", "~")
            if isinstance(node, dict) and name in node:
                node = node[name]
            elif isinstance(node, list) and name.isdecimal() and int(name[:6]) < len(node):
                node = node[int(name[:6])]
            else:
                return None
        return node if isinstance(node, dict | bool) else None

    def name(self, reference: str) -> str:
        """The name of its target in the one `$defs` of the schema that is written; the same for the same target."""
        if reference not in self._names:
            kind, _, name = reference.removeprefix("#/").partition("/")
            if kind in DEFINITIONS and name in self._free and not any(sign in name for sign in "/~%"):
                self._free.discard(name)
                self._used.add(name)
            else:
                while (name := f"ref{self._made}") in self._used or name in self._free:
                    self._made += 1
                self._made += 1
            self._names[reference] = name
        return self._names[reference]


def circular(root: dict[str, Any]) -> bool:
    """Whether some schema leads to itself without a property or an item between. `root` refers to its own `$defs` alone."""
    known = {"#": root, **{f"#/$defs/{name}": schema for name, schema in root.get("$defs", {}).items()}}
    done: set[str] = set()
    for start in known:
        stack, way = [(start, False)], set[str]()
        while stack:
            name, leaving = stack.pop()
            if leaving:
                way.discard(name)
                done.add(name)
            elif name in way:
                return True
            elif name not in done:
                way.add(name)
                stack.append((name, True))
                stack += ((below, False) for below in _references_at_once(known[name]))
    return False


def _references_at_once(schema: Any) -> Iterator[str]:
    stack = [schema]
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            if isinstance(node.get("$ref"), str):
                yield node["$ref"]
            for key in ("anyOf", "oneOf"):
                stack += node.get(key, ())


def _anchors_of(node: dict[str, Any]) -> Iterator[str]:
    for key in ("$anchor", "$dynamicAnchor", "$id", "id"):
        name = node.get(key)
        if isinstance(name, str) and (key.endswith("nchor") or name.startswith("#")):
            yield name.removeprefix("#")


def _objects(root: Any) -> Iterator[dict[str, Any]]:
    stack = [root]
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            yield node
            stack.extend(node.values())
        elif isinstance(node, list):
            stack.extend(node)
