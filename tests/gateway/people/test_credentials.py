"""What a browser sends to sign in is a name and a password, or is refused without being repeated."""

import pytest

from gateway.front.errors import BadRequest
from gateway.routes.sign_in import understood


@pytest.mark.parametrize(
    "body",
    [
        b'{"user": "alice\xff", "password": "secret"}',
        b'{"user": "alice", "password": "secret\xff"}',
        b'{"user": "alice", "password": "\\ud800secret"}',
        b'{"user": ' + b"[" * 16_000,
        b"\xff\xfe",
    ],
)
def test_bytes_that_are_no_text_are_refused_and_no_fault_of_the_gateway(body: bytes) -> None:
    with pytest.raises(BadRequest) as caught:
        understood(body)
    assert "alice" not in caught.value.message
    assert "secret" not in caught.value.message
