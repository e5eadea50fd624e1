"""``/auth/...``: how a person can sign in, signing in and out; each recorded before it holds. Decides nothing itself."""

import contextlib
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from gateway.front.bodies import MemoryShare, read_body
from gateway.front.disconnects import ClientLeft
from gateway.front.errors import BadRequest, Forbidden, NotFound, OverLimit, Unauthenticated, Unavailable
from gateway.front.request_state import state_of
from gateway.ledger.client.messages import Fact, KeyEvent
from gateway.ledger.errors import LedgerUnavailable
from gateway.people import browser_origin
from gateway.people.authentication import DIRECTORY, PROXY, PeopleAuthentication
from gateway.people.directory import DirectoryAway
from gateway.people.person import MOST_NAME_CHARS, Person
from gateway.people.sessions import Session, csrf_of
from gateway.relay.exchange import CLIENT_LEFT_STATUS
from gateway.routes.services import Services
from gateway.telemetry.catalogue import SignInFailure

MOST_BODY_BYTES = 16 << 10
NO_STORE = {"cache-control": "no-store"}


class Credentials(msgspec.Struct, forbid_unknown_fields=True):
    user: Annotated[str, msgspec.Meta(min_length=1, max_length=MOST_NAME_CHARS, pattern=r"^[^\x00-\x1f\x7f]+$")]
    password: Annotated[str, msgspec.Meta(min_length=1, max_length=1024, pattern=r"^[^\x00]+$")]


_credentials = msgspec.json.Decoder(Credentials).decode


def understood(body: bytes) -> Credentials:
    """A name and a password. Raises BadRequest, never with the text itself: it holds a password."""
    try:
        return _credentials(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f'send {{"user": ..., "password": ...}}, neither of them empty ({_where(error)})') from None


def add(app: FastAPI, services: Services) -> None:
    """Add the three routes; where nobody can sign in by name they say so."""

    @app.get("/auth/methods", summary="How a person can sign in, and who is signed in")
    async def methods(request: Request) -> Response:
        people = services.people
        ways = ["key", *(["ldap"] if people and people.directory else [])]
        if people is None or not browser_origin.is_our_page(request.scope):
            return JSONResponse({"methods": ways, "signed_in": None}, headers=NO_STORE)
        with contextlib.suppress(Unauthenticated):
            token, session = people.session(request.scope)
            return JSONResponse({"methods": ways, "signed_in": _shown(token, session)}, headers=NO_STORE)
        person = people.person_by_proxy(request.scope)
        if person is None:
            return JSONResponse({"methods": ways, "signed_in": None}, headers=NO_STORE)
        return await _begin(services, people, request, person, PROXY, methods=ways)

    @app.post("/auth/sign-in", summary="Sign in with a name and a password of the organisation's directory")
    async def sign_in(request: Request) -> Response:
        people = services.people
        if people is None or people.directory is None:
            raise NotFound("no directory is set up here; send the header `Authorization: Bearer vt_...`")
        _refuse_others(people, request)
        try:
            with MemoryShare(services.memory) as share:
                body = await read_body(request.scope, request.receive, share, MOST_BODY_BYTES, services.body_timeout_s)
        except ClientLeft:
            return Response(status_code=CLIENT_LEFT_STATUS)  # to nobody
        given = understood(body)
        try:
            person = await people.person_by_password(state_of(request.scope).client_ip, given.user, given.password)
        except OverLimit:
            services.metrics.not_let_in(SignInFailure.BRAKED)
            raise
        except Unauthenticated:
            services.metrics.not_let_in(SignInFailure.INVALID)
            raise
        except DirectoryAway as away:
            structlog.get_logger().error("the directory did not answer", reason=str(away))
            raise Unavailable(
                "the organisation's directory does not answer; try again soon, or use an API key",
                code="directory_away",
                retry_after_s=5,
            ) from None
        return await _begin(services, people, request, person, DIRECTORY)

    @app.post("/auth/sign-out", summary="End the session")
    async def sign_out(request: Request) -> Response:
        people = services.people
        if people is None:
            raise NotFound("nobody can sign in by name here; there is no session to end")
        people.caller(request.scope)
        token, session = people.session(request.scope)
        people.sessions.end(token)
        with contextlib.suppress(LedgerUnavailable):  # it is over, whether that can be recorded or not
            await _record(services, request, "revoked", session)
        answer = JSONResponse({"signed_in": None}, headers=NO_STORE)
        _hand_over(people, request, answer, "")
        return answer


def _refuse_others(people: PeopleAuthentication, request: Request) -> None:
    """Another site must not sign a browser in, and nobody's password may cross a network readable."""
    kind = browser_origin.header(request.scope, b"content-type") or ""
    if kind.partition(";")[0].strip().lower() != "application/json":
        raise BadRequest("send JSON, with Content-Type: application/json")
    if not browser_origin.is_our_page(request.scope):
        raise Forbidden("another site's page asked; open this site's own page", code="cross_site")
    if not browser_origin.is_secure(request.scope, people.proxies) and not browser_origin.is_local(
        state_of(request.scope).client_ip
    ):
        raise Forbidden("passwords are not taken over plain HTTP; open this page with https://", code="not_secure")


async def _begin(
    services: Services, people: PeopleAuthentication, request: Request, person: Person, via: str, **more: Any
) -> Response:
    """A new session, recorded before it holds; the one that the browser had before is over."""
    # Sessions that hold are never rolled up in the log as refusals are, so there may not be many of them.
    people.may_begin(person)
    session = people.sessions.draft(person, via)
    try:
        await _record(services, request, "created", session)
    except LedgerUnavailable:
        raise Unavailable(
            "the audit log does not answer, and nobody signs in without a record; try again soon",
            code="audit_unavailable",
            retry_after_s=1,
        ) from None
    before = people.token(request.scope)
    if before is not None:
        people.sessions.end(before)
    # Always a new token: one that somebody else planted in this browser must not become this person's.
    token = people.sessions.begin(session)
    answer = JSONResponse({**more, "signed_in": _shown(token, session)}, headers=NO_STORE)
    _hand_over(people, request, answer, token)
    return answer


def _hand_over(people: PeopleAuthentication, request: Request, answer: Response, token: str) -> None:
    secure = browser_origin.is_secure(request.scope, people.proxies)
    answer.raw_headers.append((b"set-cookie", browser_origin.set_cookie(token, secure=secure)))


def _shown(token: str, session: Session) -> dict[str, Any]:
    person = session.person
    until = datetime.fromtimestamp(session.ends_at_s, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return {
        "name": person.name,
        "id": person.person_id,
        "tenant": person.tenant,
        "scopes": sorted(person.scopes),
        "csrf": csrf_of(token),
        "until": until,
    }


async def _record(services: Services, request: Request, event: Literal["created", "revoked"], session: Session) -> None:
    person = session.person
    facts: dict[str, Fact] = {
        "what": "session",
        "session": session.session_id,
        "name": person.name,
        "tenant": person.tenant,
        "scopes": " ".join(sorted(person.scopes)),
        "ip": state_of(request.scope).client_ip,
        "ends_at_s": int(session.ends_at_s),
    }
    await services.ledger.key_event(KeyEvent(event, person.person_id, session.via, facts))


def _where(error: Exception) -> str:
    text = str(error)
    return text.rpartition(" - at ")[2] if " - at " in text else "it is not JSON of that form"
