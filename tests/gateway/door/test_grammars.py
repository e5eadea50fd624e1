"""JSON Schemas as the engine's grammar compiler can hold them, compared with the real one. Needs vLLM to be installed."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.door import DoorError
from tests.gateway.door.bodies import body, parse, refused, written
from tests.gateway.door.schemas import NOTHING, PASSING, REFUSED

pytestmark = pytest.mark.process  # vLLM asks programs of the system when it is imported

CHECKPOINT = Path(__file__).parents[3] / "serve" / "checkpoint"
AT = "response_format.json_schema.schema"


@cache
def compiler() -> Any:
    import xgrammar
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(CHECKPOINT / "tokenizer.json"), eos_token="<|endoftext|>")
    return xgrammar.GrammarCompiler(xgrammar.TokenizerInfo.from_huggingface(tokenizer), max_threads=1)


def understood(schema: dict[str, Any]) -> None:
    """As vLLM asks before it takes a request; the grammar is made of it later."""
    import xgrammar
    from vllm.v1.structured_output.backend_xgrammar import has_xgrammar_unsupported_json_features

    assert not has_xgrammar_unsupported_json_features(schema), schema
    xgrammar.Grammar.from_json_schema(json.dumps(schema))


def compiled(schema: dict[str, Any]) -> Any:
    understood(schema)
    return compiler().compile_json_schema(json.dumps(schema))


def allows(grammar: Any, value: Any) -> bool:
    import xgrammar

    matcher = xgrammar.GrammarMatcher(grammar, terminate_without_stop_token=True)
    return bool(matcher.accept_string(json.dumps(value, ensure_ascii=False, separators=(",", ":")))) and bool(
        matcher.is_terminated()
    )


def as_format(schema: dict[str, Any], strict: bool | None = None) -> dict[str, Any]:
    chosen = {"name": "x", "schema": schema, "strict": strict}
    return body(response_format={"type": "json_schema", "json_schema": chosen})


def as_tool(schema: dict[str, Any], strict: bool | None = None) -> dict[str, Any]:
    function = {"name": "f", "parameters": schema, "strict": strict}
    return body(tools=[{"type": "function", "function": function}])


def held(schema: dict[str, Any], strict: bool | None = None) -> dict[str, Any]:
    made: dict[str, Any] = written(as_format(schema, strict))["response_format"]["json_schema"]["schema"]
    return made


@pytest.mark.parametrize("name", PASSING)
def test_the_real_compiler_holds_what_passes(name: str) -> None:
    known = PASSING[name]
    sent = json.dumps(known.schema)
    grammar = compiled(held(known.schema))
    assert allows(grammar, known.good)
    assert known.bad is NOTHING or not allows(grammar, known.bad)
    assert parse(as_format(known.schema)).ignored == known.left_out
    assert json.dumps(known.schema) == sent


@pytest.mark.parametrize("name", [name for name, known in PASSING.items() if set(known.left_out) <= {"format"}])
def test_a_strict_schema_that_can_be_held_passes(name: str) -> None:
    known = PASSING[name]
    assert held(known.schema, strict=True) == held(known.schema)
    assert parse(as_format(known.schema, strict=True)).ignored == known.left_out


@pytest.mark.parametrize("name", [name for name, known in PASSING.items() if set(known.left_out) - {"format"}])
def test_a_strict_schema_is_refused_by_the_name_of_what_can_not_be_held(name: str) -> None:
    known = PASSING[name]
    for sent, place in ((as_format(known.schema, strict=True), AT), (as_tool(known.schema, strict=True), "tools[0]")):
        error = refused(sent)
        assert (error.status, error.code) == (400, "unsupported_parameter")
        assert (error.param or "").startswith(place)
        assert (error.param or "").rpartition(".")[2] in known.left_out
        assert (error.param or "") in error.message


@pytest.mark.parametrize("strict", [None, True])
@pytest.mark.parametrize("name", REFUSED)
def test_a_schema_that_nothing_can_hold_is_refused_by_its_place(name: str, strict: bool | None) -> None:
    schema, place = REFUSED[name]
    error = refused(as_format(schema, strict))
    assert (error.status, error.param) == (400, f"{AT}.{place}".rstrip("."))
    assert f"`{error.param}`" in error.message or error.code == "over_limit"


def test_a_type_of_a_programming_language_is_answered_with_the_one_that_was_meant() -> None:
    assert 'Did you mean "string"?' in refused(as_format({"type": "str"})).message
    assert 'Did you mean "integer"?' in refused(as_format({"type": ["int", "null"]})).message
    assert "object" in refused(as_format({"type": "widget"})).message


@pytest.mark.parametrize("strict", [None, True])
@pytest.mark.parametrize("choice", ["auto", {"type": "function", "function": {"name": "f"}}])
@pytest.mark.parametrize("name", [*PASSING, *REFUSED])
def test_vllms_grammar_for_tools_compiles(name: str, choice: Any, strict: bool | None) -> None:
    """Without `strict` no schema of a tool is refused: the model reads it as text."""
    schema = PASSING[name].schema if name in PASSING else REFUSED[name][0]
    sent = {**as_tool(schema, strict), "tool_choice": choice}
    if strict and (name in REFUSED or set(PASSING[name].left_out) - {"format"}):
        assert refused(sent).status == 400
        return
    made = written(sent)
    compiler().compile_structural_tag(_structural_tag(made["tools"], choice))


def _structural_tag(tools: list[dict[str, Any]], choice: Any) -> str:
    from vllm.entrypoints.openai.chat_completion.protocol import (
        ChatCompletionNamedToolChoiceParam,
        ChatCompletionToolsParam,
    )
    from vllm.tool_parsers.structural_tag_registry import get_model_structural_tag
    from vllm.tool_parsers.tool_strict_level import ToolStrictLevel

    read = [ChatCompletionToolsParam.model_validate(tool) for tool in tools]
    chosen = ChatCompletionNamedToolChoiceParam.model_validate(choice) if isinstance(choice, dict) else choice
    tag = get_model_structural_tag("glm_4_7", read, chosen, reasoning=True, strict_level=ToolStrictLevel.FUNCTION)
    assert tag is not None
    return str(tag.model_dump_json())


def test_properties_of_a_tool_that_are_no_schemas_do_no_harm() -> None:
    odd = {
        "a": True,
        "b": False,
        "c": "string",
        "d": {"type": "str"},
        "e": {"type": []},
        "f": {"type": "Any"},
        "g": {"enum": []},
    }
    odd |= {"h": {"enum": ["", "x"]}, "i": {"type": ["int", "widget"]}, "j": {"type": 5}, "k": {"enum": "x"}, "l": None}
    made = written(as_tool({"type": "object", "properties": odd}))
    compiler().compile_structural_tag(_structural_tag(made["tools"], "auto"))
    properties = made["tools"][0]["function"]["parameters"]["properties"]
    assert list(properties) == list(odd)
    assert (properties["d"], properties["i"]) == ({"type": "string"}, {"type": ["integer"]})


def test_only_tools_that_the_model_sees_are_looked_at() -> None:
    bad = {"type": "function", "function": {"name": "g", "strict": True, "parameters": {"type": "str"}}}
    good = as_tool({"type": "object"}, strict=True)["tools"]
    allowed = {"mode": "auto", "tools": [{"type": "function", "function": {"name": "f"}}]}
    assert written(body(tools=[bad, *good], tool_choice={"type": "allowed_tools", "allowed_tools": allowed}))
    assert refused(body(tools=[*good, bad])).param == "tools[1].function.parameters.type"


NAMES = st.sampled_from(["a", "b", "c"])
KEYWORDS = {
    "type": st.sampled_from(
        ["string", "integer", "number", "object", "array", "null", ["string", "null"], "STRING", "any"]
    ),
    "enum": st.lists(st.sampled_from(["a", 1, None, 1.5]), min_size=1, max_size=3),
    "const": st.sampled_from(["a", 1, None]),
    "pattern": st.sampled_from(["^a$", "a+", "(?=a)", "\\bx", "[a-z]{2,3}", "\\d+"]),
    "format": st.sampled_from(["date", "uri", "int64", "whatever"]),
    "minLength": st.integers(0, 3),
    "maxLength": st.sampled_from([2, 3.0, 9]),
    "minimum": st.sampled_from([0, 0.5, -3]),
    "maximum": st.sampled_from([5, 1e30, 2.5]),
    "exclusiveMinimum": st.sampled_from([True, False, 0, 0.5]),
    "multipleOf": st.sampled_from([1, 2, 0.1]),
    "minItems": st.integers(0, 2),
    "maxItems": st.integers(1, 3),
    "uniqueItems": st.booleans(),
    "required": st.lists(NAMES, max_size=2, unique=True),
    "additionalProperties": st.booleans(),
    "minProperties": st.integers(0, 2),
    "maxProperties": st.integers(2, 4),
    "nullable": st.booleans(),
    "$ref": st.sampled_from(["#/$defs/a", "#/definitions/b", "#/$defs/none", "#/properties/a", "#"]),
    "description": st.just("x"),
}


def _with(below: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    schema = below | st.booleans()
    many = st.lists(schema, min_size=1, max_size=3)
    named = st.dictionaries(NAMES, schema, max_size=3)
    deeper = {
        "properties": named,
        "patternProperties": named,
        "items": schema | many,
        "prefixItems": many,
        "additionalItems": schema,
        "additionalProperties": schema,
        "anyOf": many,
        "oneOf": many,
        "allOf": many,
        "not": schema,
        "contains": schema,
        "propertyNames": schema,
        "if": schema,
        "then": schema,
    }
    return st.fixed_dictionaries(
        {}, optional={**{k: v for k, v in KEYWORDS.items() if k != "additionalProperties"}, **deeper}
    ).map(lambda made: dict(list(made.items())[:6]))


FLAT = st.fixed_dictionaries({}, optional=KEYWORDS).map(lambda made: dict(list(made.items())[:4]))
SCHEMAS = st.builds(
    lambda root, a, b: {**root, "$defs": {"a": a}, "definitions": {"b": b}},
    st.recursive(FLAT, _with, max_leaves=6),
    FLAT,
    FLAT,
)


@settings(deadline=None, max_examples=100)
@given(SCHEMAS, st.booleans())
def test_any_schema_compiles_or_is_refused_by_its_place(schema: dict[str, Any], strict: bool) -> None:
    refusal = None
    try:
        made = held(schema, strict)
    except DoorError as error:
        refusal = error
    if refusal is None:
        understood(made)
    else:
        assert (refusal.status, (refusal.param or "")[: len(AT)]) == (400, AT)


@settings(deadline=None, max_examples=100)
@given(SCHEMAS)
def test_what_was_written_once_passes_strictly(schema: dict[str, Any]) -> None:
    try:
        made = held(schema)
    except DoorError:
        return
    assert parse(as_format(made, strict=True)).ignored == ()
