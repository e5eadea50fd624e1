"""Questions to a proxy: whole, as a stream that is read event by event, with a large picture; and which log an answer names."""

import base64
import http.client
import json
import os
from typing import Any

from tests.deploy.proxies import Proxy
from tests.deploy.site import Site
from tests.support.fake_engine import Behaviour
from tests.support.gateway import RED_SQUARE, Answer, question


class Stream:
    """A streamed question whose first two events have been read."""

    def __init__(self, proxy: Proxy, key: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=30)
        headers = {"Authorization": f"Bearer {key}"}
        self._connection.request("POST", "/v1/chat/completions", json.dumps(question(stream=True)), headers)
        self._response = self._connection.getresponse()
        assert self._response.status == 200
        self.origin = self._response.headers["x-audit-leaf"].split()[0]
        self.identity = self._response.headers["x-audit-id"]
        self.first = self.event() + self.event()

    def event(self) -> bytes:
        """The next event, with its empty line."""
        return self._response.readline() + self._response.readline()

    def rest(self) -> bytes:
        """All that is left; what came so far if the stream breaks."""
        try:
            return self._response.read()
        except http.client.IncompleteRead as broken:
            return broken.partial
        except ConnectionResetError:
            return b""
        finally:
            self._connection.close()


def waiting(site: Site) -> None:
    for host in site.hosts:
        host.engine.behaviour = Behaviour.WAITS_FOR_LEAVE_AFTER_TWO_EVENTS


def origin_of(answer: Answer) -> str:
    assert answer.status == 200, answer.body
    return answer.headers["x-audit-leaf"].split()[0]


def heavy(size: int) -> dict[str, Any]:
    """A question whose picture has so many bytes after its end, which every reader ignores."""
    picture = base64.b64decode(RED_SQUARE.partition(",")[2]) + os.urandom(size)
    url = "data:image/png;base64," + base64.b64encode(picture).decode()
    content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "What is it?"}]
    return {"model": "glm-4v", "messages": [{"role": "user", "content": content}]}
