"""The real vLLM, the real gateway, the official client: what a developer does on the first day, and what may go wrong."""

import base64
import io
import json
import os
import signal
import stat
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest
import requests
from PIL import Image, ImageDraw

from tests.support.audit import records
from tests.support.deadline import until
from tests.support.process import run
from tests.support.stack import Stack

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

TOP = Path(__file__).parents[2]


def picture(colour: str = "red", side: int = 336, kind: str = "PNG") -> bytes:
    """A circle of one colour on white."""
    image = Image.new("RGB", (side, side), "white")
    ImageDraw.Draw(image).ellipse((side // 4, side // 4, side // 2, side // 2), fill=colour)
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def part(content: bytes, kind: str = "png") -> Any:
    return {"type": "image_url", "image_url": {"url": f"data:image/{kind};base64,{base64.b64encode(content).decode()}"}}


def ask(*parts: Any, text: str = "What is in this picture?") -> list[Any]:
    return [{"role": "user", "content": [*parts, {"type": "text", "text": text}]}]


def test_a_picture_is_answered(stack: Stack) -> None:
    answer = stack.openai.chat.completions.create(model="glm-4v", messages=ask(part(picture())), max_tokens=64)
    assert answer.choices[0].message.content
    assert answer.usage
    assert answer.usage.completion_tokens > 0
    assert answer.usage.prompt_tokens > 144  # 336 × 336 pixels are 12 × 12 tokens


def test_a_stream_says_the_same_as_the_whole_answer(stack: Stack) -> None:
    options: Any = {"model": "glm-4v", "messages": ask(part(picture())), "max_tokens": 64, "temperature": 0}
    whole = stack.openai.chat.completions.create(**options)
    chunks = list(stack.openai.chat.completions.create(**options, stream=True, stream_options={"include_usage": True}))
    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert said == whole.choices[0].message.content
    assert chunks[-1].usage
    assert whole.usage
    assert chunks[-1].usage.total_tokens == whole.usage.total_tokens


def test_several_pictures_count_as_several(stack: Stack) -> None:
    create = stack.openai.chat.completions.create
    tokens = []
    for count in (1, 2):
        parts = [part(picture(colour)) for colour in ("red", "blue")[:count]]
        usage = create(model="glm-4v", messages=ask(*parts, text="比较这两张图片。"), max_tokens=1).usage
        assert usage
        tokens.append(usage.prompt_tokens)
    assert tokens[1] - tokens[0] >= 144


def test_an_answer_goes_back_in_the_next_turn(stack: Stack) -> None:
    messages = ask(part(picture()), text="图里有什么？")
    first = stack.openai.chat.completions.create(model="glm-4v", messages=messages, max_tokens=64)
    messages += [first.choices[0].message.model_dump(), {"role": "user", "content": "是什么颜色？"}]
    second = stack.openai.chat.completions.create(model="glm-4v", messages=messages, max_tokens=64)
    assert second.choices[0].finish_reason in ("stop", "length")


def test_the_tutorials_own_client_works_as_written(stack: Stack) -> None:
    image_base64 = base64.b64encode(picture(kind="JPEG")).decode()
    payload = {
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
    assert response.json()["choices"][0]["message"]["content"]


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
        stack.openai.chat.completions.create(model="glm-4v", messages=ask(text="circle " * 5000), max_tokens=16)
    assert refused.value.code == "context_length_exceeded"


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
    config = json.loads((TOP / "serve/miniature/checkpoint/generation_config.json").read_text())
    return list(config["eos_token_id"])


async def running(stack: Stack) -> float:
    """How many requests vLLM is working on."""
    connector = aiohttp.UnixConnector(str(stack.home / "run" / "engine-0" / "engine.sock"))
    async with aiohttp.ClientSession(connector=connector) as session, session.get("http://engine/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("vllm:num_requests_running{"))


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
    answer = stack.openai.chat.completions.create(model="glm-4v", messages=ask(part(picture())), max_tokens=8)
    assert answer.choices[0].message.content
