"""PROFILE=auto: the cards say which profile, and the sentence says why."""

from pathlib import Path

import pytest

from serve.choice import IN_ORDER, choose
from serve.machine import Gpu
from tests.serve.house import House
from tests.serve.test_checks import H100, L4, check, driver

MIB = 1 << 20
CARDS = {
    "H100": Gpu("NVIDIA H100 80GB HBM3", 81_559 * MIB, 0, 9.0, ""),
    "5090": Gpu("NVIDIA GeForce RTX 5090", 32_607 * MIB, 0, 12.0, ""),
    "A100": Gpu("NVIDIA A100-SXM4-40GB", 40_960 * MIB, 0, 8.0, ""),
    "3090": Gpu("NVIDIA GeForce RTX 3090", 24_576 * MIB, 0, 8.6, ""),
    "4090": Gpu("NVIDIA GeForce RTX 4090", 24_564 * MIB, 0, 8.9, ""),
    "L4": Gpu("NVIDIA L4", 23_034 * MIB, 0, 8.9, ""),
    "T4": Gpu("Tesla T4", 15_360 * MIB, 0, 7.5, ""),
    "V100": Gpu("Tesla V100-SXM2-32GB", 32_768 * MIB, 0, 7.0, ""),
}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["H100"], "glm-4.6v-flash-fp8"),
        (["5090"], "glm-4.6v-flash-fp8"),
        (["A100"], "glm-4.6v-flash"),
        (["3090"], "glm-4.6v-flash-24gb"),
        (["4090"], "glm-4.6v-flash-24gb"),
        (["L4"], "glm-4.6v-flash-24gb"),
        (["T4"], "miniature"),
        (["V100"], "miniature"),
        (["T4", "H100"], "glm-4.6v-flash-fp8"),
        ([], "miniature"),
    ],
)
def test_the_first_profile_that_a_card_can_run_is_taken(names: list[str], expected: str) -> None:
    found, why = choose([CARDS[name] for name in names])
    assert found.name == expected
    if found.name in IN_ORDER:
        assert f"{found.needs.gpu_memory_bytes / 1e9:.1f} GB and {found.needs.compute_capability} or newer" in why
    elif names:
        assert CARDS[names[0]].name in why
        assert "is not enough for glm-4.6v-flash-24gb, which needs" in why
    else:
        assert why.startswith("no GPU answers")


@pytest.mark.process
@pytest.mark.parametrize(
    ("lines", "first"),
    [
        (
            (H100,),
            "glm-4.6v-flash-fp8: chosen, since NVIDIA H100 80GB HBM3 (85.5 GB, compute capability 9.0) is enough",
        ),
        ((L4,), "glm-4.6v-flash-24gb: chosen, since NVIDIA L4 (24.2 GB, compute capability 8.9) is enough for it"),
        ((), "miniature: chosen, since no GPU answers (nvidia-smi)"),
    ],
    ids=["a large card", "a small card", "no card"],
)
def test_check_says_which_profile_it_chose_and_why(house: House, lines: tuple[str, ...], first: str) -> None:
    bin_folder: Path = house.folder / "bin"
    _, said = check(house, "auto", **driver(bin_folder, *lines))
    assert said.startswith(first)
