"""The real nginx and the real HAProxy, with the very files of deploy/: only addresses and the user are put in."""

import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.deploy.site import ADDRESSES
from tests.support.deadline import until
from tests.support.gateway import Gateway
from tests.support.ports import free_port
from tests.support.process import TOP, Process

NGINX = TOP / "deploy" / "nginx" / "vitrine.conf"
HAPROXY = TOP / "deploy" / "haproxy" / "haproxy.cfg"

# What Debian's own nginx.conf has around it. One process, which runs as whoever tests.
_AROUND_NGINX = """daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  include {folder}/vitrine.conf;
}}
"""


def needs(program: str) -> pytest.MarkDecorator:
    """A mark: skipped, by name, where the Debian program is missing."""
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"needs the Debian program {program}")


PROXIES = [pytest.param(name, marks=needs(name)) for name in ("nginx", "haproxy")]


def replaced(text: str, changes: Mapping[str, str]) -> str:
    """``text`` with each key replaced; each must be there, or the file and the test have parted."""
    for old, new in changes.items():
        assert old in text, f"{old!r} is not in the file"
        text = text.replace(old, new)
    return text


def with_tls(text: str) -> str:
    """The file with its TLS lines switched on."""
    assert "#TLS " in text
    return text.replace("#TLS ", "")


def nginx(folder: Path, text: str) -> list[str]:
    """Write nginx's files; the words to start it with."""
    (folder / "vitrine.conf").write_text(text)
    (folder / "nginx.conf").write_text(_AROUND_NGINX.format(folder=folder))
    return ["-p", str(folder), "-e", "stderr", "-c", str(folder / "nginx.conf")]


def haproxy(folder: Path, text: str) -> list[str]:
    """Write HAProxy's file; the words to start it with."""
    (folder / "haproxy.cfg").write_text(replaced(text, {"    user haproxy\n": "", "    group haproxy\n": ""}))
    return ["-db", "-f", str(folder / "haproxy.cfg")]


def check(program: str, *words: str) -> subprocess.CompletedProcess[str]:
    """The program's own check of its configuration."""
    return subprocess.run([program, *words], capture_output=True, text=True, timeout=30, check=False)


class Proxy(Gateway):
    """A proxy in front of two gateways' ``ports``; asked like a gateway."""

    def __init__(self, name: str, folder: Path, ports: Sequence[int]) -> None:
        self.name, self.port = name, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        gateways = [f"127.0.0.1:{port}" for port in ports]
        changes = dict(zip(ADDRESSES, gateways, strict=True))
        if name == "nginx":
            changes = {"listen 8080;": f"listen 127.0.0.1:{self.port};", **changes}
            words = nginx(folder, replaced(NGINX.read_text(), changes))
        else:
            changes = {"bind :8080\n": f"bind 127.0.0.1:{self.port}\n", **changes}
            words = haproxy(folder, replaced(HAPROXY.read_text(), changes))
        self.process = Process(*words, env={}, program=(name,))
        until(self._answers, what=f"{name} answers")

    def __exit__(self, *_: object) -> None:
        # HAProxy ends by the signal itself.
        assert self.process.end() in (0, -signal.SIGTERM), self.process.output

    def wait_until_it_knows_that(self, host: int, state: str) -> None:
        """HAProxy says so in its log; nginx knows nothing of a gateway before a request meets it."""
        if self.name == "haproxy":
            until(
                lambda: self._last_word_about(host) == state, what=f"gateway-{host + 1} {state}\n{self.process.output}"
            )

    def _last_word_about(self, host: int) -> str:
        lines = [line for line in self.process.lines if f"Server gateways/gateway-{host + 1} is " in line]
        return lines[-1].split(" is ")[1].split()[0].rstrip(",.") if lines else "UP"

    def _answers(self) -> bool:
        assert self.process._popen.poll() is None, self.process.output
        try:
            return self.request("GET", "/healthz").status == 200
        except OSError:
            return False
