"""Raw bytes that no well-meaning client sends, and what must come back; and the one function that sends them."""

import json
import socket
import time
from dataclasses import dataclass
from typing import Any

QUESTION = json.dumps({"model": "glm-4v", "messages": [{"role": "user", "content": "What is this?"}]}).encode()
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


@dataclass(frozen=True)
class Raw:
    """``key`` in ``sent`` stands for a good key. ``statuses`` of all answers on the connection; ``reaches`` the engine or not."""

    name: str
    sent: bytes
    statuses: tuple[int, ...]
    reaches: bool = False


def post(*headers: bytes, body: bytes = b"") -> bytes:
    head = (b"POST /v1/chat/completions HTTP/1.1", b"Host: x", b"Authorization: Bearer {key}", *headers, b"", body)
    return b"\r\n".join(head)


def get(*headers: bytes, target: bytes = b"/healthz", version: bytes = b"HTTP/1.1") -> bytes:
    return b"\r\n".join((b"GET " + target + b" " + version, *headers, b"", b""))


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


LENGTH = b"Content-Length: %d" % len(QUESTION)
CHUNKED = b"Transfer-Encoding: chunked"
END = b"0\r\n\r\n"
ENDLESS = b"GET / HTTP/1.1\r\nX-A: " + b"a" * 2_000_000

CASES = (
    # What must go on working
    Raw("a good request", post(LENGTH, body=QUESTION), (200,), reaches=True),
    Raw("a good request in chunks", post(CHUNKED, body=chunk(QUESTION) + END), (200,), reaches=True),
    Raw(
        "a chunk with an extension",
        post(CHUNKED, body=b"%x;a=b\r\n%b\r\n" % (len(QUESTION), QUESTION) + END),
        (200,),
        True,
    ),
    Raw("three in a row, pipelined", HEALTH * 3, (200, 200, 200)),
    Raw("HTTP/1.0", get(version=b"HTTP/1.0"), (200,)),
    Raw("an absolute target", get(b"Host: x", target=b"http://elsewhere/healthz"), (200,)),
    Raw("Expect: 100-continue", post(b"Expect: 100-continue", LENGTH, body=QUESTION), (100, 200), reaches=True),
    # Smuggling: two readers, two lengths
    Raw("CL.TE", post(b"Content-Length: 6", CHUNKED, body=END + b"G"), (400,)),
    Raw("TE.CL", post(CHUNKED, b"Content-Length: 6", body=END + b"G"), (400,)),
    Raw("TE.TE", post(CHUNKED, b"Transfer-Encoding: identity", body=END), (400,)),
    Raw("TE: xchunked", post(b"Transfer-Encoding: xchunked", body=END), (400,)),
    Raw("TE: gzip, chunked", post(b"Transfer-Encoding: gzip, chunked", body=END), (400,)),
    Raw("TE after a vertical tab", post(b"Transfer-Encoding: \x0bchunked", body=END), (400,)),
    Raw("TE before a space and a colon", post(b"Transfer-Encoding : chunked", body=END), (400,)),
    Raw("TE in HTTP/1.0", post(CHUNKED, body=END).replace(b"HTTP/1.1", b"HTTP/1.0"), (400,)),
    Raw("TE on a folded line", post(b"Transfer-Encoding:\r\n chunked", body=END), (400,)),
    Raw("two lengths", post(b"Content-Length: 5", b"Content-Length: 6", body=b"abcdef"), (400,)),
    Raw("one length twice", post(b"Content-Length: 6", b"Content-Length: 6", body=b"abcdef"), (400,)),
    Raw("a list of lengths", post(b"Content-Length: 6, 6", body=b"abcdef"), (400,)),
    Raw("a length with a plus", post(b"Content-Length: +6", body=b"abcdef"), (400,)),
    Raw("a hexadecimal length", post(b"Content-Length: 0x6", body=b"abcdef"), (400,)),
    Raw("a negative length", post(b"Content-Length: -1"), (400,)),
    Raw("a length of 2**70", post(b"Content-Length: 1180591620717411303424"), (400,)),
    Raw("a folded header", post(b"X-A: b\r\n c", LENGTH, body=QUESTION), (400,)),
    Raw("bare line feeds", HEALTH.replace(b"\r\n", b"\n"), (400,)),
    Raw("one bare line feed", get(b"Host: x\nX-A: b"), (400,)),
    Raw("a bare carriage return", get(b"Host: x\rX-A: b"), (400,)),
    Raw("a NUL in a header", get(b"Host: x\0"), (400,)),
    Raw("a space before a header", get(b" Host: x"), (400,)),
    Raw("chunks with bare line feeds", post(CHUNKED, body=b"%x\n%b\n0\n\n" % (len(QUESTION), QUESTION)), (400,)),
    Raw("a chunk size 0x5", post(CHUNKED, body=b"0x5\r\nabcde\r\n" + END), (400,)),
    Raw("a negative chunk size", post(CHUNKED, body=b"-5\r\nabcde\r\n" + END), (400,)),
    Raw("a chunk size of 2**68", post(CHUNKED, body=b"fffffffffffffffff\r\nabcde\r\n" + END), (400,)),
    Raw("a chunk longer than its size", post(CHUNKED, body=chunk(QUESTION)[:-2] + b"XX" + END), (400,)),
    Raw("a length in the trailer", post(CHUNKED, body=chunk(QUESTION) + b"0\r\nContent-Length: 5\r\n\r\n"), (400,)),
    Raw("a request hidden in a GET's body", get(b"Host: x", LENGTH)[:-2] + b"\r\n" + HEALTH, (200,)),
    Raw("garbage after a good request", post(LENGTH, body=QUESTION + b"garbage\r\n\r\n"), (200,), reaches=True),
    Raw("a request after Connection: close", get(b"Host: x", b"Connection: close") + HEALTH, (200,)),
    Raw("4,000 requests at once", HEALTH * 4000, (200,) * 17),
    Raw(
        "a key in a trailer",
        post(CHUNKED, body=chunk(QUESTION) + b"0\r\nAuthorization: Bearer {key}\r\n\r\n").replace(
            b"Authorization: Bearer {key}\r\n", b"", 1
        ),
        (401,),
    ),
    Raw("trailers", post(CHUNKED, body=chunk(QUESTION) + b"0\r\nX-A: b\r\nHost: y\r\n\r\n"), (200,), reaches=True),
    Raw("200 trailers", post(CHUNKED, body=chunk(QUESTION) + b"0\r\n" + b"A: b\r\n" * 200 + b"\r\n"), (400,)),
    # Without end, in each state of a connection
    Raw("a trailer without end", post(CHUNKED, body=chunk(QUESTION) + b"0\r\nX-A: " + b"a" * 2_000_000), (400,)),
    Raw("a chunk's extension without end", post(CHUNKED, body=b"5;" + b"a" * 2_000_000), (400,)),
    Raw("a last chunk's extension without end", post(CHUNKED, body=chunk(QUESTION) + b"0;" + b"a" * 2_000_000), (400,)),
    Raw("chunks of one byte without end", post(CHUNKED, body=b"1\r\n \r\n" * 300_000), (400,)),
    Raw("chunks of six bytes without end", post(CHUNKED, body=chunk(b"      ") * 300_000), (400,)),
    Raw("blank lines without end", b"\r\n" * 1_000_000, (431,)),
    Raw("a target without end", b"GET /" + b"a" * 2_000_000, (431,)),
    Raw("a head without end behind a request", HEALTH + ENDLESS, (200, 431)),
    Raw("a head without end behind a question", post(LENGTH, body=QUESTION) + ENDLESS, (200,), True),
    # Heads
    Raw("no Host", get(), (400,)),
    Raw("two Hosts", get(b"Host: a", b"Host: b"), (400,)),
    Raw("two Authorizations", post(b"Authorization: Bearer other", LENGTH, body=QUESTION), (400,)),
    Raw("HTTP/2.0", get(b"Host: x", version=b"HTTP/2.0"), (400,)),
    Raw("HTTP/2's preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400,)),
    Raw("HTTP/1.2", get(b"Host: x", version=b"HTTP/1.2"), (400,)),
    Raw("a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"a" * 100, (400,)),
    Raw("CONNECT", b"CONNECT elsewhere:443 HTTP/1.1\r\nHost: x\r\n\r\n", (400,)),
    Raw("an upgrade to websocket", get(b"Host: x", b"Connection: Upgrade", b"Upgrade: websocket") + HEALTH, (400,)),
    Raw(
        "an upgrade to h2c",
        post(b"Connection: Upgrade, HTTP2-Settings", b"HTTP2-Settings: AAE", b"Upgrade: h2c", LENGTH, body=QUESTION),
        (200,),
        reaches=True,
    ),
    Raw(
        "an upgrade to h2c, and a request in its body",
        get(b"Host: x", b"Connection: Upgrade", b"Upgrade: h2c", b"Content-Length: %d" % len(HEALTH)) + HEALTH,
        (200,),
    ),
    Raw("TRACE", b"TRACE /healthz HTTP/1.1\r\nHost: x\r\n\r\n", (405,)),
    Raw("OPTIONS *", b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", (400,)),
    Raw("a target with another scheme", get(b"Host: x", target=b"ftp://elsewhere/healthz"), (400,)),
    Raw("a target with a name in it", get(b"Host: x", target=b"http://me@elsewhere/healthz"), (400,)),
    Raw("a target with a fragment", get(b"Host: x", target=b"/healthz#x"), (400,)),
    Raw("a target that is no path", get(b"Host: x", target=b"healthz"), (400,)),
    Raw("a target beyond ASCII", get(b"Host: x", target="/é".encode()), (400,)),
    Raw("two slashes", get(b"Host: x", target=b"//healthz"), (200,)),
    Raw("two slashes before a guarded path", get(b"Host: x", target=b"//metrics"), (404,)),
    Raw("200 headers", get(b"Host: x", *[b"A: b"] * 200), (431,)),
    Raw("a header of 100,000 bytes", get(b"Host: x", b"A: " + b"b" * 100_000), (431,)),
    Raw("a header without end", get(b"Host: x", b"A: " + b"b" * 400_000)[:-4], (431,)),
    Raw("a target of 20,000 bytes", get(b"Host: x", target=b"/" + b"a" * 20_000), (431,)),
    # Bodies
    Raw("500 MB announced, 3 MB sent", post(b"Content-Length: 500000000", body=b"x" * 3_000_000), (413,)),
    Raw(
        "3 MB with a wrong key",
        post(b"Content-Length: 60000000", body=b"x" * 3_000_000).replace(b"{key}", b"x"),
        (401,),
    ),
    Raw(
        "chunks without end for a path that is not there",
        b"POST /none HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"0123456789abcdef") * 200_000,
        (404,),
    ),
    Raw("a gzip bomb", post(b"Content-Encoding: gzip", b"Content-Length: 4", body=b"\x1f\x8b\x08\0"), (400,)),
    Raw("a deflate bomb", post(b"Content-Encoding: deflate", b"Content-Length: 4", body=b"\x78\x9c\0\0"), (400,)),
    Raw("zstd within identity", post(b"Content-Encoding: identity, zstd", b"Content-Length: 1", body=b"x"), (400,)),
)


def exchange(port: int, sent: bytes, within_s: float = 15, quiet_s: float | None = None) -> bytes:
    """Send all and read until the other side closes. Raises TimeoutError if it does not within ``within_s``.

    ``quiet_s`` is for a proxy, which keeps connections: that long after its last word, nothing more is waited for.
    """
    received = bytearray()
    end_s = time.monotonic() + within_s
    last_s = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=within_s) as connection:
        # A server that refuses in the middle of a flood is right to; what it answered must be readable all the same.
        unsent = memoryview(sent)
        connection.setblocking(False)
        while True:
            if time.monotonic() > end_s:
                raise TimeoutError(
                    f"the connection is still open after {within_s} s; received {bytes(received[:200])!r}"
                )
            try:
                if unsent:
                    unsent = unsent[connection.send(unsent) :]
            except BlockingIOError:
                pass
            except (BrokenPipeError, ConnectionResetError):
                unsent = memoryview(b"")
            try:
                data = connection.recv(1 << 16)
            except BlockingIOError:
                if quiet_s is not None and received and time.monotonic() - last_s > quiet_s:
                    return bytes(received)
                time.sleep(0.001)  # between two looks
                continue
            except ConnectionResetError:
                return bytes(received)
            if not data:
                return bytes(received)
            received += data
            last_s = time.monotonic()


def statuses(received: bytes) -> tuple[int, ...]:
    """The status of each answer. Follows the lengths, so that text in a body is not taken for an answer."""
    found: list[int] = []
    while received:
        head, _, rest = received.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        found.append(int(lines[0].split(b" ")[1]))
        headers: dict[bytes, Any] = {
            name.lower(): value.strip() for name, _, value in (x.partition(b":") for x in lines[1:])
        }
        if b"content-length" in headers:
            rest = rest[int(headers[b"content-length"]) :]
        elif b"transfer-encoding" in headers:
            rest = b""
        received = rest
    return tuple(found)
