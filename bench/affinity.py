"""``python -m bench.affinity``: two real engines behind one gateway, conversations about pictures, one policy after the other.

Shows what image affinity is worth: how much of the prompts the engines found in their KV caches, and when the first token
came. The engines are the miniature on this machine's CPU, so the ratios mean something and the milliseconds little.
"""

import asyncio
import base64
import io
import json
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import aiohttp
import typer
from PIL import Image, ImageDraw, ImageFilter

from bench.gateway.scenarios import BenchTarget
from loadtest import system_under_test
from loadtest.system_under_test import NotStarted, child

POLICIES = ("affinity", "least-loaded", "round-robin")
ENGINES = 2
SIDE = 1120  # 1,600 tokens
START_S = 600.0
ANSWER_S = 120.0
QUESTIONS = (
    "What is in this picture?",
    "What is left of it?",
    "And which colours do you see?",
    "Say it in one sentence.",
    "Is there a circle?",
)

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@dataclass
class Found:
    """Of one policy. Times in seconds, ``queried`` and ``hit`` in tokens of all engines."""

    policy: str
    first_turn_s: list[float] = field(default_factory=list)
    later_turn_s: list[float] = field(default_factory=list)
    exchanges: list[int] = field(default_factory=list)
    queried: int = 0
    hit: int = 0


@app.command()
def main(
    conversations: Annotated[int, typer.Option(help="Of each policy, each about a picture of its own.", min=1)] = 16,
    turns: Annotated[int, typer.Option(help="Questions of each.", min=2, max=len(QUESTIONS))] = 4,
    at_once: Annotated[int, typer.Option(help="Conversations at a time.", min=1)] = 2,
    seed: Annotated[int, typer.Option(help="Of the pictures.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Every figure, for programs.")] = False,
) -> None:
    """Compare the routing policies on two real engines."""
    home = Path(tempfile.mkdtemp(prefix="affinity-"))
    try:
        found = asyncio.run(_compare(home, conversations, turns, at_once, seed))
    except NotStarted as error:
        typer.echo(f"nothing measured: {error}", err=True)
        raise typer.Exit(1) from None
    finally:
        shutil.rmtree(home, ignore_errors=True)
    if as_json:
        typer.echo(json.dumps([vars(one) for one in found], indent=1))
        return
    typer.echo(_table(found))
    typer.echo(
        f"\n{os.cpu_count()} cores, {ENGINES} engines (miniature, vLLM on the CPU), {conversations} conversations of {turns}"
        f" turns about one {SIDE}×{SIDE} picture each, {at_once} at a time, new pictures for each policy.\nhits: tokens of"
        " vllm:prefix_cache_hits_total by those of vllm:prefix_cache_queries_total. First token: at the client, median."
    )


async def _compare(home: Path, conversations: int, turns: int, at_once: int, seed: int) -> list[Found]:
    found = []
    with ExitStack() as stack:
        log = home / "engines.log"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("VITRINE_")}
        environment = {**kept, "VITRINE_HOME": str(home), "PYTHONPATH": str(Path(__file__).parents[1])}
        for number in range(ENGINES):
            words = [sys.executable, "-m", "serve", "up", "miniature", "--engine", str(number)]
            process = stack.enter_context(child(words, environment, Path.cwd(), log))
            ready = partial(_is_ready, home / "run" / f"engine-{number}" / "state.json")
            await asyncio.to_thread(system_under_test.wait, ready, process, log, START_S)
        for policy in POLICIES:
            with system_under_test.running(home, None, {"VITRINE_ROUTING": policy}) as gateway:
                target = BenchTarget.of(gateway)
                found.append(await _measure(home, policy, target, conversations, turns, at_once, seed))
    return found


def _is_ready(state: Path) -> bool:
    return state.exists() and json.loads(state.read_bytes())["phase"] == "ready"


async def _measure(
    home: Path, policy: str, target: BenchTarget, conversations: int, turns: int, at_once: int, seed: int
) -> Found:
    found = Found(policy)
    before = [await _counters(home, number) for number in range(ENGINES)]
    pictures = random.Random(f"{policy} {seed}")
    waiting = [_picture(pictures) for _ in range(conversations)]
    timeout = aiohttp.ClientTimeout(ANSWER_S)
    async with aiohttp.ClientSession(
        f"http://127.0.0.1:{target.port}", headers=target.headers, timeout=timeout
    ) as session:

        async def talk() -> None:
            while waiting:
                await _converse(session, waiting.pop(), turns, found)

        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(talk())
    for number, earlier in enumerate(before):
        now = await _counters(home, number)
        found.queried += now["queries"] - earlier["queries"]
        found.hit += now["hits"] - earlier["hits"]
        found.exchanges.append(now["requests"] - earlier["requests"])
    return found


async def _converse(session: aiohttp.ClientSession, picture: str, turns: int, found: Found) -> None:
    messages: list[dict[str, Any]] = []
    for turn in range(turns):
        parts: list[dict[str, Any]] = [{"type": "text", "text": QUESTIONS[turn]}]
        if turn == 0:
            parts.insert(0, {"type": "image_url", "image_url": {"url": picture}})
        messages.append({"role": "user", "content": parts})
        took_s, text = await _ask(session, messages)
        (found.later_turn_s if turn else found.first_turn_s).append(took_s)
        messages.append({"role": "assistant", "content": text})


async def _ask(session: aiohttp.ClientSession, messages: list[dict[str, Any]]) -> tuple[float, str]:
    """Seconds until the first token, and the answer."""
    body = {"model": "glm-4v", "messages": messages, "stream": True, "max_tokens": 24, "temperature": 0}
    start_s, first_s, text = time.perf_counter(), 0.0, ""
    async with session.post("/v1/chat/completions", json=body) as answer:
        if answer.status != 200:
            raise NotStarted(f"a question was answered with {answer.status}: {(await answer.text())[:300]}")
        async for line in answer.content:
            if line.startswith(b"data: {"):
                event = json.loads(line[6:])
                if "error" in event:
                    raise NotStarted(f"an answer broke off: {event['error']['message']}")
                for choice in event["choices"]:
                    if choice["delta"].get("content"):
                        first_s = first_s or time.perf_counter() - start_s
                        text += choice["delta"]["content"]
    return first_s, text


async def _counters(home: Path, number: int) -> dict[str, int]:
    """What an engine has counted so far."""
    connector = aiohttp.UnixConnector(str(home / "run" / f"engine-{number}" / "engine.sock"))
    async with aiohttp.ClientSession(connector=connector) as session, session.get("http://engine/metrics") as answer:
        lines = (await answer.text()).splitlines()
    names = {
        "queries": "vllm:prefix_cache_queries_total",
        "hits": "vllm:prefix_cache_hits_total",
        "requests": "vllm:request_success_total",
    }
    return {
        short: round(sum(float(line.split()[-1]) for line in lines if line.startswith(name + "{")))
        for short, name in names.items()
    }


def _picture(random_: random.Random) -> str:
    """Shapes on a blurred ground, as a data URL: not noise, and like no other."""
    image = Image.new("RGB", (SIDE, SIDE), tuple(random_.randrange(256) for _ in range(3)))
    draw = ImageDraw.Draw(image)
    for number in range(24):
        x, y, size = (random_.randrange(SIDE) for _ in range(3))
        paint = draw.ellipse if number % 2 else draw.rectangle
        paint([x, y, x + size // 3, y + size // 3], fill=tuple(random_.randrange(256) for _ in range(3)))
    buffer = io.BytesIO()
    image.filter(ImageFilter.GaussianBlur(2)).save(buffer, "JPEG", quality=90)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def _table(found: list[Found]) -> str:
    lines = [
        "| policy | hits | first token, first turn, ms | first token, later turns, ms | of it, affinity's | exchanges |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    base = statistics.median(found[0].later_turn_s)
    for one in found:
        later = statistics.median(one.later_turn_s)
        lines.append(
            f"| {one.policy} | {one.hit / max(one.queried, 1):.0%} | {statistics.median(one.first_turn_s) * 1000:.0f} |"
            f" {later * 1000:.0f} | {base / later:.2f} | {' + '.join(map(str, one.exchanges))} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    app()
