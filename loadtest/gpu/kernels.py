"""``python -m loadtest.gpu.kernels MODEL``: a photo's encoder and the language model's matrices alone, under several flags.

No server and no scheduler: one process, the real layers with random weights, seconds a flag where a start costs minutes. It
tells which flags are worth a start. Times are the card's, of recorded CUDA graphs, but for "launched", which is the wall clock
of the encoder when Python launches it kernel by kernel.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from vllm.config import VllmConfig, set_current_vllm_config
from vllm.distributed import init_distributed_environment, initialize_model_parallel
from vllm.engine.arg_utils import EngineArgs
from vllm.model_executor.model_loader import get_model

from loadtest.gpu.host import make_up_for_the_installation

_OPS = {"custom_ops": ["none", "+quant_fp8", "+silu_and_mul"]}
_NORMS = {"rms_norm": ["vllm_c"], "fused_add_rms_norm": ["vllm_c"]}
_LAYERS = ("self_attn.qkv_proj", "self_attn.o_proj", "mlp.gate_up_proj", "mlp.down_proj")
_TOKENS = (1, 16, 256, 704, 2048, 16384)
_ROUNDS = 10


@dataclass(frozen=True)
class Setting:
    """Flags of the engine, and what of it is timed."""

    flags: dict[str, Any] = field(default_factory=dict)
    encoder: bool = True
    matrices: bool = True


_CHANNEL = {"quantization": "fp8_per_channel"}
_TENSOR = {"quantization": "fp8_per_tensor"}
_BLOCK = {"quantization": "fp8_per_block"}
_COMPILED = {"compilation_config": {"compile_mm_encoder": True}}

SETTINGS = {
    "bf16": Setting(),
    "bf16, compiled": Setting(_COMPILED, matrices=False),
    "bf16, vLLM's own kernels": Setting({"compilation_config": _OPS, "ir_op_priority": _NORMS}, matrices=False),
    "fp8": Setting(_CHANNEL),
    "fp8, compiled": Setting({**_CHANNEL, **_COMPILED}, matrices=False),
    "fp8, vLLM's own kernels": Setting({**_CHANNEL, "compilation_config": _OPS, "ir_op_priority": _NORMS}),
    "fp8, Humming": Setting({**_CHANNEL, "linear_backend": "humming"}, encoder=False),
    "fp8, one scale a matrix": Setting(_TENSOR, encoder=False),
    "fp8, one scale a matrix, torch": Setting({**_TENSOR, "linear_backend": "torch"}, encoder=False),
    "fp8, one scale a matrix, Marlin": Setting({**_TENSOR, "linear_backend": "marlin"}, encoder=False),
    "fp8, one scale a matrix, Humming": Setting({**_TENSOR, "linear_backend": "humming"}, encoder=False),
    "fp8, a scale a block": Setting(_BLOCK, encoder=False),
    "fp8, a scale a block, DeepGEMM": Setting({**_BLOCK, "linear_backend": "deep_gemm"}, encoder=False),
    "fp8, a scale a block, CUTLASS": Setting({**_BLOCK, "linear_backend": "cutlass"}, encoder=False),
    "fp8, a scale a block, torch": Setting({**_BLOCK, "linear_backend": "torch"}, encoder=False),
    "fp8, a scale a block, Humming": Setting({**_BLOCK, "linear_backend": "humming"}, encoder=False),
}


def configured(model: Path, flags: dict[str, Any]) -> VllmConfig:
    """The model with two layers of language: what a layer costs is what is wanted, and the rest takes time to fill."""

    def shorter(config: Any) -> Any:
        if hasattr(config, "text_config"):  # vLLM tries it first on a configuration that has none
            config.text_config.num_hidden_layers = 2
        return config

    arguments = EngineArgs(
        model=str(model),
        load_format="dummy",
        max_model_len=4096,
        hf_overrides=shorter,
        limit_mm_per_prompt={"image": 8, "video": 0},
        **flags,
    )
    return arguments.create_engine_config()


class KernelClock:
    """Times work on the card. ``cuda`` False: on a processor, without graphs, to try this program where there is no card."""

    def __init__(self, cuda: bool) -> None:
        self._cuda = cuda

    def card_ms(self, work: Callable[[], Any], rounds: int = _ROUNDS) -> float:
        """Milliseconds of one run, of a recorded graph."""
        if not self._cuda:
            return self.wall_ms(work, 1)
        work()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            work()
        graph.replay()
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        for _ in range(rounds):
            graph.replay()
        end.record()
        torch.cuda.synchronize()
        return float(begin.elapsed_time(end)) / rounds

    def wall_ms(self, work: Callable[[], Any], rounds: int = _ROUNDS) -> float:
        """Milliseconds of one run, launched by Python, by the wall clock."""
        work()
        self._wait()
        began = time.perf_counter()
        for _ in range(rounds):
            work()
            self._wait()
        return (time.perf_counter() - began) / rounds * 1000

    def kernels(self, work: Callable[[], Any], most: int = 8) -> list[tuple[str, float, int]]:
        """The kernels of one run: name, milliseconds, how often; the last is all of them."""
        if not self._cuda:
            return []
        work()
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
            work()
            torch.cuda.synchronize()
        rows = [(row.key[:70], row.self_device_time_total / 1000, row.count) for row in profile.key_averages()]
        rows = sorted((row for row in rows if row[1] > 0), key=lambda row: -row[1])
        return [*rows[:most], ("all", sum(row[1] for row in rows), sum(row[2] for row in rows))]

    def _wait(self) -> None:
        if self._cuda:
            torch.cuda.synchronize()


def encoder(model: Any, config: VllmConfig, clock: KernelClock, photos: int) -> dict[str, Any]:
    """Of a batch of photos of 560×840: the encoder as a graph and launched, and the positions, which no graph has."""
    visual = model.visual
    vision = config.model_config.hf_config.vision_config
    grid = [[1, 60, 40]] * photos
    columns = vision.in_channels * vision.temporal_patch_size * vision.patch_size**2
    dtype = visual.input_norm.input_dtype or torch.bfloat16
    pixels = torch.zeros(photos * 2400, columns, dtype=dtype, device=visual.device)
    metadata = visual.prepare_encoder_metadata(grid)

    def alone() -> None:
        visual(pixels, None, encoder_metadata=metadata)

    return {
        "graph": clock.card_ms(alone),
        "launched": clock.wall_ms(lambda: visual(pixels, grid)),
        "positions": clock.wall_ms(lambda: visual.pos_embeds_interpolate(grid)),
        "kernels": clock.kernels(lambda: visual(pixels, grid)),
    }


def matrices(model: Any, config: VllmConfig, clock: KernelClock, tokens: int, layers: int) -> float:
    """Milliseconds of the four matrices of every layer, one after the other, so that none stays in the card's cache."""
    layer = model.language_model.model.layers[0]
    device = model.visual.device
    chain = []
    for name in _LAYERS:
        module = layer.get_submodule(name)
        rows = torch.randn(tokens, module.input_size, dtype=config.model_config.dtype, device=device)
        chain.append((module, rows))

    def once() -> None:
        for module, rows in chain:
            module(rows)

    return clock.card_ms(once) * layers


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    model: Annotated[Path, typer.Argument(help="The model's folder; its weights are not read.")],
    out: Annotated[Path | None, typer.Option(help="Where the figures go as JSON.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="Only this setting; repeat for several.")] = None,
    photos: Annotated[str, typer.Option(help="Photos at once, several with commas.")] = "1,4",
    plugin: Annotated[bool, typer.Option(help="With Vitrine's plugin of vLLM, or vLLM as it is.")] = True,
) -> None:
    """Time the parts."""
    os.environ["VLLM_PLUGINS"] = "vitrine" if plugin else ""  # read when vLLM first makes a configuration
    make_up_for_the_installation(Path(tempfile.mkdtemp()))
    cuda = torch.cuda.is_available()
    clock = KernelClock(cuda)
    if cuda:
        torch.cuda.set_device(0)
    batches = [int(word) for word in photos.split(",")]
    found: dict[str, dict[str, Any]] = {}
    for name, setting in SETTINGS.items():
        if only and name not in only:
            continue
        try:
            found[name] = _timed(model, setting, clock, batches)
        except Exception as error:  # noqa: BLE001  one setting that a card refuses does not end the others
            found[name] = {"failed": f"{type(error).__name__}: {error}"[:300]}
        print(f"{name}: {json.dumps(found[name])[:2000]}", file=sys.stderr, flush=True)
        if out is not None:
            out.write_text(json.dumps(found, indent=1))
    print(_tables(found, batches))


def _timed(model: Path, setting: Setting, clock: KernelClock, batches: list[int]) -> dict[str, Any]:
    torch._dynamo.reset()
    config = configured(model, setting.flags)
    with set_current_vllm_config(config), torch.inference_mode():
        if not torch.distributed.is_initialized():
            meeting = f"file://{tempfile.mkdtemp()}/meeting"
            init_distributed_environment(1, 0, meeting, 0, "nccl" if torch.cuda.is_available() else "gloo")
            initialize_model_parallel(1, 1)
        loaded = get_model(vllm_config=config)
        seen: dict[str, Any] = {}
        if setting.encoder:
            seen["encoder"] = {str(count): encoder(loaded, config, clock, count) for count in batches}
        if setting.matrices:
            seen["matrices"] = {str(count): matrices(loaded, config, clock, count, 40) for count in _TOKENS}
    del loaded
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return seen


def _markdown(heads: list[str], rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [heads, ["---"] * len(heads), *rows])


def _tables(found: dict[str, dict[str, Any]], batches: list[int]) -> str:
    parts = ("graph", "launched", "positions", "kernels", "launches")
    heads = ["ms", *(f"{count}: {part}" for count in batches for part in parts)]
    rows = []
    for name, seen in found.items():
        row = [name]
        for count in batches:
            one = seen.get("encoder", {}).get(str(count))
            every = one["kernels"][-1] if one and one["kernels"] else ("", float("nan"), 0)
            row += [f"{one[key]:.1f}" for key in ("graph", "launched", "positions")] if one else ["", "", ""]
            row += [f"{every[1]:.1f}", str(every[2])] if one else ["", ""]
        rows.append([*row])
    text = ["a photo's encoder, by photos at once:", "", _markdown(heads, rows), ""]
    heads = ["ms, 40 layers", *(f"{count} tokens" for count in _TOKENS)]
    rows = [
        [name, *(f"{seen['matrices'][str(count)]:.2f}" for count in _TOKENS)]
        for name, seen in found.items()
        if "matrices" in seen
    ]
    text += ["the language model's matrices:", "", _markdown(heads, rows), ""]
    text += [f"{name}: {seen['failed']}" for name, seen in found.items() if "failed" in seen]
    return "\n".join(text)


if __name__ == "__main__":
    app()
