"""One image of a request: its place and size from the body, and after `digest_images` its bytes, header and digest.

After `show` the engine sees other bytes than the client sent; type, size, pixels and digest stay those of the client's.
Where the limits allow it, an image may be a URL (`remote`): somebody else fetches it and hands its bytes to `take`.

`digest_images` is the only slow step of the door. It touches nothing but its request, so it may run in a thread;
SHA-256 and CRC-32 release the interpreter's lock, base64 takes 60 microseconds a mebibyte and does not.
"""

import hashlib
from collections.abc import Sequence

import msgspec
import pybase64

from gateway.door.body_limits import DoorLimits
from gateway.door.data_url import least_bytes, read_base64, split_data_url
from gateway.door.errors import BadImage, OverBound, OverBytes
from gateway.door.image_headers import Header, ImageFault, Steps, TooManySteps, read_header
from gateway.door.remote_url import RemoteURL, remote_url

_MADE = frozenset({"image/jpeg", "image/png"})
_ANEW = b"vitrine picture encoded anew\0"  # no SHA-256, which has 32 bytes, begins so and goes on


class Image:
    """An image part. Until `digest_images` was called, `type`, `data`, `width`, `height`, `decoding` and `sha256` are empty.

    `type` is what its bytes are, whatever was declared. `shown` is (width, height) of what the engine sees, `identity` the
    bytes that name it: the client's SHA-256 as long as it is the client's own picture. `decoding` is what decoding it costs:
    pixels times scans. `recode`: the engine must not see the file as it is, only what `show` is given; `recoded`: it sees that.
    `copied_bytes` are those of a copy of its base64, where it had to be written anew.
    """

    __slots__ = (
        "_declared",
        "_payload",
        "_raw",
        "copied_bytes",
        "data",
        "decoding",
        "detail",
        "height",
        "identity",
        "path",
        "recode",
        "recoded",
        "remote",
        "sha256",
        "shown",
        "size_bytes",
        "type",
        "width",
    )

    def __init__(self, raw: msgspec.Raw, detail: str | None, path: str, may_be_remote: bool = False) -> None:
        self.path = path
        self.detail = detail
        self.type = ""
        self.data = b""
        self.recode = self.recoded = False
        self.copied_bytes = 0
        self.width = 0
        self.height = 0
        self.decoding = 0
        self.sha256 = b""
        self.shown = (0, 0)
        self.identity = b""
        self.remote: RemoteURL | None = remote_url(raw, path) if may_be_remote else None
        self._declared: str | None = None
        self._raw: msgspec.Raw | None = None  # the string as it came, if it can be written on
        self._payload = memoryview(b"")
        self.size_bytes = 0
        if self.remote is None:
            url = split_data_url(raw, path)
            self._declared = url.type
            self._payload = url.payload
            self._raw = raw
            self.size_bytes = url.decoded_bytes

    def measure(self) -> None:
        """Take line breaks and escapes out of `size_bytes`, which before `digest` counts them like bytes of the image."""
        if not self.data and self.remote is None:
            self.size_bytes = min(self.size_bytes, least_bytes(self._payload))

    def take(self, data: bytes) -> None:
        """The bytes of a remote image, as they were fetched; `digest` checks them."""
        self.data = data
        self.size_bytes = len(data)

    def digest(self, limits: DoorLimits, steps: Steps) -> None:
        """Decodes the base64, checks header and limits, and digests the decoded bytes. Raises DoorError.

        `steps` are those of all images of the request.
        """
        data = self._decoded() if self.remote is None else self._fetched()
        header = self._header(data, steps)
        self._check_size(header, limits)
        if self.remote is not None:
            self._payload = memoryview(pybase64.b64encode(data))
        if header.type != self._declared:
            self._raw = None
        self.type = header.type
        self.recode = header.recode
        self.data = data
        self.size_bytes = len(data)
        self.width, self.height = header.width, header.height
        self.decoding = header.width * header.height * header.scans
        self.sha256 = self.identity = hashlib.sha256(data).digest()
        self.shown = (header.width, header.height)

    def show(self, data: bytes, budget: int, limits: DoorLimits) -> None:
        """From now on the engine sees `data`: this picture encoded anew in at most `budget` pixels. Raises BadImage.

        `data` is not trusted: it is a JPEG or PNG within the budget, or it is refused. After `digest`; `data` is let go.
        """
        try:
            header = read_header(data, Steps(limits.image_steps, limits.image_steps))
        except (ImageFault, TooManySteps):
            header = None
        if header is None or header.type not in _MADE or header.recode or header.width * header.height > budget:
            raise BadImage("The image can't be decoded. Save it again.", param=self.path)
        url = (b'"data:', header.type.encode("ascii"), b";base64,", pybase64.b64encode(data), b'"')
        self._raw, self._payload, self.data = msgspec.Raw(b"".join(url)), memoryview(b""), b""
        self.recode, self.recoded = False, True
        self.shown = (header.width, header.height)
        # Other pixels under the same name would meet in the engine's caches.
        self.identity = b"%b%d\0%b" % (_ANEW, budget, self.sha256)

    def json_url(self) -> msgspec.Raw:
        """The usual data URL as a JSON string, for the engine: the client's own bytes, unless `show` gave others."""
        if not self.sha256 or self.recode:
            raise RuntimeError(
                "an image goes to the engine only after digest, and after show if it must be encoded anew"
            )
        if self._raw is not None:
            return self._raw
        return msgspec.Raw(b"".join((b'"data:', self.type.encode("ascii"), b";base64,", self._payload, b'"')))

    def _fetched(self) -> bytes:
        if not self.data:
            raise BadImage("The image at the URL is empty.", param=self.path)
        return self.data

    def _decoded(self) -> bytes:
        if len(self._payload) == 0:
            raise BadImage("The image is empty. Send its bytes as base64.", param=self.path)
        try:
            data, usual = read_base64(self._payload)
        except ValueError:
            raise BadImage(
                "The image is not whole base64. Send its bytes as base64, without other characters.", param=self.path
            ) from None
        if usual is not self._payload:
            self._payload, self._raw, self.copied_bytes = usual, None, len(usual)
        return data

    def _header(self, data: bytes, steps: Steps) -> Header:
        steps.next_image()
        try:
            header = read_header(data, steps)
        except ImageFault as fault:
            raise BadImage(f"The image {fault}.", param=self.path) from None
        except TooManySteps as fault:
            whose = "the images have" if fault.together else "it has"
            raise OverBound(
                f"The image's file can't be read: {whose} too many small parts (chunks, blocks or segments), more than "
                f"{fault.limit} steps. Save it again, as a usual JPEG or PNG.",
                param=self.path,
            ) from None
        return header

    def _check_size(self, header: Header, limits: DoorLimits) -> None:
        wide, high = header.width, header.height
        long, short = max(wide, high), min(wide, high)
        size = f"The image has {wide}x{high} pixels"
        if wide * high > limits.image_pixels:
            raise OverBound(
                f"{size}, {wide * high} in all; the limit is {limits.image_pixels}. Scale it down.", param=self.path
            )
        if long > limits.image_side_max:
            raise OverBound(f"{size}; a side may have at most {limits.image_side_max}. Scale it down.", param=self.path)
        if short < limits.image_side_min:
            raise OverBound(f"{size}; a side must have at least {limits.image_side_min}. Scale it up.", param=self.path)
        if long > short * limits.image_aspect:
            raise OverBound(
                f"{size}; the longer side may be at most {limits.image_aspect} times the shorter. Crop it.",
                param=self.path,
            )


def check_payloads(images: Sequence[Image], limits: DoorLimits) -> None:
    """Count and bytes, from the length of the base64 alone until they are digested. Raises OverBound (400) or OverBytes (413)."""
    if len(images) > limits.images:
        raise OverBound(
            f"The request has {len(images)} images; the limit is {limits.images}. Send fewer.", param="messages"
        )
    for image in images:
        if image.size_bytes > limits.image_bytes:
            image.measure()
        if image.size_bytes > limits.image_bytes:
            raise OverBytes(
                f"The image has {image.size_bytes} bytes; the limit is {limits.image_bytes}. Scale or compress it.",
                param=image.path,
            )
    if sum(image.size_bytes for image in images) > limits.images_bytes:
        for image in images:
            image.measure()
    total = sum(image.size_bytes for image in images)
    if total > limits.images_bytes:
        raise OverBytes(
            f"The images have {total} bytes together; the limit is {limits.images_bytes}. Send fewer or smaller ones.",
            param="messages",
        )


def check_decoding(images: Sequence[Image], limits: DoorLimits) -> None:
    """What it costs to decode them, all together. After `digest`. Raises OverBound (400)."""
    total = sum(image.decoding for image in images)
    if total > limits.images_decoding:
        raise OverBound(
            f"Decoding the images takes {total} pixels times scans; the limit is {limits.images_decoding}. "
            f"Scale them down, send fewer, or save progressive JPEGs as usual ones.",
            param="messages",
        )
