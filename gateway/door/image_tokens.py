"""How many tokens an image costs the model, by the model's own resize rule; pure arithmetic, it never sees an image.

GLM-4.1V to 4.6V resize to multiples of 28 pixels within a budget that counts each still image as two frames
(`smart_resize` in Hugging Face transformers, models/glm4v and glm46v); one token stands for 28 by 28 pixels.
glm-4v-9b resizes everything to 1120 by 1120: always GLM_4V_9B_IMAGE_TOKENS.
"""

import math

GLM_4V_9B_IMAGE_TOKENS = (1120 // 28) ** 2

_FRAMES = 2


def image_tokens(
    width: int, height: int, *, factor: int = 28, min_pixels: int = 112 * 112, max_pixels: int = 28 * 28 * 12_288
) -> int:
    """Tokens between begin and end of one image of `width` by `height` pixels.

    `factor` is patch size times merge size; `min_pixels` and `max_pixels` are the `shortest_edge` and `longest_edge` of
    the model's processor configuration, in pixels over both frames. The begin and end tokens are not counted.
    """
    high, wide = resized(width, height, factor=factor, min_pixels=min_pixels, max_pixels=max_pixels)
    return (high // factor) * (wide // factor)


def resized(width: int, height: int, *, factor: int, min_pixels: int, max_pixels: int) -> tuple[int, int]:
    """(height, width) in pixels after the processor's resize."""
    if min(height, width) < factor:
        scale = max(factor / height, factor / width)
        height, width = int(height * scale), int(width * scale)
    # Python's round (half to even), as the processor uses it.
    high, wide = round(height / factor) * factor, round(width / factor) * factor
    if _FRAMES * high * wide > max_pixels:
        shrink = math.sqrt(_FRAMES * height * width / max_pixels)
        high = max(factor, math.floor(height / shrink / factor) * factor)
        wide = max(factor, math.floor(width / shrink / factor) * factor)
    elif _FRAMES * high * wide < min_pixels:
        grow = math.sqrt(min_pixels / (_FRAMES * height * width))
        high = math.ceil(height * grow / factor) * factor
        wide = math.ceil(width * grow / factor) * factor
    return high, wide
