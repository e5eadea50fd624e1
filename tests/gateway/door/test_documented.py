"""docs/api.md names every field, limit and code."""

import dataclasses
from pathlib import Path

import msgspec

from gateway.door import DoorError, DoorLimits, chat_schema
from gateway.door.chat_body import AssistantMessage, ChatBody, ToolMessage, UserMessage

API = (Path(__file__).parents[3] / "docs" / "api.md").read_text()


def test_every_field_is_documented() -> None:
    for struct in (ChatBody, AssistantMessage, UserMessage, ToolMessage):
        for field in msgspec.structs.fields(struct):
            assert f"`{field.name}`" in API, field.name


def test_every_limit_is_documented_with_its_default() -> None:
    for field in dataclasses.fields(DoorLimits):
        assert f"`{field.name}`" in API, field.name
        if isinstance(field.default, int):
            assert f"{field.default:,}" in API, field.name


def test_every_code_is_documented() -> None:
    for kind in DoorError.__subclasses__():
        assert f"`{kind.default_code}`" in API


def test_the_schema_for_openapi_has_every_field_and_no_dangling_reference() -> None:
    schemas = chat_schema(DoorLimits())
    body = schemas["ChatBody"]
    assert set(body["properties"]) == {field.name for field in msgspec.structs.fields(ChatBody)}
    assert "additionalProperties" not in body
    assert chat_schema(DoorLimits(unknown_fields="refuse"))["ChatBody"]["additionalProperties"] is False
    assert set(body["required"]) == {"model", "messages"}
    text = msgspec.json.encode(schemas).decode()
    for reference in text.split('"$ref":"#/components/schemas/')[1:]:
        assert reference.split('"')[0] in schemas
