"""What the engine sees of a request's pictures: their pixels, encoded anew, as many as ``detail`` asks for; decodes nothing.

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


async def sanitize(request: ChatRequest, workers: WorkerPool, share: MemoryShare, key: str) -> None:
    """Replace what the engine sees of each picture, after `digest_images`. ``key`` is the caller's id.

    Raises BadRequest, Unavailable, or DoorError.
    """
    for image in request.images:
        budget = LOW_PIXELS if image.detail == "low" else HIGH_PIXELS
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
