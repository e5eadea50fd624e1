"""``/auth/...``: how a person can sign in, signing in and out; each recorded before it holds. Decides nothing: the desk does."""

import contextlib
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from gateway.body import Room, read_body
from gateway.errors import BadRequest, Forbidden, NotFound, OverLimit, Unauthenticated, Unavailable
from gateway.exchange import CLIENT_LEFT_STATUS
from gateway.house import House, address
from gateway.ledger.errors import LedgerUnavailable
from gateway.ledger.messages import Fact, KeyEvent
from gateway.metrics import Login
from gateway.people import origin
from gateway.people.desk import DIRECTORY, PROXY, Desk
from gateway.people.directory import DirectoryAway
from gateway.people.person import MOST_NAME_CHARS, Person
from gateway.people.sessions import Session, csrf_of
from gateway.presence import ClientLeft

MOST_BODY_BYTES = 16 << 10
NO_STORE = {"cache-control": "no-store"}


class Credentials(msgspec.Struct, forbid_unknown_fields=True):
    user: Annotated[str, msgspec.Meta(min_length=1, max_length=MOST_NAME_CHARS, pattern=r"^[^\x00-\x1f\x7f]+$")]
    password: Annotated[str, msgspec.Meta(min_length=1, max_length=1024, pattern=r"^[^\x00]+$")]


_credentials = msgspec.json.Decoder(Credentials).decode


def routes(app: FastAPI, house: House) -> None:
    """Add the three routes; where nobody can sign in by name they say so."""

    @app.get("/auth/methods", summary="How a person can sign in, and who is signed in")
    async def methods(request: Request) -> Response:
        desk = house.desk
        ways = ["key", *(["ldap"] if desk and desk.directory else [])]
        if desk is None or not origin.is_our_page(request.scope):
            return JSONResponse({"methods": ways, "signed_in": None}, headers=NO_STORE)
        with contextlib.suppress(Unauthenticated):
            token, session = desk.session(request.scope)
            return JSONResponse({"methods": ways, "signed_in": _shown(token, session)}, headers=NO_STORE)
        person = desk.person_by_proxy(request.scope)
        if person is None:
            return JSONResponse({"methods": ways, "signed_in": None}, headers=NO_STORE)
        return await _begin(house, desk, request, person, PROXY, methods=ways)

    @app.post("/auth/sign-in", summary="Sign in with a name and a password of the organisation's directory")
    async def sign_in(request: Request) -> Response:
        desk = house.desk
        if desk is None or desk.directory is None:
            raise NotFound("no directory is set up here; send the header `Authorization: Bearer vt_...`")
        _refuse_others(desk, request)
        try:
            with Room(house.bodies) as room:
                body = await read_body(
                    request.scope, request.receive, room, MOST_BODY_BYTES, house.settings.body_timeout_s
                )  # fmt: skip
        except ClientLeft:
            return Response(status_code=CLIENT_LEFT_STATUS)  # to nobody
        try:
            given = _credentials(body)
        except msgspec.DecodeError as error:
            # Never the text itself: it holds a password.
            raise BadRequest(
                f'send {{"user": ..., "password": ...}}, neither of them empty ({_where(error)})'
            ) from None
        try:
            person = await desk.person_by_password(address(request.scope), given.user, given.password)
        except OverLimit:
            house.metrics.not_let_in(Login.BRAKED)
            raise
        except Unauthenticated:
            house.metrics.not_let_in(Login.INVALID)
            raise
        except DirectoryAway as away:
            structlog.get_logger().error("the directory did not answer", reason=str(away))
            raise Unavailable(
                "the organisation's directory does not answer; try again soon, or use an API key",
                code="directory_away", retry_after_s=5,
            ) from None  # fmt: skip
        return await _begin(house, desk, request, person, DIRECTORY)

    @app.post("/auth/sign-out", summary="End the session")
    async def sign_out(request: Request) -> Response:
        desk = house.desk
        if desk is None:
            raise NotFound("nobody can sign in by name here; there is no session to end")
        desk.caller(request.scope)
        token, session = desk.session(request.scope)
        desk.sessions.end(token)
        with contextlib.suppress(LedgerUnavailable):  # it is over, whether that can be recorded or not
            await _record(house, request, "revoked", session)
        answer = JSONResponse({"signed_in": None}, headers=NO_STORE)
        _hand_over(desk, request, answer, "")
        return answer


def _refuse_others(desk: Desk, request: Request) -> None:
    """Another site must not sign a browser in, and nobody's password may cross a network readable."""
    kind = origin.header(request.scope, b"content-type") or ""
    if kind.partition(";")[0].strip().lower() != "application/json":
        raise BadRequest("send JSON, with Content-Type: application/json")
    if not origin.is_our_page(request.scope):
        raise Forbidden("another site's page asked; open this site's own page", code="cross_site")
    if not origin.is_secure(request.scope, desk.proxies) and not origin.is_local(address(request.scope)):
        raise Forbidden("passwords are not taken over plain HTTP; open this page with https://", code="not_secure")


async def _begin(house: House, desk: Desk, request: Request, person: Person, via: str, **more: Any) -> Response:
    """A new session, recorded before it holds; the one that the browser had before is over."""
    # Sessions that hold are never rolled up in the log as refusals are, so there may not be many of them.
    desk.may_begin(person)
    session = desk.sessions.draft(person, via)
    try:
        await _record(house, request, "created", session)
    except LedgerUnavailable:
        raise Unavailable(
            "the audit log does not answer, and nobody signs in without a record; try again soon",
            code="audit_unavailable", retry_after_s=1,
        ) from None  # fmt: skip
    before = desk.token(request.scope)
    if before is not None:
        desk.sessions.end(before)
    # Always a new token: one that somebody else planted in this browser must not become this person's.
    token = desk.sessions.begin(session)
    answer = JSONResponse({**more, "signed_in": _shown(token, session)}, headers=NO_STORE)
    _hand_over(desk, request, answer, token)
    return answer


def _hand_over(desk: Desk, request: Request, answer: Response, token: str) -> None:
    secure = origin.is_secure(request.scope, desk.proxies)
    answer.raw_headers.append((b"set-cookie", origin.set_cookie(token, secure=secure)))


def _shown(token: str, session: Session) -> dict[str, Any]:
    person = session.person
    until = datetime.fromtimestamp(session.ends_at_s, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return {
        "name": person.name, "id": person.person_id, "tenant": person.tenant, "scopes": sorted(person.scopes),
        "csrf": csrf_of(token), "until": until,
    }  # fmt: skip


async def _record(house: House, request: Request, event: Literal["created", "revoked"], session: Session) -> None:
    person = session.person
    facts: dict[str, Fact] = {
        "what": "session", "session": session.session_id, "name": person.name, "tenant": person.tenant,
        "scopes": " ".join(sorted(person.scopes)), "ip": address(request.scope), "ends_at_s": int(session.ends_at_s),
    }  # fmt: skip
    await house.ledger.key_event(KeyEvent(event, person.person_id, session.via, facts))


def _where(error: msgspec.DecodeError) -> str:
    text = str(error)
    return text.rpartition(" - at ")[2] if " - at " in text else "it is not JSON of that form"
