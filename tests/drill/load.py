"""A steady load on one gateway, and what became of each request."""

import http.client
import json
import threading
import time
from dataclasses import dataclass
from typing import Any, Self

from tests.support.gateway import Gateway

LOST = 0  # no answer at all


@dataclass(frozen=True)
class Asked:
    """One request: when it was sent, when it was over (monotonic), and its status."""

    began_s: float
    ended_s: float
    status: int

    @property
    def good(self) -> bool:
        return self.status == 200


class Load:
    """Asks ``rate`` times a second, however slow the answers are. A context; ``asked`` grows meanwhile."""

    def __init__(self, gateway: Gateway, key: str, rate: float) -> None:
        self._gateway, self._key, self._rate = gateway, key, rate
        self.asked: list[Asked] = []
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []
        self._driver = threading.Thread(target=self._drive, daemon=True)

    def __enter__(self) -> Self:
        self._driver.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Ask nothing new, and wait for all answers."""
        self._over.set()
        self._driver.join(10)
        for thread in self._threads:
            thread.join(90)

    def begin_nothing(self) -> None:
        """Ask nothing new; what runs goes on."""
        self._over.set()

    def since(self, moment_s: float) -> list[Asked]:
        """What was sent since, or was still open then, and is over."""
        return [one for one in list(self.asked) if one.ended_s >= moment_s]

    def good_since(self, moment_s: float) -> Asked | None:
        """The first request that was sent since and answered well."""
        return min(
            (one for one in list(self.asked) if one.began_s >= moment_s and one.good),
            key=lambda one: one.ended_s,
            default=None,
        )

    def _drive(self) -> None:
        while not self._over.wait(1 / self._rate):
            thread = threading.Thread(target=self._ask, daemon=True)
            thread.start()
            self._threads.append(thread)

    def _ask(self) -> None:
        began_s = time.monotonic()
        status = self._status()
        self.asked.append(Asked(began_s, time.monotonic(), status))

    def _status(self) -> int:
        body: dict[str, Any] = {
            "model": "glm-4v",
            "max_tokens": 16,
            "messages": [{"role": "user", "content": "Say something."}],
        }
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
        connection = http.client.HTTPConnection("127.0.0.1", self._gateway.port, timeout=60)
        try:
            connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
            answer = connection.getresponse()
            answer.read()
            return answer.status
        except (OSError, http.client.HTTPException):
            return LOST
        finally:
            connection.close()
