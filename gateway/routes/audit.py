"""``/v1/audit/...``: what an auditor, and a caller about their own exchanges, may know of the log; digests and lengths alone."""

from typing import Any

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from gateway.front.errors import BadRequest, NotFound, Unavailable
from gateway.keys.caller import Scope as KeyScope
from gateway.ledger.client.reader_client import ReaderAway
from gateway.ledger.errors import LedgerUnavailable
from gateway.ledger.format.record_id import is_identity
from gateway.ledger.readers.browse import MOST_ROWS, RecordQuery
from gateway.ledger.readers.reader_process import ReaderQuestion
from gateway.routes.services import Services

NO_STORE = {"cache-control": "no-store"}


def add(app: FastAPI, services: Services) -> None:
    """Add the three routes."""

    @app.get("/v1/audit/receipts/{record_id}", summary="The proof that an exchange is in the audit log")
    async def receipt(record_id: str, request: Request) -> Response:
        caller = services.authentication.caller(request.scope, KeyScope.INFERENCE, KeyScope.AUDIT)
        if not is_identity(record_id):
            # The ledger is not asked: it counts a message that it cannot read as trouble.
            raise NotFound("no exchange has such an id; X-Audit-Id of its answer has it")
        try:
            found = await services.ledger.receipt(record_id, caller.key_id, auditor=KeyScope.AUDIT in caller.scopes)
        except LedgerUnavailable:
            raise Unavailable("the audit log does not answer; try again soon", retry_after_s=1) from None
        if found.state == "not_yet":
            retry_s = max(1, found.retry_ms // 1000)
            return JSONResponse({"id": record_id, "state": "not_yet"}, 202, {"retry-after": str(retry_s)})
        if found.state != "found":
            # Another caller's record answers as one that does not exist.
            raise NotFound(f"no exchange of yours has the id {record_id!r}; X-Audit-Id of its answer has it")
        return JSONResponse({"id": record_id, "state": "found", "proofs": found.proofs, "key": found.key})

    @app.get("/v1/audit/records", summary="Records of the audit log, newest first, for a key with the scope audit")
    async def records(request: Request) -> Response:
        services.authentication.caller(request.scope, KeyScope.AUDIT)
        return JSONResponse(await _ask(services, ReaderQuestion(query=_query(request))), headers=NO_STORE)

    @app.get("/v1/audit/head", summary="The log's newest signed head, and whether all of it verifies")
    async def head(request: Request) -> Response:
        services.authentication.caller(request.scope, KeyScope.AUDIT)
        return JSONResponse(await _ask(services, ReaderQuestion(head=True)), headers=NO_STORE)


def _query(request: Request) -> RecordQuery:
    """The filters. Raises BadRequest naming the one that is wrong."""
    given: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name not in RecordQuery.__struct_fields__ or name in given:
            known = ", ".join(RecordQuery.__struct_fields__)
            raise BadRequest(f"the filter {name!r} is unknown or there twice; there are: {known}", param=name)
        given[name] = value
    try:
        return msgspec.convert({name: value for name, value in given.items() if value}, RecordQuery, strict=False)
    except msgspec.ValidationError as error:
        text, _, where = str(error).partition(" - at `$.")
        name = where.strip("`") or "before"
        raise BadRequest(
            f"the filter {name} can't be {given.get(name, '')[:80]!r}: {text[0].lower()}{text[1:]}; times are Unix"
            f" milliseconds, image is a SHA-256 in hexadecimal, limit is at most {MOST_ROWS}",
            param=name,
        ) from None


async def _ask(services: Services, question: ReaderQuestion) -> dict[str, Any]:
    """What the log's reader says, without its label; why a log can't be read is told to the auditor alone."""
    try:
        answer = await services.log_reader.ask(question)
    except ReaderAway as error:
        raise Unavailable(str(error), code="log_unreadable", retry_after_s=2) from None
    if answer.pop("is") == "fault":
        raise Unavailable(f"the log can't be read: {answer['text']}", code="log_unreadable", retry_after_s=5)
    return answer
