"""The JSON Schemas of one request, as the engine gets them: its format's, and those of its tools; it checks no limits."""

from typing import Any

from gateway.door.body_limits import DoorLimits
from gateway.door.chat_body import ChatBody, FunctionTool, JsonSchemaFormat
from gateway.door.json_schema_grammar import GrammarSchema
from gateway.door.json_schema_types import meant_type


class EngineSchemas:
    """`format`, where there is one, and `tools` by name. `left_out`: keywords that the answer need not keep to, each once."""

    def __init__(self, chat: ChatBody, tools: tuple[FunctionTool, ...], limits: DoorLimits) -> None:
        """Of all tools, only `tools` reach the engine. Raises DoorError (400) for a schema that no grammar can hold."""
        self._limits = limits
        self.left_out: dict[str, None] = {}
        self.format: dict[str, Any] | None = None
        self.tools: dict[str, dict[str, Any]] = {}
        chosen, seen = chat.response_format, {tool.function.name for tool in tools}
        if isinstance(chosen, JsonSchemaFormat) and (schema := chosen.json_schema.schema) is not None:
            self.format = self._held(
                schema, ("response_format", "json_schema", "schema"), strict=bool(chosen.json_schema.strict)
            )
        for index, tool in enumerate(chat.tools or ()):
            schema = tool.function.parameters
            if schema is None or tool.function.name not in seen:
                continue
            # Without `strict` the engine makes a grammar of a tool's names and types alone, whatever tool_choice says.
            if tool.function.strict:
                self.tools[tool.function.name] = self._held(
                    schema, ("tools", index, "function", "parameters"), strict=True
                )
            else:
                self.tools[tool.function.name] = _shallow_schema(schema)

    def _held(self, schema: dict[str, Any], place: tuple[str | int, ...], *, strict: bool) -> dict[str, Any]:
        held = GrammarSchema(schema, place, self._limits, strict=strict)
        self.left_out |= held.left_out
        return held.schema


def _shallow_schema(parameters: dict[str, Any]) -> dict[str, Any]:
    """The parameters of a tool without `strict`. The engine makes a grammar of its properties' names, types and values alone,
    so only these are written as it reads them; what is no type is left out, since the model reads the rest as text."""
    properties = parameters.get("properties")
    if not isinstance(properties, dict):
        return parameters
    found = {name: _shallow(schema) for name, schema in properties.items()}
    return parameters if found == properties else {**parameters, "properties": found}


def _shallow(schema: Any) -> dict[str, Any]:
    if not isinstance(schema, dict):
        return {}
    made = dict(schema)
    if "type" in made:
        given = made["type"]
        words = given if isinstance(given, list) else [given]
        kinds = list(dict.fromkeys(kind for word in words if (kind := meant_type(word))))
        made["type"] = kinds if isinstance(given, list) else kinds[0] if kinds else None
        if not kinds:
            del made["type"]
    values = made.get("enum")
    if "enum" in made and (not isinstance(values, list) or not values or "" in values):
        del made["enum"]
    return made
