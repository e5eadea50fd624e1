"""What the walkers find (Header), how far they may go (Steps) and how they refuse (ImageFault); it never reads bytes itself."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Header:
    """`type` is the media type (`image/jpeg`); `width` and `height` are pixels as stored, before any rotation.

    ``scans``: how often a decoder goes over the whole image; more than once in some JPEGs, and as a measure of time in
    AVIF. ``recode``: decoders read the
    file differently, or the engine should not read its format: it needs the picture encoded anew (docs/decisions/0066).
    """

    type: str
    width: int
    height: int
    scans: int = 1
    recode: bool = False


class TooManySteps(Exception):
    """A file has more parts than Steps allow. ``limit`` is how many; ``together``: of all images, not of this one."""

    def __init__(self, limit: int, together: bool) -> None:
        super().__init__(limit, together)
        self.limit, self.together = limit, together


class Steps:
    """Counts what it costs to walk through the images of one request, so that a client can't make it cost much.

    A step takes up to a tenth of a microsecond. A chunk or segment counts PART steps; a GIF's block and a JPEG's fill byte one;
    every FOUR bytes FF of a JPEG with several scans one; every INFLATED bytes that are inflated one.
    """

    PART, FOUR, INFLATED = 16, 4, 256

    __slots__ = ("_each", "_left", "_together", "made")

    def __init__(self, each: int, together: int) -> None:
        """``each``: of one image; ``together``: of all images."""
        self._each, self._together = each, together
        self._left = each
        self.made = 0

    def next_image(self) -> None:
        self._left = self._each

    def take(self, steps: int) -> None:
        """Raises TooManySteps."""
        self.made += steps
        self._left -= steps
        if self._left < 0:
            raise TooManySteps(self._each, together=False)
        if self.made > self._together:
            raise TooManySteps(self._together, together=True)


class ImageFault(Exception):
    """Why a picture is refused, as the end of a sentence that begins with "The image"."""


def truncated() -> ImageFault:
    return ImageFault("is truncated; send the whole file")


def animated() -> ImageFault:
    return ImageFault("is animated; send one frame as a still picture")
