"""What crosses the ledger's socket: plain structs as JSON, a line each. No content, only SHA-256 and sizes.

A line to the ledger is `{"n": 7, "ask": {"do": "admit", ...}}`, its answer `{"n": 7, "say": {"is": "receipt", ...}}`;
`n` is the asker's and ties the two together. A packet holds one line or several, since under load a system call costs more
than a line. Bytes are base64. Times are Unix milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from gateway.ledger.client.statistics import LedgerStatistics, StatisticsAsk

MOST_PACKET_BYTES = 128 * 1024

Sha256 = Annotated[bytes, Meta(min_length=32, max_length=32)]
Count = Annotated[int, Meta(ge=0, le=2**53)]
Name = Annotated[str, Meta(max_length=1024)]
Fact = str | int | bool
Facts = Annotated[dict[Name, Fact], Meta(max_length=64)]

Outcome = Literal["completed", "client_left", "engine_broke", "refused", "timed_out"]


class TextDigest(Struct, frozen=True, forbid_unknown_fields=True):
    """A text that stayed where it was: SHA-256 of its UTF-8 and its length in characters."""

    sha256: Sha256
    chars: Count


class ImageDigest(Struct, frozen=True, forbid_unknown_fields=True):
    """An image that stayed where it was: SHA-256 of its decoded bytes, its size, media type and pixels."""

    sha256: Sha256
    bytes: Count
    type: Name
    width: Count
    height: Count


class Limit(Struct, frozen=True, forbid_unknown_fields=True):
    """What one subject may use; None means no such limit. Values come with each admit and hold from then on."""

    scope: Literal["key", "tenant"]
    subject: Name
    requests_per_min: Count | None = None
    tokens_per_min: Count | None = None
    tokens_per_day: Count | None = None
    concurrent: Count | None = None
    images_per_min: Count | None = None


LIMIT_NAMES = Limit.__struct_fields__[2:]


class Admit(Struct, frozen=True, forbid_unknown_fields=True, tag_field="do", tag="admit", omit_defaults=True):
    """May this exchange begin? Reply: Receipt (its record is durable) or Refusal (a deny record is)."""

    key: Name
    tenant: Name
    ip: Name
    peer: Name
    route: Name
    model: Name
    stream: bool
    request: Name
    prompt: TextDigest | None = None
    conversation: TextDigest | None = None
    images: Annotated[tuple[ImageDigest, ...], Meta(max_length=200)] = ()
    fields: Annotated[dict[Name, TextDigest], Meta(max_length=16)] = {}
    params: Facts = {}
    tokens: Count = 0
    limits: Annotated[tuple[Limit, ...], Meta(max_length=4)] = ()
    late: str | None = None
    late_ms: Count = 0


class Complete(Struct, frozen=True, forbid_unknown_fields=True, tag_field="do", tag="complete", omit_defaults=True):
    """How an admitted exchange ended. Reply: Receipt, with what its end left of `limits`. Asked twice, it is recorded once."""

    id: Name
    outcome: Outcome
    status: Count
    answer: TextDigest | None = None
    finish: Name | None = None
    prompt_tokens: Count | None = None
    answer_tokens: Count | None = None
    engine: Name | None = None
    ttft_ms: Count | None = None
    total_ms: Count = 0
    limits: Annotated[tuple[Limit, ...], Meta(max_length=4)] = ()


class Deny(Struct, frozen=True, forbid_unknown_fields=True, tag_field="do", tag="deny", omit_defaults=True):
    """A request that was refused before it became an exchange. Floods roll up: one record a minute and address.

    Reply: Receipt, with what is left of `limits`; nothing is used up.
    """

    reason: Name
    status: Count
    ip: Name
    peer: Name
    route: Name
    request: Name = ""
    key: Name | None = None
    tenant: Name | None = None
    limits: Annotated[tuple[Limit, ...], Meta(max_length=4)] = ()


class KeyEvent(Struct, frozen=True, forbid_unknown_fields=True, tag_field="do", tag="key", omit_defaults=True):
    """A key was made, changed or revoked; never the key itself."""

    event: Literal["created", "changed", "revoked"]
    key: Name
    by: Name
    facts: Facts = {}


class Integrity(Struct, frozen=True, forbid_unknown_fields=True, tag_field="do", tag="integrity", omit_defaults=True):
    """A file or an outbound connection is not what it should be."""

    what: Name
    by: Name
    old: Name = ""
    new: Name = ""
    facts: Facts = {}


class Boot(Struct, frozen=True, forbid_unknown_fields=True, tag_field="do", tag="boot", omit_defaults=True):
    """A process introduces itself; every record it asks for from then on points to this one."""

    room: Name
    facts: Facts = {}
    outbound: Annotated[tuple[Name, ...], Meta(max_length=192)] = ()  # 64 places of pictures, and engines


class LostRecords(Struct, frozen=True, forbid_unknown_fields=True, tag_field="do", tag="lost", omit_defaults=True):
    """Buffered mode: records that could not be kept. Becomes a `gap` record."""

    count: Count
    from_ms: Count
    to_ms: Count
    why: Name


class Abandon(Struct, frozen=True, forbid_unknown_fields=True, tag_field="do", tag="abandon"):
    """The answer to packet `of` came too late: if it was an admit, the exchange never happened."""

    of: int


class ReceiptAsk(Struct, frozen=True, forbid_unknown_fields=True, tag_field="do", tag="receipt"):
    """The proof of one record, for the key that made the request or for an auditor."""

    id: Name
    key: Name
    auditor: bool = False


class LimitsAsk(Struct, frozen=True, forbid_unknown_fields=True, tag_field="do", tag="limits"):
    """What is left of these limits now? Reply: LimitsLeft. Nothing is recorded and nothing is used up."""

    limits: Annotated[tuple[Limit, ...], Meta(max_length=4)]


class StatusAsk(Struct, frozen=True, forbid_unknown_fields=True, tag_field="do", tag="status"):
    """How the ledger is."""


class Prune(Struct, frozen=True, forbid_unknown_fields=True, tag_field="do", tag="prune"):
    """Delete the records (not the hashes) of sealed segments that ended before a time."""

    before_ms: Count
    by: Name


class Shred(Struct, frozen=True, forbid_unknown_fields=True, tag_field="do", tag="shred"):
    """Destroy the secret of an epoch. Reply: Receipt, when its record is signed and the secret is gone."""

    epoch: Annotated[str, Meta(max_length=16)]
    by: Name


Ask = (
    Admit
    | Complete
    | Deny
    | KeyEvent
    | Integrity
    | Boot
    | LostRecords
    | Abandon
    | ReceiptAsk
    | LimitsAsk
    | StatusAsk
    | StatisticsAsk
    | Prune
    | Shred
)


@dataclass(frozen=True, slots=True)
class LimitExceeded:
    """The limit that said no."""

    limit: str
    scope: str
    value: int
    remaining: int
    reset_ms: int


class LimitRemaining(Struct, frozen=True, omit_defaults=True):
    """One limit: what is left, and in how many milliseconds it is whole again."""

    limit: str
    scope: str
    value: int
    remaining: int
    reset_ms: int


class Receipt(Struct, frozen=True, tag_field="is", tag="receipt", omit_defaults=True):
    """The record is durable at `index` of the log `origin`. In mode off `index` is -1 and `leaf` empty."""

    id: str
    index: int
    leaf: bytes
    origin: str
    left: tuple[LimitRemaining, ...] = ()


class Refusal(Struct, frozen=True, tag_field="is", tag="refusal"):
    """A limit said no, and nothing was used up. `reset_ms`: when the same request would pass at the earliest."""

    id: str
    limit: str
    scope: str
    value: int
    remaining: int
    reset_ms: int
    left: tuple[LimitRemaining, ...] = ()


class LimitsLeft(Struct, frozen=True, tag_field="is", tag="limits_left"):
    """Answer to LimitsAsk."""

    left: tuple[LimitRemaining, ...]


class Fault(Struct, frozen=True, tag_field="is", tag="fault"):
    """Not understood or not possible; asking again will not help."""

    text: str


class ProofReply(Struct, frozen=True, tag_field="is", tag="proven"):
    """Answer to ReceiptAsk. `state` found: one C2SP tlog-proof for each of the exchange's records, oldest first.

    `key` is the log's public key as NAME+HASH+KEY: to compare with the one that was had before, not to be believed for itself.
    """

    state: Literal["found", "not_yet", "not_found", "not_yours"]
    proofs: tuple[str, ...] = ()
    retry_ms: int = 0
    key: str = ""


class Status(Struct, frozen=True, tag_field="is", tag="status"):
    """Sizes in records. `commit_ms` and `batch` are of the last commit; `lag_ms` is the age of the oldest unsigned."""

    origin: str
    mode: str
    boot: str
    size: int
    signed_size: int
    signed_ms: int
    commit_ms: float
    worst_commit_ms: float
    commits: int
    batch: int
    segment: int
    segment_bytes: int
    free_bytes: int
    open_exchanges: int
    connections: int
    denies_rolled_up: int
    since_ms: int
    full: bool = False  # its disk: nothing new is admitted


class Pruned(Struct, frozen=True, tag_field="is", tag="pruned"):
    segments: tuple[int, ...]
    records: int


Say = Receipt | Refusal | LimitsLeft | Fault | ProofReply | Status | LedgerStatistics | Pruned


class Question(Struct, frozen=True, forbid_unknown_fields=True):
    n: int
    ask: Ask


class Reply(Struct, frozen=True):
    n: int
    say: Say


encode = msgspec.json.Encoder().encode
decode_question = msgspec.json.Decoder(Question).decode
decode_answer = msgspec.json.Decoder(Reply).decode


def pack(lines: Iterable[bytes]) -> Iterator[bytes]:
    """The packets that hold these lines, in their order. A line over the limit gets a packet of its own."""
    packet: list[bytes] = []
    size = 0
    for line in lines:
        if packet and size + len(line) + 1 > MOST_PACKET_BYTES:
            yield b"\n".join(packet)
            packet, size = [], 0
        packet.append(line)
        size += len(line) + 1
    if packet:
        yield b"\n".join(packet)
