"""Long bodies are read beside the event loop, which goes on meanwhile; short ones are read on it."""

import asyncio
import json

from gateway.door import DoorLimits
from gateway.routes.body_parser import BodyReader
from tests.attack.costly import parsed
from tests.gateway.door.bodies import body

LIMITS = DoorLimits()


async def turns_while_reading(sent: bytes) -> int:
    """How often another task of the loop ran while ``sent`` was read."""
    turns, over = 0, False

    async def other() -> None:
        nonlocal turns
        while not over:
            turns += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(other())
    request = await BodyReader().read(sent, LIMITS, "a")
    over = True
    await beside
    assert request.model == "glm-4v"
    return turns - 1  # it runs once more to see that it is over


async def test_the_loop_goes_on_while_a_long_body_is_read() -> None:
    assert await turns_while_reading(parsed("[" + '{"a":1},' * 20_000 + "1]")) > 0


async def test_a_short_body_costs_no_thread() -> None:
    assert await turns_while_reading(json.dumps(body("Hello")).encode()) <= 0
