"""What the engine's grammar compiler does not hold of one schema object, left out or refused; pure, and never looks below.

With `strict: true` it is refused, since a client relies on it then. Else it is left out, and its name is told.
"""

from typing import Any

from gateway.door.errors import BadValue, DoorError, Unsupported, quoted
from gateway.door.field_paths import Place, path
from gateway.door.json_schema_types import FORMATS, Unfit, known_type, pattern_fault, types_of

# The compiler passes over these without a word, or vLLM refuses them for it.
_UNHELD = ("not", "then", "else", "dependentRequired", "dependentSchemas", "dependencies")
_UNHELD_IN_ARRAYS = ("uniqueItems", "contains", "minContains", "maxContains")


class KeywordRules:
    """Of one schema with all that stands below it. `left_out`: the keywords that the answer need not keep to, each once."""

    def __init__(self, *, strict: bool) -> None:
        self._strict = strict
        self.left_out: dict[str, None] = {}

    def unheld(self, keyword: str, place: Place, say: str = "Leave it out.") -> None:
        if self._strict:
            raise self.refused(keyword, place, say, way_out=" With `strict: false` the answer need not keep to it.")
        self.left_out[keyword] = None

    def refused(self, keyword: str, place: Place, say: str, way_out: str) -> DoorError:
        at = path((*place, keyword))
        return Unsupported(f"The grammar that answers follow can't hold `{at}`. {say}{way_out}", param=at)

    def leave_out(self, node: dict[str, Any], place: Place) -> None:
        for name in _UNHELD:
            if name in node and not (name in ("then", "else") and "if" not in node):
                self.unheld(name, place)
        for name in (*_UNHELD, "if"):
            node.pop(name, None)
        if "multipleOf" in node:
            step = node.pop("multipleOf")
            if not (step == 1 and types_of(node) in (("integer",), ("integer", "null"))):
                self.unheld("multipleOf", place)
        if node.get("uniqueItems") is not True:
            node.pop("uniqueItems", None)
        if "contains" not in node:
            node.pop("minContains", None), node.pop("maxContains", None)
        for name in _UNHELD_IN_ARRAYS:
            if name in node:
                del node[name]
                self.unheld(name, place)

    def settle_strings(self, node: dict[str, Any], place: Place) -> None:
        if "pattern" in node and self._bad_pattern(node["pattern"], (*place, "pattern")):
            del node["pattern"]
            self.unheld("pattern", place)
        bounded = [name for name in ("minLength", "maxLength") if name in node]
        if (
            "format" in node
            and "string" in types_of(node)
            and (node["format"] not in FORMATS or bounded or "pattern" in node)
        ):
            # An annotation, by the standard: it never rules a value out, so it is not refused either.
            del node["format"]
            self.left_out["format"] = None
        if "pattern" in node:
            for name in bounded:
                del node[name]
                self.unheld(name, place, "Say it in the pattern.")

    def _bad_pattern(self, pattern: str, place: Place) -> bool:
        try:
            return pattern_fault(pattern) is not None
        except Unfit as unfit:
            raise bad(place, unfit.say) from None

    def settle_arrays(self, node: dict[str, Any], place: Place) -> None:
        if isinstance(node.get("items"), list):
            node["prefixItems"] = node.pop("items")
            if "additionalItems" in node:
                node["items"] = node["additionalItems"]
        node.pop("additionalItems", None)
        if "prefixItems" in node:
            most = node.get("maxItems", len(node["prefixItems"]))
            node["prefixItems"] = [{} if item is True else item for item in node["prefixItems"][:most]]
            if False in node["prefixItems"]:
                raise bad((*place, "prefixItems"), "One of them is false, which nothing fulfils. Use maxItems.")
        first, least = len(node.get("prefixItems", ())), node.get("minItems", 0)
        if "items" not in node and "unevaluatedItems" not in node:
            if least > first or ("maxItems" in node and not first):
                node["items"] = {}  # left out, the compiler allows no item
        elif least > first and node.get("items", node.get("unevaluatedItems")) is False:
            raise bad((*place, "minItems"), f"It is {least}, and the schema allows {first} items.")

    def settle_objects(self, node: dict[str, Any], place: Place) -> None:
        properties = node.get("properties")
        if properties is not None:
            self._settle_required(node, properties)
        self._settle_names(node, place)
        properties = node.get("properties", {})
        required = node.get("required", [])
        if not all(isinstance(name, str) for name in required):
            raise bad((*place, "required"), "It is a list of names.")
        rest = node.get("additionalProperties", node.get("unevaluatedProperties", True))
        missing = [name for name in required if name not in properties]
        if missing and rest is not False:
            # The compiler asks for a property only where it is described.
            node["properties"] = {**properties, **{name: {} if rest is True else rest for name in missing}}
        elif missing and "patternProperties" not in node:
            self.unheld("required", place, f"{quoted(missing[0])} is required and not allowed.")
            node["required"] = [name for name in required if name in properties]
        sized = "minProperties" in node or "maxProperties" in node
        described = any(name in node for name in ("properties", "patternProperties", "propertyNames"))
        open_ended = "additionalProperties" not in node and "unevaluatedProperties" not in node
        if sized and open_ended and (not described or node.get("minProperties", 0) > len(node.get("properties", ()))):
            node["additionalProperties"] = True  # left out, the compiler allows no other property

    def _settle_required(self, node: dict[str, Any], properties: dict[str, Any]) -> None:
        """Draft-03 writes `required: true` into the property, and `false` means a property that must not be there."""
        kept: dict[str, Any] = {}
        required = list(node.get("required", ()))
        for name, schema in properties.items():
            if isinstance(schema, dict) and isinstance(schema.get("required"), bool):
                if schema["required"] and name not in required:
                    required.append(name)
                schema = {key: value for key, value in schema.items() if key != "required"}
            if schema is not False:
                kept[name] = schema
            elif node.get("additionalProperties") is not False:
                self.left_out["properties"] = None
        node["properties"] = kept
        if required or "required" in node:
            node["required"] = required

    def _settle_names(self, node: dict[str, Any], place: Place) -> None:
        """`propertyNames` and `patternProperties`, which the compiler holds only where they stand alone."""
        names = node.get("propertyNames")
        if names is True or names in ({}, {"type": "string"}):
            del node["propertyNames"]
        elif names is not None and ("properties" in node or "patternProperties" in node):
            del node["propertyNames"]
            self.unheld("propertyNames", place)
        elif isinstance(names, dict) and "$ref" not in names:
            plain = {key: value for key, value in names.items() if key != "nullable"}
            kinds = plain.get("type", "string")
            if "string" in (kinds if isinstance(kinds, list) else [known_type(kinds)]):
                plain["type"] = "string"
            else:
                raise bad((*place, "propertyNames"), "Names are texts: leave its type out.")
            node["propertyNames"] = plain
        elif names is False:
            raise bad((*place, "propertyNames"), "It allows no name. Use maxProperties: 0.")
        patterns = node.get("patternProperties")
        if patterns is None:
            return
        faulty = [self._bad_pattern(pattern, (*place, "patternProperties")) for pattern in patterns]
        if not patterns:
            del node["patternProperties"]
        elif "properties" in node or len(patterns) > 1 or any(faulty):
            del node["patternProperties"]
            self.unheld("patternProperties", place)


def bad(place: Place, say: str) -> BadValue:
    """The refusal of a schema that is none, at this place."""
    at = path(place)
    return BadValue(f"`{at}` can't be read. {say}", param=at)
