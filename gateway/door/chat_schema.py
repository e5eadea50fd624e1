"""The chat completions body as JSON Schema, from the same types that parse it; it never adds what they do not say."""

from typing import Any

import msgspec

from gateway.door.body_limits import DoorLimits
from gateway.door.chat_body import ChatBody

REF_TEMPLATE = "#/components/schemas/{name}"


def chat_schema(limits: DoorLimits) -> dict[str, Any]:
    """Schemas by name, `ChatBody` among them, for an OpenAPI document's `components.schemas`."""
    inline = "data:image/(jpeg|png|webp|gif);base64,"
    url = f"^({inline}|https?://)" if limits.remote_images else f"^{inline}"

    def as_string(kind: type) -> dict[str, Any]:
        if kind is msgspec.Raw:
            return {"type": "string", "pattern": url}
        raise NotImplementedError(kind)

    _, schemas = msgspec.json.schema_components([ChatBody], schema_hook=as_string, ref_template=REF_TEMPLATE)
    if limits.unknown_fields == "ignore":
        for schema in schemas.values():
            if schema.get("additionalProperties") is False:
                del schema["additionalProperties"]
    return schemas
