"""``python -m tests.attack``: starts a gateway with a ledger and a fake engine, attacks it, prints a table; touches no other.

Exit status 1 if anything came back, or reached the engine, that must not.
"""

import argparse
import os
import shutil
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from tests.attack import costly
from tests.attack.run import Attack, Siege
from tests.attack.shield import places
from tests.deploy.proxies import Proxy
from tests.support.audit import Ledger
from tests.support.fake_engine import FakeEngine
from tests.support.gateway import Gateway
from tests.support.pictures import Pictures

MIB = 1 << 20
PATIENCE = {
    "VITRINE_HEAD_TIMEOUT_S": "2",
    "VITRINE_IDLE_TIMEOUT_S": "2",
    "VITRINE_FAILED_LOGINS_PER_MIN": "1000000000",
}


def main() -> int:
    """Run the attacks that were asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.attack", description=__doc__)
    parser.add_argument("--inputs", type=int, default=20_000, help="mutated bodies and pictures to send")
    parser.add_argument("--soak", type=int, default=0, help="good questions to send, and nothing else")
    parser.add_argument("--seed", type=int, default=1)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, FakeEngine(Path(folder) / "run") as engine:
        home = Path(folder)
        with (
            Ledger(home),
            Pictures(home) as pictures,
            Gateway(home, **PATIENCE) as gateway,
            Gateway(home, VITRINE_REMOTE_IMAGES=places(pictures.port)) as fetching,
        ):
            key = gateway.create_key()
            siege = Siege(gateway, engine, key, wanted.seed)
            siege.good()
            found = [siege.soak(wanted.soak)] if wanted.soak else _all(siege, wanted.inputs)
            late = [] if wanted.soak else [costly.latest(gateway, key, kind) for kind in costly.kinds()]
            if not wanted.soak:
                for name in ("haproxy", "nginx"):
                    if shutil.which(name) is None:
                        print(f"{name} is not installed: nothing was sent through it")
                        continue
                    behind = home / name
                    behind.mkdir()
                    with Proxy(name, behind, [gateway.port] * 2) as proxy:
                        found.append(siege.through(proxy, name))
                found.append(Siege(fetching, engine, key).remote(pictures.port))
    print(f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, seed {wanted.seed}")
    print(table(found))
    if late:
        print("\n" + costly.table(late))
    wrong = [f"{attack.name}: {line}" for attack in found for line in attack.wrong] + costly.wrong(late)
    print("\n".join(["", *wrong[:50]]) if wrong else "\nnothing wrong: no field that must not arrived at the engine")
    return 1 if wrong else 0


def _all(siege: Siege, inputs: int) -> list[Attack]:
    return [siege.wire(), siege.shield(), siege.heads(inputs // 10), siege.fuzz(inputs)]


def table(found: list[Attack]) -> str:
    """One line an attack."""
    lines = [
        "| attack | sent | answers | reached the engine | wrong | seconds | RSS before, MiB | after |",
        "|" + " --- |" * 8,
    ]
    for one in found:
        answers = ", ".join(f"{count:,} × {status or 'closed'}" for status, count in sorted(one.statuses.items()))
        lines.append(
            f"| {one.name} | {one.sent:,} | {answers} | {one.passed:,} | {len(one.wrong)} | {one.seconds:.0f}"
            f" | {one.rss_before / MIB:.1f} | {one.rss_after / MIB:.1f} |"
        )
        tenth = max(1, len(one.rss) // 10)
        if one.rss:
            lines.append("\nRSS on the way, MiB: " + ", ".join(f"{rss / MIB:.1f}" for rss in one.rss[::tenth]) + "\n")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
