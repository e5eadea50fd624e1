"""A real Prometheus for tests, on a free port of 127.0.0.1, with a configuration derived from the one in deploy/."""

import shutil
import signal
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.deadline import until
from tests.support.ports import free_port
from tests.support.process import TOP

DEPLOY = TOP / "deploy" / "prometheus"
RULES = ("rules.yml", "alerts.yml")


def program(name: str) -> str:
    """Where Debian's ``prometheus`` or ``promtool`` is; skips the test where it is not."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is missing (Debian: prometheus)")
    return found


class PrometheusServer:
    """``targets`` are the addresses to scrape instead of the checked-in ones."""

    def __init__(self, folder: Path, targets: dict[str, str], scrape_s: float = 1) -> None:
        self._program = program("prometheus")
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        targets = {**targets, "127.0.0.1:9090": f"127.0.0.1:{self.port}"}
        config = derived(yaml.safe_load((DEPLOY / "prometheus.yml").read_text()), targets, scrape_s)
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        for name in RULES:
            rules = yaml.safe_load((DEPLOY / name).read_text())
            for group in rules["groups"]:
                group.pop("interval", None)  # a test has no two minutes
            (folder / name).write_text(yaml.safe_dump(rules, allow_unicode=True))

    def __enter__(self) -> "PrometheusServer":
        self._log = (self._folder / "prometheus.log").open("wb")
        self._process = subprocess.Popen(
            [
                self._program,
                f"--config.file={self._folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={self._folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
            ],
            stdout=self._log,
            stderr=self._log,
        )
        until(self._ready, within_s=30, what="prometheus is ready")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        self._log.close()

    def _ready(self) -> bool:
        assert self._process.poll() is None, (self._folder / "prometheus.log").read_text()
        try:
            with urllib.request.urlopen(self.url + "/-/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


def derived(config: dict[str, Any], targets: dict[str, str], scrape_s: float) -> dict[str, Any]:
    """The checked-in configuration with other addresses and shorter intervals; nothing else differs."""
    every = f"{round(scrape_s * 1000)}ms"
    config["global"] = {"scrape_interval": every, "evaluation_interval": every}
    for job in config["scrape_configs"]:
        for static in job.get("static_configs", []):
            static["targets"] = [targets[target] for target in static["targets"]]
        for discovery in job.get("http_sd_configs", []):
            host = discovery["url"].split("/")[2]
            discovery |= {"url": discovery["url"].replace(host, targets[host]), "refresh_interval": every}
    return config
