"""A question about a picture, and the processes that a gateway has for pictures."""

from typing import Any

import psutil

from tests.gateway.door.bodies import body, image_part, user
from tests.support.deadline import until
from tests.support.gateway import Answer, Gateway


def ask(gateway: Gateway, key: str, data: bytes, kind: str = "image/png", **more: Any) -> Answer:
    sent = body(user("What is this?", image_part(data, kind, **more)))
    return gateway.request("POST", "/v1/chat/completions", key=key, body=sent)


def processes(gateway: Gateway) -> list[psutil.Process]:
    """Those of all its workers."""
    children = psutil.Process(gateway.process.pid).children(recursive=True)
    return [
        process for process in children if any(word.endswith("images/reencode_worker.py") for word in cmdline(process))
    ]


def cmdline(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []  # gone, or about to be


def working(gateway: Gateway) -> psutil.Process:
    """The process that has a picture in work, once it has worked on it for a while."""
    before = {process.pid: process.cpu_times().user for process in processes(gateway)}

    def found() -> psutil.Process | None:
        for process in processes(gateway):
            if process.cpu_times().user > before.get(process.pid, 0.3) + 0.2:
                return process
        return None

    process = until(found, within_s=30, what="a process at work")
    assert process is not None
    return process
