"""The cost of an image in tokens, against figures known from the model."""

import pytest

from gateway.door import GLM_4V_9B_IMAGE_TOKENS, image_tokens


@pytest.mark.parametrize(
    ("width", "height", "tokens"),
    [(560, 840, 600), (840, 560, 600), (4000, 3000, 6030), (336, 336, 144), (28, 28, 9), (8, 8, 9), (1, 100, 100)],
)
def test_known_sizes_cost_what_the_processor_makes_of_them(width: int, height: int, tokens: int) -> None:
    assert image_tokens(width, height) == tokens


def test_a_budget_bounds_every_size() -> None:
    for side in (1000, 5000, 16_000):
        assert image_tokens(side, side, max_pixels=28 * 28 * 2 * 1000) <= 1000


def test_glm_4v_9b_costs_the_same_for_all() -> None:
    assert GLM_4V_9B_IMAGE_TOKENS == 1600
