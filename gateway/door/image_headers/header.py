"""What the walkers find (Header) and how they refuse (ImageFault); it never reads bytes itself."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Header:
    """`type` is the media type (`image/jpeg`); `width` and `height` are pixels as stored, before any rotation."""

    type: str
    width: int
    height: int


class ImageFault(Exception):
    """Why a picture is refused, as the end of a sentence that begins with "The image"."""


def truncated() -> ImageFault:
    return ImageFault("is truncated; send the whole file")


def animated() -> ImageFault:
    return ImageFault("is animated; send one frame as a still picture")
