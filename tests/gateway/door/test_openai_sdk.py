"""Bodies that the official `openai` client writes pass, over a real socket, and so do its own answers sent back."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from gateway.door import parse_chat
from tests.gateway.door.bodies import LIMITS, data_url, parse, picture, written

ANSWER: dict[str, Any] = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "glm-4v",
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    "choices": [
        {
            "index": 0,
            "finish_reason": "tool_calls",
            "logprobs": None,
            "stop_reason": None,
            "message": {
                "role": "assistant",
                "content": '{"colour": "red"}',
                "refusal": None,
                "annotations": None,
                "audio": None,
                "function_call": None,
                "reasoning": "<think>It is red.</think>",
                "tool_calls": [
                    {
                        "id": "chatcmpl-tool-1",
                        "type": "function",
                        "function": {"name": "Look", "arguments": '{"where": "left"}'},
                    }
                ],
            },
        }
    ],
}


class Recorder(HTTPServer):
    """An engine that keeps what it is sent and always answers the same."""

    bodies: list[bytes]


class Handler(BaseHTTPRequestHandler):
    server: Recorder

    def do_POST(self) -> None:
        self.server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        answer = json.dumps(ANSWER).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    server = Recorder(("127.0.0.1", 0), Handler)
    server.bodies = []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join(10)
    server.server_close()


@pytest.fixture
def client(recorder: Recorder) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"http://127.0.0.1:{recorder.server_port}/v1", api_key="x", max_retries=0) as made:
        yield made


class Look(BaseModel):
    """Look somewhere."""

    where: str


class Seen(BaseModel):
    colour: str
    sure: bool | None = None


def test_every_parameter_that_the_client_can_type_passes(client: openai.OpenAI, recorder: Recorder) -> None:
    client.chat.completions.create(
        model="glm-4v",
        messages=[
            {"role": "developer", "content": "Be brief.", "name": "boss"},
            {"role": "system", "content": [{"type": "text", "text": "And kind."}]},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is this?"},
                    {"type": "image_url", "image_url": {"url": data_url(picture()), "detail": "high"}},
                ],
            },
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "c", "type": "function", "function": {"name": "look", "arguments": "{}"}}],
            },
            {"role": "tool", "tool_call_id": "c", "content": "nothing"},
        ],
        frequency_penalty=0.1,
        logit_bias={"5": 1},
        logprobs=True,
        max_completion_tokens=5,
        max_tokens=5,
        metadata={"a": "b"},
        modalities=["text"],
        n=2,
        parallel_tool_calls=True,
        prediction={"type": "content", "content": "x"},
        presence_penalty=0.1,
        prompt_cache_key="k",
        prompt_cache_retention="24h",
        reasoning_effort="low",
        response_format={"type": "json_object"},
        safety_identifier="s",
        seed=1,
        service_tier="auto",
        stop=["x"],
        store=False,
        temperature=0.2,
        tool_choice="auto",
        tools=[{"type": "function", "function": {"name": "look", "parameters": {}}}],
        top_logprobs=2,
        top_p=0.5,
        user="u",
        verbosity="medium",
        extra_body={"thinking": {"type": "disabled"}, "chat_template_kwargs": {"enable_thinking": False}},
    )
    request = parse(recorder.bodies[0])
    assert (request.images[0].width, request.max_tokens, request.thinking) == (64, 5, False)
    assert written(recorder.bodies[0])["seed"] == 1


def test_a_stream_with_usage_passes(client: openai.OpenAI, recorder: Recorder) -> None:
    client.chat.completions.create(
        model="m", messages=[{"role": "user", "content": "x"}], stream=True, stream_options={"include_usage": True}
    ).close()
    request = parse_chat(recorder.bodies[0], LIMITS)
    assert request.stream
    assert request.include_usage


def test_an_answer_sent_back_as_the_client_read_it_passes(client: openai.OpenAI, recorder: Recorder) -> None:
    first: Any = {"role": "user", "content": "x"}
    answer = client.chat.completions.create(model="m", messages=[first]).choices[0].message
    reply: Any = {"role": "tool", "tool_call_id": "chatcmpl-tool-1", "content": "a circle"}
    ways: list[Any] = [answer, answer.model_dump(), answer.model_dump(exclude_none=True), answer.to_dict()]
    for said in ways:
        client.chat.completions.create(model="m", messages=[first, said, reply])
        made = written(recorder.bodies[-1])["messages"]
        assert made[1]["tool_calls"][0]["function"] == {"name": "Look", "arguments": '{"where": "left"}'}
        assert made[1]["reasoning"] == "<think>It is red.</think>"


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")  # the client's own, of its parsed messages
def test_parsed_answers_and_their_schemas_pass(client: openai.OpenAI, recorder: Recorder) -> None:
    first: Any = {"role": "user", "content": "x"}
    tools = [openai.pydantic_function_tool(Look)]
    answer = client.chat.completions.parse(model="m", messages=[first], response_format=Seen, tools=tools)
    made = written(recorder.bodies[0])
    assert made["response_format"]["json_schema"]["name"] == "Seen"
    assert made["tools"][0]["function"]["strict"] is True
    message = answer.choices[0].message
    assert message.parsed == Seen(colour="red")
    ways: list[Any] = [message, message.model_dump()]
    for said in ways:
        client.chat.completions.create(model="m", messages=[first, said])
        parse(recorder.bodies[-1])
