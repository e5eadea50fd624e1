"""What one ledger process is to do, as plain values, and where it may not do it. Reads no setting."""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass
from pathlib import Path

from gateway.ledger.errors import BadSettings
from gateway.ledger.format.promises import RULES, Promises
from gateway.ledger.storage.files import VOLATILE, filesystem

DAY_MS = 86_400_000


@dataclass(frozen=True)
class ServicePlan:
    """Everything a service needs to know, as plain values; see settings.py for what each means."""

    folder: Path
    keys: Path
    socket: Path
    mode: str
    digests: str
    epoch: str
    segment_bytes: int
    segment_daily: bool
    compress: bool
    sign_every_s: float
    sign_every_records: int
    sign_idle_s: float
    anchors: tuple[Path, ...]
    anchors_may_be_missing: bool
    retention_days: int
    allow_volatile: bool
    free_bytes: int
    reserve_bytes: int
    config_digest: str = ""

    @property
    def promises(self) -> Promises:
        """What the boot record says that this ledger will keep."""
        return Promises(RULES, self.retention_days, round(self.sign_every_s * 1000), round(self.sign_idle_s * 1000))


def epoch_of(kind: str, time_ms: int) -> str:
    """The digest epoch of a time in Unix ms: a month, or a day, in UTC."""
    return _day_of(kind, time_ms // DAY_MS)


@functools.lru_cache(maxsize=2)
def _day_of(kind: str, day: int) -> str:
    return time.strftime("%Y-%m" if kind == "month" else "%Y-%m-%d", time.gmtime(day * DAY_MS // 1000))


def refuse_volatile(plan: ServicePlan) -> None:
    """BadSettings if the log lies where a restart loses it, unless that was said to be acceptable."""
    found = filesystem(plan.folder) if plan.folder.exists() else ""
    if found in VOLATILE and not plan.allow_volatile:
        raise BadSettings(
            f"{plan.folder} lies on {found}, which forgets everything at a restart: put the log on a disk, "
            f"or set VITRINE_LEDGER_ALLOW_VOLATILE=true if losing it is acceptable"
        )
