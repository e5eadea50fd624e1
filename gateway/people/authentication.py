"""From a cookie, a password or a trusted proxy's word to a caller; decides, and answers nothing itself."""

import secrets
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from gateway.front.errors import Forbidden, OverLimit, Unauthenticated
from gateway.front.proxies import TrustedProxies
from gateway.front.sign_in_limiter import SignInLimiter
from gateway.keys.caller import Caller
from gateway.keys.store import KeyStore
from gateway.people import browser_origin
from gateway.people.browser_origin import HttpScope
from gateway.people.directory import Directory
from gateway.people.person import Group, Person, accepted_name, admitted, likeness, person_id
from gateway.people.sessions import Session, Sessions, csrf_of

PEOPLE = ".people"  # a tenant that nobody can be of; its secret makes people's ids
DIRECTORY, PROXY = "directory", "proxy"
PEOPLE_AT_ONCE = 100  # in one question to the directory
_SIGN_IN = "sign in again, or send the header `Authorization: Bearer vt_...`"


@dataclass(frozen=True)
class PeopleAuthentication:
    """One worker's. Three rate limiters: ``names`` for one name that is tried from many addresses, ``addresses`` for one
    address that tries many names, ``begun`` for a person who signs in again and again: each time is a record in the log.
    """

    sessions: Sessions
    keys: KeyStore
    directory: Directory | None
    groups: tuple[Group, ...]
    proxies: TrustedProxies
    addresses: SignInLimiter
    names: SignInLimiter
    begun: SignInLimiter
    name_header: bytes = b""
    groups_header: bytes = b""

    def caller(self, scope: HttpScope) -> Caller:
        """Who asks, by cookie. Raises Unauthenticated, or Forbidden for what another page may have made the browser ask."""
        token, session = self.session(scope)
        person = session.person
        fault = _forged(scope, token)
        if fault is not None:
            fault.who = person.person_id
            raise fault
        secret, allowance = self.keys.tenant(person.tenant)
        return Caller(person.person_id, person.name, person.tenant, person.scopes, secret, person.allowance, allowance)

    def session(self, scope: HttpScope) -> tuple[str, Session]:
        """The cookie's token and session, whatever page asks. Raises Unauthenticated."""
        token = self.token(scope)
        if token is None:
            raise Unauthenticated(f"nobody is signed in and no API key was sent; {_SIGN_IN}")
        session = self.sessions.find(token)
        # The proxy's word must still hold: another person at this browser, or one who left a group, is not this one.
        named = self._named(scope)
        other = named is not None and session is not None and self.id_of(named) != session.person.person_id
        if session is None or other or (session.via == PROXY and self._by_proxy(scope) != session.person):
            raise Unauthenticated(f"the session is over; {_SIGN_IN}", code="session_over")
        return token, session

    def token(self, scope: HttpScope) -> str | None:
        return browser_origin.token_in(scope, secure=browser_origin.is_secure(scope, self.proxies))

    def person_by_proxy(self, scope: HttpScope) -> Person | None:
        """Whom a trusted proxy names, if it names anybody. Raises Forbidden for one in no mapped group."""
        name = self._named(scope)
        if name is None:
            return None
        person = self._by_proxy(scope)
        if person is None:
            raise _no_group(self.id_of(name))
        return person

    async def person_by_password(self, ip: str, user: str, password: str) -> Person:
        """Who this is. Raises Unauthenticated, Forbidden (in no mapped group), OverLimit or DirectoryAway."""
        assert self.directory is not None
        # The record has the id of the name as directories compare it. The rate limiter takes more names for one.
        who, alike = self.id_of(unicodedata.normalize("NFKC", user)), self.id_of(likeness(user))
        self._count(ip, who, alike)
        found = None
        try:
            found = await self.directory.find(user, password)
        except BaseException:
            self._take_back(ip, alike)  # nothing was learned of the password
            raise
        if found is None:
            wrong = Unauthenticated("name or password is wrong; try again", code="wrong_password")
            wrong.who = who
            raise wrong
        self._take_back(ip, alike)
        person = self.admitted(found.name, found.groups)
        if person is None:
            raise _no_group(self.id_of(found.name))
        return person

    async def look_again(self) -> int:
        """Ask the directory about all who are signed in with it. Who is gone, or may do other things now, has no session any more.

        Gives how many people lost theirs. Raises DirectoryAway; nobody loses anything then.
        """
        assert self.directory is not None
        signed_in, ended = self.sessions.people(DIRECTORY), 0
        for at in range(0, len(signed_in), PEOPLE_AT_ONCE):
            some = signed_in[at : at + PEOPLE_AT_ONCE]
            groups = await self.directory.groups_now([person.name for person in some])
            for person in some:
                now = self.admitted(person.name, groups[person.name]) if person.name in groups else None
                if now != person:
                    ended += self.sessions.end_all_of(person, DIRECTORY) > 0
        return ended

    def may_begin(self, person: Person) -> None:
        """Count a session that is about to begin. Raises OverLimit where one person began too many."""
        wait_s = self.begun.count(person.person_id)
        if wait_s:
            refused = OverLimit(
                "you signed in too often within a minute; wait, and let the browser keep this site's cookie",
                code="too_many_sign_ins",
                retry_after_s=wait_s,
            )
            refused.who = person.person_id
            raise refused

    def id_of(self, name: str) -> str:
        return person_id(self._secret(), name)

    def admitted(self, name: str, groups: Iterable[str]) -> Person | None:
        return admitted(name, groups, self.groups, self._secret())

    def _secret(self) -> bytes:
        return self.keys.tenant(PEOPLE)[0]

    def _count(self, ip: str, who: str, alike: str) -> None:
        """Count a failure before the directory is asked, or a hundred at once would all be let through. Raises OverLimit."""
        wait_s = self.addresses.count(ip)
        if not wait_s:
            wait_s = self.names.count(alike)
            if not wait_s:
                return
            self.names.take_back(alike)
        self.addresses.take_back(ip)  # what is refused here learned nothing, and must not make the wait longer
        refused = OverLimit(
            "too many wrong passwords were sent; check name and password, and wait",
            code="too_many_failed_logins",
            retry_after_s=wait_s,
        )
        refused.who = who
        raise refused

    def _take_back(self, ip: str, alike: str) -> None:
        self.addresses.take_back(ip)
        self.names.take_back(alike)

    def _named(self, scope: HttpScope) -> str | None:
        if not self.name_header or not self.proxies.trusts(browser_origin.peer_of(scope)):
            return None
        name = _readable(browser_origin.header(scope, self.name_header))
        return None if name is None else accepted_name(name)

    def _by_proxy(self, scope: HttpScope) -> Person | None:
        name = self._named(scope)
        if name is None:
            return None
        groups = _readable(browser_origin.header(scope, self.groups_header)) or ""
        return self.admitted(name, (group for group in groups.split(",") if group.strip()))


def _forged(scope: HttpScope, token: str) -> Forbidden | None:
    """What shows that another page than ours may have made the browser ask."""
    if not browser_origin.is_our_page(scope):
        return Forbidden("another site's page asked; open this site's own page", code="cross_site")
    sent = browser_origin.header(scope, b"x-csrf-token") or ""
    if scope["method"] in browser_origin.SAFE_METHODS or secrets.compare_digest(sent.encode(), csrf_of(token).encode()):
        return None
    return Forbidden("a request with a session needs the header X-CSRF-Token; GET /auth/methods tells it", code="csrf")


def _readable(value: str | None) -> str | None:
    """A header's text, which proxies write in UTF-8."""
    try:
        return (value or "").encode("latin-1").decode() or None
    except UnicodeDecodeError:
        return None


def _no_group(who: str) -> Forbidden:
    error = Forbidden("this account is in no group that may use Vitrine; ask the operator", code="no_group")
    error.who = who
    return error
