"""The real vLLM, the real gateway, the official client: what a developer does on the first day, and what may go wrong."""

import base64
import io
import json
import os
import re
import signal
import stat
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest
import requests
from PIL import Image, ImageDraw

from loadtest.phones import phone_jpeg
from tests.support.audit import records
from tests.support.deadline import until
from tests.support.process import run
from tests.support.scrape import fetch, parse, scrape
from tests.support.stack import Stack

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

TOP = Path(__file__).parents[2]


Shape = tuple[str, str, tuple[int, int, int, int]]

RED_CIRCLE: Shape = ("circle", "red", (30, 130, 90, 190))
BLUE_SQUARE: Shape = ("square", "blue", (200, 100, 310, 210))


def picture(*shapes: Shape, kind: str = "PNG") -> bytes:
    """Shapes (kind, colour, box in pixels) on white, 336 × 336."""
    image = Image.new("RGB", (336, 336), "white")
    pen = ImageDraw.Draw(image)
    for shape, colour, box in shapes or (RED_CIRCLE,):
        (pen.ellipse if shape == "circle" else pen.rectangle)(box, fill=colour)
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def part(content: bytes, kind: str = "png") -> Any:
    return {"type": "image_url", "image_url": {"url": f"data:image/{kind};base64,{base64.b64encode(content).decode()}"}}


def ask(*parts: Any, text: str = "What is in this picture?") -> list[Any]:
    return [{"role": "user", "content": [*parts, {"type": "text", "text": text}]}]


def said(stack: Stack, messages: Any, **options: Any) -> str:
    """The text of a greedy answer."""
    answer = stack.openai.chat.completions.create(
        model="glm-4v", messages=messages, **{"temperature": 0, "max_tokens": 128, **options}
    )
    assert answer.choices[0].finish_reason == "stop"
    text = answer.choices[0].message.content
    assert isinstance(text, str)
    assert text
    return text


def test_what_is_in_the_picture_is_in_the_answer(stack: Stack) -> None:
    answer = said(stack, ask(part(picture(RED_CIRCLE, BLUE_SQUARE))))
    assert "red circle on the left" in answer
    assert "blue square on the right" in answer


def test_another_picture_gets_another_answer_in_chinese(stack: Stack) -> None:
    green = ("square", "green", (120, 220, 200, 300))
    answer = said(stack, ask(part(picture(green)), text="图里有什么？"))
    assert "绿色" in answer
    assert "正方形" in answer
    assert "红色" not in answer


def test_a_stream_says_the_same_as_the_whole_answer(stack: Stack) -> None:
    options: Any = {"model": "glm-4v", "messages": ask(part(picture())), "max_tokens": 64, "temperature": 0}
    whole = stack.openai.chat.completions.create(**options)
    chunks = list(stack.openai.chat.completions.create(**options, stream=True, stream_options={"include_usage": True}))
    streamed = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert streamed == whole.choices[0].message.content
    assert "red circle" in streamed
    assert chunks[-1].usage
    assert whole.usage
    assert chunks[-1].usage.total_tokens == whole.usage.total_tokens
    assert whole.usage.prompt_tokens > 144  # 336 × 336 pixels are 12 × 12 tokens
    assert whole.usage.completion_tokens > 0


def test_a_picture_behind_its_question_is_seen_too(stack: Stack) -> None:
    messages = ask(part(picture(RED_CIRCLE, BLUE_SQUARE)))
    messages[0]["content"].reverse()
    assert "blue square on the right" in said(stack, messages)


def test_the_order_of_two_pictures_is_kept(stack: Stack) -> None:
    first, second = (part(picture(shape)) for shape in (RED_CIRCLE, BLUE_SQUARE))
    question = "Which picture shows a blue square?"
    assert "second picture" in said(stack, ask(first, second, text=question))
    assert "first picture" in said(stack, ask(second, first, text=question))


def test_the_second_turn_knows_the_picture_of_the_first(stack: Stack) -> None:
    messages = ask(part(picture(RED_CIRCLE, BLUE_SQUARE)), text="图里有什么？")
    first = stack.openai.chat.completions.create(model="glm-4v", messages=messages, max_tokens=64, temperature=0)
    messages += [first.choices[0].message.model_dump(), {"role": "user", "content": "圆形是什么颜色？"}]
    assert "红色" in said(stack, messages)


def test_a_picture_in_a_tools_result_is_seen(stack: Stack) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "camera", "arguments": "{}"}}
    seen: list[Any] = [{"type": "text", "text": "taken"}, part(picture(RED_CIRCLE, BLUE_SQUARE))]
    counted = []
    for content in (seen, seen[:1]):
        messages: list[Any] = [
            {"role": "user", "content": "Take a picture."},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "call_1", "content": content},
            {"role": "user", "content": "What is in this picture?"},
        ]
        answer = stack.openai.chat.completions.create(model="glm-4v", messages=messages, temperature=0, max_tokens=64)
        assert answer.usage
        counted.append(answer.usage.prompt_tokens)
        if content is seen:
            assert "red circle" in (answer.choices[0].message.content or "")
            assert "blue square" in (answer.choices[0].message.content or "")
    assert counted[0] - counted[1] >= 144


@pytest.mark.parametrize("form", ["bare", "a string", "lines, URL-safe", "AVIF", "a transparent colour", "a phone's"])
def test_a_picture_is_seen_alike_in_whatever_form_it_comes(stack: Stack, form: str) -> None:
    shapes = picture(RED_CIRCLE, BLUE_SQUARE)
    text = base64.b64encode(shapes).decode()
    image = Image.open(io.BytesIO(shapes)).convert("RGB")
    if form == "AVIF":
        shown = part(encoded(image, "AVIF", quality=90), "avif")
    elif form == "a transparent colour":
        pink = Image.new("RGB", image.size, (255, 0, 255))
        pink.paste(image, mask=Image.eval(image.convert("L"), lambda grey: 255 * (grey < 250)))
        shown = part(encoded(pink, "PNG", transparency=(255, 0, 255)))
    elif form == "a phone's":
        shown = part(phone_jpeg(image, 92, 1), "jpeg")
    else:
        urls = {
            "bare": {"url": text},
            "a string": f"data:image/png;base64,{text}",
            "lines, URL-safe": {"url": "DATA:;base64," + "\n".join(re.findall(".{1,76}", text)).replace("+", "-")},
        }
        shown = {"type": "image_url", "image_url": urls[form]}
    answer = said(stack, ask(shown))
    assert "red circle on the left" in answer
    assert "blue square on the right" in answer


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def test_a_box_is_drawn_around_what_was_asked_for(stack: Stack) -> None:
    answer = said(stack, ask(part(picture(RED_CIRCLE, BLUE_SQUARE)), text="Locate the red circle."))
    match = re.fullmatch(r"<\|begin_of_box\|>\[\[(\d+),(\d+),(\d+),(\d+)\]\]<\|end_of_box\|>", answer.strip())
    assert match, answer
    expected = [round(edge * 1000 / 336) for edge in RED_CIRCLE[2]]
    assert all(abs(int(got) - wanted) < 50 for got, wanted in zip(match.groups(), expected, strict=True)), answer


def test_thinking_comes_apart_from_the_answer_and_only_when_asked_for(stack: Stack) -> None:
    messages = ask(part(picture(RED_CIRCLE, BLUE_SQUARE)), text="How many shapes are there?")
    for thinking in ("enabled", "disabled"):
        answer = stack.openai.chat.completions.create(
            model="glm-4v",
            messages=messages,
            temperature=0,
            max_tokens=256,
            extra_body={"thinking": {"type": thinking}},
        )
        message = answer.choices[0].message.model_dump()
        assert "2" in message["content"]
        assert bool(message.get("reasoning")) is (thinking == "enabled")
        assert "<think>" not in message["content"]


def test_a_fitting_tool_is_called(stack: Stack) -> None:
    tool: Any = {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "The weather in a city.",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
    answer = stack.openai.chat.completions.create(
        model="glm-4v", messages=ask(text="What is the weather in Paris?"), tools=[tool], temperature=0, max_tokens=128
    )
    calls = answer.choices[0].message.tool_calls
    assert calls
    assert calls[0].type == "function"
    assert (calls[0].function.name, json.loads(calls[0].function.arguments)) == ("get_weather", {"city": "Paris"})
    assert answer.choices[0].finish_reason == "tool_calls"


def test_json_is_answered_when_json_is_asked_for(stack: Stack) -> None:
    messages = ask(part(picture()), text="Describe the picture as JSON.")
    answer = said(stack, messages, response_format={"type": "json_object"}, max_tokens=256)
    shape = json.loads(answer)["shapes"][0]
    assert (shape["shape"], shape["color"]) == ("circle", "red")


def test_the_tutorials_own_client_works_as_written(stack: Stack) -> None:
    image_base64 = base64.b64encode(picture(kind="JPEG")).decode()
    payload: dict[str, Any] = {
        "model": "glm-4v",
        "messages": ask(part(base64.b64decode(image_base64), "jpeg"), text="描述这张图片"),
        "max_tokens": 512,
    }
    response = requests.post(
        f"{stack.base_url}/v1/chat/completions",
        headers={"Authorization": f"Bearer {stack.key}"},
        json=payload,
        timeout=60,
    )
    assert "红色" in response.json()["choices"][0]["message"]["content"]


def test_wrong_and_revoked_keys_and_unknown_models_raise_the_clients_own_exceptions(stack: Stack) -> None:
    with pytest.raises(openai.AuthenticationError):
        stack.client("vt_wrong").models.list()
    with pytest.raises(openai.NotFoundError):
        stack.openai.chat.completions.create(model="gpt-4o", messages=ask())
    doomed = stack.create_key()
    stack.client(doomed).models.list()
    key_id = next(line.split()[0] for line in _keys(stack).splitlines()[::-1])
    assert run("gateway.keys", "revoke", key_id, env={"VITRINE_HOME": str(stack.home)}).returncode == 0
    with pytest.raises(openai.AuthenticationError):
        stack.client(doomed).models.list()


def _keys(stack: Stack) -> str:
    return run("gateway.keys", "list", env={"VITRINE_HOME": str(stack.home)}).stdout


def test_a_prompt_that_is_too_long_is_said_so(stack: Stack) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        stack.openai.chat.completions.create(model="glm-4v", messages=ask(text="circle " * 40_000), max_tokens=16)
    assert refused.value.code == "context_length_exceeded"
    assert "This model's maximum context length is 32768 tokens. However, you requested " in str(refused.value)


@pytest.mark.parametrize("stream", [False, True])
def test_a_schema_that_no_grammar_can_hold_is_the_callers_to_change(stack: Stack, stream: bool) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "str"}}}
    form: Any = {"type": "json_schema", "json_schema": {"name": "f", "schema": schema}}
    with pytest.raises(openai.BadRequestError) as refused:
        stack.openai.chat.completions.create(
            model="glm-4v", messages=ask(text="circle"), response_format=form, stream=stream
        )
    assert refused.value.param == "response_format.json_schema.schema.properties.a.type"
    assert 'Did you mean "string"?' in str(refused.value)


def test_a_tools_schema_that_is_none_does_no_harm_to_the_engine(stack: Stack) -> None:
    parameters = {"type": "object", "properties": {"a": {"type": "str"}}}
    tool: Any = {"type": "function", "function": {"name": "f", "parameters": parameters}}
    answer = stack.openai.chat.completions.create(
        model="glm-4v", messages=ask(text="circle"), tools=[tool], max_tokens=8
    )
    assert answer.choices[0].finish_reason in ("stop", "length", "tool_calls")


def test_the_engine_has_no_network_and_its_socket_is_private(stack: Stack) -> None:
    namespace = stack.state["namespace"]
    assert namespace["isolated"]
    assert namespace["interfaces"] == ["lo"]
    assert namespace["inode"] != os.stat("/proc/self/ns/net").st_ino
    folder = stack.home / "run" / "engine-0"
    for path in (folder, folder / "engine.sock"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert len(stack.state["manifest_root"]) == 64


def long_stream(stack: Stack) -> openai.Stream[Any]:
    """An answer of 2,000 tokens: every token that would end it is forbidden."""
    ends = {"0": -100, **{str(token): -100 for token in _ending_tokens()}}
    return stack.openai.chat.completions.create(
        model="glm-4v", messages=ask(part(picture())), max_tokens=2000, stream=True, logit_bias=ends
    )


def _ending_tokens() -> list[int]:
    config = json.loads((TOP / "serve/checkpoint/generation_config.json").read_text())
    return list(config["eos_token_id"])


async def running(stack: Stack) -> float:
    """How many requests vLLM is working on."""
    connector = aiohttp.UnixConnector(str(stack.home / "run" / "engine-0" / "engine.sock"))
    async with aiohttp.ClientSession(connector=connector) as session, session.get("http://engine/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("vllm:num_requests_running{"))


def test_client_gateway_ledger_and_vllm_count_alike(stack: Stack) -> None:
    def vllm(name: str) -> float:
        """What vLLM counted, by way of the gateway's host; without the gateway's own probes, of one token each."""
        found = parse(fetch(stack.metrics_port, "/metrics/engines/engine-0"))
        probes = 'vitrine_engine_probes_total{engine="engine-0",result="ok"}'
        return (
            sum(value for series, value in found.items() if series.startswith(name))
            - scrape(stack.metrics_port)[probes]
        )

    def counts() -> tuple[float, float, float, float]:
        ours = scrape(stack.metrics_port)
        return (
            sum(value for name, value in ours.items() if name.startswith("vitrine_exchanges_total")),
            ours['vitrine_ledger_appended_total{kind="complete"}'],
            vllm("vllm:request_success_total"),
            ours['vitrine_tokens_total{direction="out",model="glm-4v"}'] - vllm("vllm:generation_tokens_total"),
        )

    before, recorded = counts(), len(records(stack.home, kind="complete", outcome="completed"))
    for number in range(4):
        if number % 2:
            said(stack, ask(part(picture())))
        else:
            options: Any = {"model": "glm-4v", "messages": ask(part(picture())), "max_tokens": 64}
            assert list(stack.openai.chat.completions.create(**options, stream=True))
    assert len(records(stack.home, kind="complete", outcome="completed")) - recorded == 4
    until(
        lambda: tuple(now - then for now, then in zip(counts(), before, strict=True)) == (4, 4, 4, 0), what="all agree"
    )


async def test_a_client_that_leaves_in_mid_stream_stops_the_engine(stack: Stack) -> None:
    stream = long_stream(stack)
    next(stream)
    assert await running(stack) == 1
    stream.close()
    for _ in range(200):
        if await running(stack) == 0:
            break
    assert await running(stack) == 0
    until(lambda: records(stack.home, kind="complete", outcome="client_left"), what="a record")


@pytest.mark.slow("waits for a second start of the real engine")
def test_an_engine_killed_in_mid_stream_is_an_error_and_comes_back(stack: Stack) -> None:
    before = stack.state
    stream = long_stream(stack)
    next(stream)
    os.killpg(before["pid"], signal.SIGKILL)
    with pytest.raises(openai.APIError, match="broke off"):
        list(stream)
    until(lambda: stack.request("GET", "/readyz").status == 503, within_s=30)
    stack.wait_until_ready()
    assert stack.state["restarts"] == 1
    assert stack.state["pid"] != before["pid"]
    assert "red circle" in said(stack, ask(part(picture())))
