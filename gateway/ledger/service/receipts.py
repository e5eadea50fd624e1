"""Proofs of single records for those who may have them. Reads the log; never says that another's record exists."""

from __future__ import annotations

from gateway.ledger.client.messages import ProofReply, ReceiptAsk
from gateway.ledger.format.merkle import prove_inclusion
from gateway.ledger.format.note import Verifier
from gateway.ledger.format.proof import InclusionProof, format_proof
from gateway.ledger.format.record import decode
from gateway.ledger.format.record_id import is_identity
from gateway.ledger.readers.reader import LogReader
from gateway.ledger.storage.layout import LogLayout

RETRY_MS = 1000


class Receipts:
    """One thread owns it. The log is opened for reading at the first question."""

    def __init__(self, layout: LogLayout, verifier: Verifier) -> None:
        self._layout = layout
        self._verifier = verifier
        self._reader: LogReader | None = None

    def answer(self, ask: ReceiptAsk, indexes: list[int] | None, size: int, checkpoint: str) -> ProofReply:
        """Proofs under `checkpoint`, a head over `size` records.

        `indexes` are the exchange's records, if they are known and the asker may have them. Whose record it is gets checked
        before whether a head covers it.
        """
        if not is_identity(ask.id):
            return ProofReply("not_found")
        reader = self._reader_over(size)
        if indexes is None:
            records = reader.find(ask.id)
        else:
            covered = [index for index in indexes if index < size]
            if not covered:
                return ProofReply("not_yet", retry_ms=RETRY_MS)
            segments = {reader.segment_of(index).number for index in covered}
            within = [segment for segment in reader.segments if segment.number in segments]
            records = [found for segment in within for found in reader.find_within(segment, ask.id)]
        if not records:
            return ProofReply("not_found")
        if not ask.auditor and decode(records[0][1]).get("key") != ask.key:
            return ProofReply("not_yours")
        proofs = [
            format_proof(
                InclusionProof(index, tuple(prove_inclusion(index, size, reader.tree().node)), checkpoint, line)
            )
            for index, line in records
            if index < size
        ]
        if not proofs:
            return ProofReply("not_yet", retry_ms=RETRY_MS)
        return ProofReply("found", tuple(proofs), key=self._verifier.format())

    def _reader_over(self, size: int) -> LogReader:
        if self._reader is None:
            self._reader = LogReader(self._layout, self._verifier)
        elif self._reader.size < size:
            self._reader.refresh()
        return self._reader
