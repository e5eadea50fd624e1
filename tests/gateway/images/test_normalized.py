"""Every kind of picture looks at the engine as it is meant to: nearly all reach it untouched, and the rest encoded anew."""

import pytest

from gateway.door import BadImage
from gateway.door.image_headers import Steps, read_header
from gateway.images.reencode_worker import remake
from gateway.images.reencoding import HIGH_PIXELS
from tests.gateway.door.bodies import LIMITS, body, image_part, parse, picture, user
from tests.gateway.images.kinds import Kind, apart, kinds, on_white

KINDS = list(kinds())


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_header_says_whether_a_kind_is_encoded_anew(kind: Kind) -> None:
    header = read_header(kind.data, Steps(LIMITS.image_steps, LIMITS.images_steps))
    assert (header.type, header.recode) == (kind.type, kind.recode)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.recode], ids=lambda kind: kind.name)
def test_what_is_made_of_it_looks_the_same_and_is_read_alike_by_all(kind: Kind) -> None:
    made = remake(kind.data, kind.type.removeprefix("image/").upper(), HIGH_PIXELS)
    header = read_header(made, Steps(LIMITS.image_steps, LIMITS.images_steps))
    assert header.type in ("image/png", "image/jpeg")
    assert not header.recode
    assert apart(on_white(made), kind.looks) <= (6 if kind.lossy else 0)


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if "RGB, 8 bits, tRNS" in kind.name], ids=lambda kind: kind.name
)
def test_pillow_agrees_with_the_specification_where_it_can(kind: Kind) -> None:
    assert kind.spec is not None
    assert apart(on_white(kind.data), kind.spec) == 0


def test_a_picture_that_must_be_encoded_anew_never_goes_on_as_it_came() -> None:
    kind = next(kind for kind in KINDS if kind.recode)
    (image,) = parse(body(user(image_part(kind.data, kind.type)))).images
    assert image.recode
    with pytest.raises(RuntimeError):
        image.json_url()
    with pytest.raises(BadImage):  # a process that was taken over gives the same back
        image.show(kind.data, HIGH_PIXELS, LIMITS)
    image.show(picture(), HIGH_PIXELS, LIMITS)
    assert image.recoded
    assert b"base64" in bytes(image.json_url())
