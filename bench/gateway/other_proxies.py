"""Other proxies for the same run; each from Debian or in an environment of its own, none of them needed by Vitrine.

Each gets one worker on the one core, no log of requests, and what makes it fast that its own documentation names.
"""

import contextlib
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.gateway.scenarios import BenchTarget
from loadtest.cores import children_on
from loadtest.system_under_test import child, wait_for_port

INSTALL_S = 600
START_S = 120.0
_KEY = "sk-bench"


class NotHere(Exception):
    """A peer that can't be had on this machine; the text says why."""


@dataclass(frozen=True)
class Peer:
    """``packages`` come from PyPI; ``command`` is made of the folder, its own port and the engine's."""

    name: str
    program: str
    command: Callable[[Path, int, int], list[str]]
    packages: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    key: str = ""

    @contextlib.contextmanager
    def running(self, folder: Path, cache: Path, core: int, engine_port: int) -> Iterator[BenchTarget]:
        """The peer as a process on ``core``; what it needs is installed into ``cache`` once."""
        program = self._installed(cache / "peers" / self.name) if self.packages else shutil.which(self.program)
        if not program:
            raise NotHere(f"{self.program} is missing (Debian: {self.name})")
        port, log = _free_port(), folder / "peer.log"
        words = [str(program), *self.command(folder, port, engine_port)]
        # Nothing of it may go out: this machine's proxies are hidden, and it is told not to ask for prices and news.
        kept = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
        quiet = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "NO_PROXY": "*", "DO_NOT_TRACK": "1", "PYTHONUNBUFFERED": "1"}
        with contextlib.ExitStack() as stack:
            with children_on(core):
                process = stack.enter_context(child(words, kept | quiet, folder, log))
            wait_for_port(port, process, log, START_S)
            headers = {"authorization": f"Bearer {self.key}"} if self.key else {}
            yield BenchTarget(self.name, port, headers, {self.name: process.pid})

    def _installed(self, place: Path) -> Path:
        program = place / "bin" / self.program
        if program.exists():
            return program
        uv = shutil.which("uv")
        if uv is None:
            raise NotHere("uv is missing, which installs it")
        shutil.rmtree(place, ignore_errors=True)
        place.parent.mkdir(parents=True, exist_ok=True)
        overrides = place.parent / f"{self.name}.overrides"
        overrides.write_text("\n".join(self.overrides))
        install = [
            uv,
            "pip",
            "install",
            "--quiet",
            "--python",
            str(place / "bin" / "python"),
            "--override",
            str(overrides),
            *self.packages,
        ]
        for words in ([uv, "venv", "--quiet", str(place)], install):
            try:
                done = subprocess.run(words, capture_output=True, text=True, timeout=INSTALL_S, check=False)
            except subprocess.TimeoutExpired:
                done = subprocess.CompletedProcess(words, 1, "", f"not installed within {INSTALL_S} s")
            if done.returncode:
                shutil.rmtree(place, ignore_errors=True)
                raise NotHere(f"{' '.join(self.packages)} can't be installed: {done.stderr.strip()[:300]}")
        return program


def _nginx(folder: Path, port: int, engine_port: int) -> list[str]:
    (folder / "nginx.conf").write_text(f"""
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; user root;
events {{ worker_connections 4096; }}
http {{
  access_log off; client_max_body_size 0; client_body_buffer_size 2m; client_body_temp_path {folder}/bodies;
  proxy_temp_path {folder}/proxied; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  keepalive_requests 1000000;
  upstream engine {{ server 127.0.0.1:{engine_port}; keepalive 256; keepalive_requests 1000000; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://engine; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_buffering off; proxy_request_buffering off; proxy_read_timeout 600;
    }}
  }}
}}
""")
    return ["-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]


def _router(_: Path, port: int, engine_port: int) -> list[str]:
    return [
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--worker-urls",
        f"http://127.0.0.1:{engine_port}",
        "--policy",
        "round_robin",
        "--log-level",
        "error",
        "--prometheus-port",
        str(_free_port()),
    ]


def _litellm(folder: Path, port: int, engine_port: int) -> list[str]:
    (folder / "config.yaml").write_text(f"""
model_list:
  - model_name: glm-4v
    litellm_params: {{model: openai/glm-4v, api_base: "http://127.0.0.1:{engine_port}/v1", api_key: none}}
litellm_settings: {{telemetry: false, set_verbose: false, request_timeout: 600}}
general_settings: {{master_key: {_KEY}, disable_spend_logs: true}}
""")
    return ["--config", str(folder / "config.yaml"), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


PEERS = (
    Peer("nginx", "nginx", _nginx),
    Peer("vllm-router", "vllm-router", _router, ("vllm-router==0.1.17",)),
    Peer("smg", "smg", lambda *at: ["launch", *_router(*at)], ("smg==1.13.0",)),
    # Its extra names a package of migrations in a version that the registry does not have; a database is not used here.
    Peer("litellm", "litellm", _litellm, ("litellm[proxy]==1.109.0",), ("litellm-proxy-extras>=0.4",), _KEY),
)
