"""One caller's expensive images delay another's by a turn: the pool with workers of the test's own, then a real gateway."""

import asyncio
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

from gateway.images.worker_pool import ImageWorker, WorkerPool
from tests.attack.costly import scans
from tests.gateway.door.bodies import picture
from tests.gateway.images.asking import ask
from tests.support.fake_engine import FakeEngine
from tests.support.gateway import Gateway


class Process(subprocess.Popen[bytes]):
    """None at all."""

    def __init__(self) -> None:
        self.returncode = None

    def poll(self) -> None:
        return None

    def wait(self, timeout: float | None = None) -> int:
        return 0

    def __del__(self) -> None:
        pass


class Slow(ImageWorker):
    """Is done when told to; ``begun`` has the images in the order in which work on them began."""

    begun: list[bytes]
    ends: asyncio.Queue[None]

    def __init__(self) -> None:
        self.leaving = None
        self.process = Process()

    async def remake(self, data: bytes, kind: bytes, budget: int) -> bytes:
        self.begun.append(data)
        await self.ends.get()
        return data

    def kill(self) -> None:
        pass


def pool(seats: int) -> tuple[WorkerPool, list[bytes], "asyncio.Queue[None]"]:
    begun: list[bytes] = []
    ends: asyncio.Queue[None] = asyncio.Queue()

    def start(_most_pixels: int) -> ImageWorker:
        worker = Slow()
        worker.begun, worker.ends = begun, ends
        return worker

    return WorkerPool(seats, 40_000_000, 60, start), begun, ends


async def test_one_callers_many_images_delay_anothers_single_one_by_a_turn() -> None:
    workers, begun, ends = pool(2)
    async with asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(workers.remake(b"large", "image/jpeg", 1, key="many", decoding=300_000_000))
        await asyncio.sleep(0)
        group.create_task(workers.remake(b"small", "image/png", 1, key="one", decoding=10_000))
        for _ in range(21):
            await asyncio.sleep(0.001)  # what can begin, begins
            ends.put_nowait(None)
    assert begun.index(b"small") == 2
    await workers.close()


def test_small_images_are_answered_while_another_caller_has_expensive_ones_waiting(
    sanitizing: Gateway, engine: FakeEngine, key: str
) -> None:
    other = sanitizing.create_key()
    expensive = scans(picture("JPEG", 2000, 1900, progressive=True), 99)
    ended, lock = 0, threading.Lock()

    def one(_number: int) -> int:
        nonlocal ended
        status = ask(sanitizing, key, expensive, "image/jpeg").status
        with lock:
            ended += 1
        return status

    with ThreadPoolExecutor(24) as many:
        flood = [many.submit(one, number) for number in range(24)]
        while ended == 0:  # the deadline is the answers' own
            threading.Event().wait(0.01)
        before = ended
        assert [ask(sanitizing, other, picture()).status for _ in range(3)] == [200] * 3
        meanwhile = ended - before
        assert {one.result() for one in flood} == {200}
    # Three turns: of at most 8 seats each, were it a machine with many cores.
    assert meanwhile < 16
