"""One question to the ledger and its answer, without an event loop and with one deadline for all of it; never asks twice."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import msgspec

from gateway.ledger.client.messages import Ask, Fault, Question, Say, decode_answer, encode
from gateway.ledger.errors import LedgerRefused, LedgerUnavailable

_MOST_BYTES = 1 << 20


def ask_ledger(path: Path, question: Ask, within_s: float) -> Say:
    """The answer. Raises LedgerUnavailable, or LedgerRefused where the ledger does not know such a question."""
    give_up_s = time.monotonic() + within_s
    ours = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        ours.settimeout(within_s)
        ours.connect(str(path))
        ours.send(encode(Question(1, question)))
        ours.settimeout(max(0.001, give_up_s - time.monotonic()))
        packet = ours.recv(_MOST_BYTES)
        if not packet:
            raise LedgerUnavailable(f"the ledger on {path} closed the connection")
        said = decode_answer(packet).say
    except (OSError, msgspec.DecodeError) as error:
        raise LedgerUnavailable(f"the ledger on {path} gave no answer: {error}") from None
    finally:
        ours.close()
    if isinstance(said, Fault):
        raise LedgerRefused(said.text)
    return said
