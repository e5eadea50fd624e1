"""What the engine sees of a request's pictures where it is not the file itself: pixels, encoded anew; decodes nothing.

With ``sanitize`` that is every picture, with as many pixels as ``detail`` asks for. Without it, it is those that decoders read
differently and those of a format that the engine is not given (docs/decisions/0066).

One picture after the other: a request with many of them leaves the other processes to other requests. Each waits in its
caller's line, so that one caller's many requests leave turns to others.
"""

import asyncio

from gateway.door import ChatRequest
from gateway.front.bodies import MemoryShare
from gateway.front.errors import BadRequest, Unavailable
from gateway.images.worker_pool import DecodeTimeout, Undecodable, WorkerPool

LOW_PIXELS = 512 * 512
HIGH_PIXELS = 6_144 * 28 * 28  # what GLM-4.1V to 4.6V themselves look at: more would be made smaller there


async def reencode(
    request: ChatRequest, workers: WorkerPool | None, share: MemoryShare, key: str, *, sanitize: bool
) -> None:
    """Replace what the engine sees of each picture that needs it, after `digest_images`. ``key`` is the caller's id.

    Raises BadRequest, Unavailable, or DoorError.
    """
    for image in request.images:
        if not sanitize and not image.recode:
            continue
        if workers is None:
            raise BadRequest(
                "The image is of a kind that this service does not convert: AVIF, or a PNG that decoders read differently "
                "(grey of 16 bits, or with one transparent colour). Save it as JPEG, or as PNG with 8 bits.",
                param=image.path,
                code="invalid_image",
            )
        budget = LOW_PIXELS if sanitize and image.detail == "low" else HIGH_PIXELS
        try:
            made = await workers.remake(image.data, image.type, budget, key=key, decoding=image.decoding)
        except Undecodable:
            raise BadRequest(
                "The image can't be decoded. Save it again.", param=image.path, code="invalid_image"
            ) from None
        except DecodeTimeout:
            raise Unavailable(
                "a picture could not be worked on in time; try again soon", code="pictures_busy", retry_after_s=2
            ) from None
        share.take(len(made) * 4 // 3)
        # It digests, checks and encodes to base64: not on the event loop.
        await asyncio.to_thread(image.show, made, budget, request.limits)
