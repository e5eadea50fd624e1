"""``python -m tests.monitoring``: engine, ledger, gateway and Prometheus at work for minutes, then every dashboard drawn."""

import argparse
import itertools
import json
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.monitoring.draw import draw_all
from tests.monitoring.prometheus import Prometheus, QueryError, Window
from tests.monitoring.sheet import NoFont, require_font
from tests.monitoring.town import asking, picture
from tests.support.audit import Ledger
from tests.support.deadline import until
from tests.support.gateway import Gateway
from tests.support.process import TOP, Process
from tests.support.prometheus import PrometheusServer

SCRAPE_S = 2.0
LOAD_S = 600.0  # what loading may take on a busy machine
TENANTS = ("radiology", "quality", "lab")


def main() -> int:
    given = argparse.ArgumentParser(prog="python -m tests.monitoring", description=__doc__)
    given.add_argument("--minutes", type=float, default=6, help="how long it works, at least")
    given.add_argument("--to", type=Path, default=TOP / "docs" / "dashboards", help="the folder for the pictures")
    words = given.parse_args()
    if shutil.which("prometheus") is None:
        print("error: prometheus is missing (Debian: prometheus)", file=sys.stderr)
        return 1
    try:
        require_font()
        with tempfile.TemporaryDirectory(prefix="vitrine-") as folder:
            _work_and_draw(Path(folder), words.minutes * 60, words.to)
    except (NoFont, QueryError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _work_and_draw(folder: Path, seconds: float, to: Path) -> None:
    home = folder / "home"
    with Ledger(home):
        engine = Process("serve", "up", "miniature", env={"VITRINE_HOME": str(home)})
        try:
            engine.line_with("ready after", within_s=LOAD_S)
            with Gateway(home, VITRINE_BUSY_EXCHANGES="6") as gateway:
                targets = {"127.0.0.1:8081": f"127.0.0.1:{gateway.metrics_port}"}
                with PrometheusServer(folder / "prometheus", targets, SCRAPE_S) as server:
                    prometheus = Prometheus(server.url)
                    until(lambda: prometheus.at("count(up == 1) == 3"), within_s=60, what="everything is scraped")
                    started = time.time()
                    _day(gateway, home, seconds)
                    draw_all(prometheus, Window(started, time.time(), SCRAPE_S), to)
        finally:
            engine.end(within_s=90)


def _day(gateway: Gateway, home: Path, seconds: float) -> None:
    """Work that comes and goes; strangers that try keys; a tenant over its limit; an engine that dies and comes back."""
    keys = {tenant: gateway.create_key("--tenant", tenant) for tenant in TENANTS}
    keys["limited"], _ = gateway.limited_key("--requests-per-min", "6", tenant="lab")
    begin, over = time.monotonic(), threading.Event()

    def passed() -> float:
        return min(1.0, (time.monotonic() - begin) / seconds)

    def user(number: int) -> None:
        tenant = TENANTS[number % len(TENANTS)]
        for turn in itertools.count():
            if over.wait(0.2 + 0.5 * (number % 3)):
                return
            if number / 12 < min(0.8, 0.25 + passed()):  # more and more of them
                asked = asking(picture(56 * (1 + turn % 5), 336))
                tokens = 40 + 20 * (turn % 3)
                if gateway.chat(keys[tenant], stream=turn % 3 != 0, max_tokens=tokens, messages=asked).status == 503:
                    over.wait(5)  # as Retry-After says

    def stranger() -> None:
        while not over.wait(4):
            gateway.chat(keys["limited"])
            gateway.chat(keys["lab"], priority=7)
            if 0.3 < passed() < 0.45:
                for number in range(12):
                    gateway.chat(f"vt_{number:040}")

    def accident() -> None:
        if not over.wait(seconds * 0.45):
            state = json.loads((home / "run" / "engine-0" / "state.json").read_text())
            os.kill(int(state["pid"]), signal.SIGKILL)

    with ThreadPoolExecutor(16) as many:
        tasks = [many.submit(user, number) for number in range(12)] + [many.submit(stranger), many.submit(accident)]
        try:
            time.sleep(seconds)  # the traffic that the pictures show
            until(lambda: gateway.request("GET", "/readyz").status == 200, within_s=LOAD_S, what="the engine is back")
            time.sleep(seconds * 0.15)  # and calm after the accident
        finally:
            over.set()
    for task in tasks:
        task.result()


if __name__ == "__main__":
    sys.exit(main())
