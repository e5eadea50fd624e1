"""Settings of signing in, a part of the gateway's, checked together. Reads one file: the password of the bind."""

import hashlib
import json
import ssl
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from gateway.people import directory
from gateway.people.person import Group

Seconds = Annotated[float, Field(gt=0)]


class BadPeople(Exception):
    """Settings of signing in that do not go together; the text names them and the way out."""


class PeopleSettings(BaseModel):
    """Every setting of signing in with its default; none of it is on unless ``ldap_url`` or ``auth_header`` is set."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    ldap_url: str = ""
    """The directory that people sign in with, `ldaps://HOST` or `ldap://HOST`; empty: nobody signs in by name
    (docs/signin.md)."""
    ldap_start_tls: bool = False
    """Begin TLS on an `ldap://` connection; without it `ldap://` is for this machine alone."""
    ldap_ca: Path | None = None
    """Authorities (PEM) that its certificate must come from; none: the machine's."""
    ldap_bind_dn: str = ""
    """As whom people are looked up; empty: anonymously."""
    ldap_bind_password_file: Path | None = None
    """A file with the password of `ldap_bind_dn`."""
    ldap_base: str = ""
    """Below which entry people are looked for."""
    ldap_filter: str = "(uid={user})"
    """How a person is found by the name that was typed."""
    ldap_name_attribute: str = "uid"
    """The attribute that names a person in limits and log."""
    ldap_group_attribute: str = "memberOf"
    """The attribute that names a person's groups."""
    ldap_group_base: str = ""
    """Below which entry groups are looked for; empty: where people are."""
    ldap_group_filter: str = ""
    """How the groups of one `{dn}` or `{user}` are found, where entries do not name them."""
    ldap_timeout_s: Seconds = 5.0
    """How long one sign-in may take the directory; then 503."""
    auth_header: str = ""
    """The header in which a trusted proxy names the person it signed in; from anybody else it means nothing."""
    auth_groups_header: str = ""
    """The header in which a trusted proxy names that person's groups, with commas between them."""
    session_idle_s: Seconds = 3600.0
    """A session ends when unused for so long."""
    session_longest_s: Seconds = 43200.0
    """A session ends after so long in any case."""
    sign_ins_per_min: Annotated[int, Field(gt=0)] = 20
    """New sessions of one person a minute; over it 429, so that nobody fills the log by signing in."""
    groups: tuple[Group, ...] = ()
    """What members of each group may do: `[[groups]]` in `vitrine.toml`, or JSON (docs/signin.md)."""

    @field_validator("groups", mode="before")
    @classmethod
    def _read_json(cls, value: Any) -> Any:
        # A table in vitrine.toml; in the environment the same as JSON.
        return json.loads(value) if isinstance(value, str) else value

    @property
    def people(self) -> bool:
        """Whether anybody can sign in by name."""
        return bool(self.ldap_url or self.auth_header)

    def people_rules(self) -> str:
        """Changes with whatever decides who somebody is and what they may do: their sessions are over then."""
        rules = self.model_dump_json(
            include={
                "ldap_url", "ldap_base", "ldap_filter", "ldap_name_attribute", "ldap_group_attribute", "ldap_group_base",
                "ldap_group_filter", "auth_header", "auth_groups_header", "groups",
            }
        )  # fmt: skip
        return hashlib.sha256(rules.encode()).hexdigest()

    @property
    def directory_outbound(self) -> tuple[str, ...]:
        return (directory.check_url(self.ldap_url, start_tls=self.ldap_start_tls),) if self.ldap_url else ()

    def check_people(self, trusted_proxies: str) -> None:
        """Raises BadPeople for settings that do not go together or can't work."""
        if self.people and not self.groups:
            raise BadPeople(
                "people can sign in but no group may do anything; add [[groups]] to vitrine.toml (docs/signin.md)"
            )
        if self.auth_header and not (trusted_proxies and self.auth_groups_header):
            raise BadPeople(
                "VITRINE_AUTH_HEADER needs VITRINE_TRUSTED_PROXIES, from whom alone it is believed,"
                " and VITRINE_AUTH_GROUPS_HEADER"
            )
        if self.ldap_url:
            self.directory_plan()

    def directory_plan(self) -> directory.Plan:
        """How the directory is asked. Raises BadPeople."""
        try:
            url = directory.check_url(self.ldap_url, start_tls=self.ldap_start_tls)
            directory.require_library()
        except directory.BadDirectory as error:
            raise BadPeople(f"VITRINE_LDAP_URL: {error}") from None
        if not self.ldap_base:
            raise BadPeople("VITRINE_LDAP_URL needs VITRINE_LDAP_BASE, as in ou=people,dc=example,dc=org")
        if "{user}" not in self.ldap_filter:
            raise BadPeople(f"VITRINE_LDAP_FILTER = {self.ldap_filter!r}: has no {{user}}, so everybody would be found")
        return directory.Plan(
            url, self.ldap_start_tls, self._authorities(), self.ldap_bind_dn, self._password(), self.ldap_base,
            self.ldap_filter, self.ldap_name_attribute, self.ldap_group_attribute, self.ldap_group_base or self.ldap_base,
            self.ldap_group_filter, self.ldap_timeout_s,
        )  # fmt: skip

    def _authorities(self) -> str:
        path = str(self.ldap_ca.absolute()) if self.ldap_ca else ssl.get_default_verify_paths().cafile
        try:
            if not path:
                raise OSError("this machine has no list of authorities")
            ssl.create_default_context(cafile=path)
        except (OSError, ssl.SSLError) as error:
            raise BadPeople(f"VITRINE_LDAP_CA = {path}: can't be read as certificates ({error})") from None
        return path

    def _password(self) -> str:
        if self.ldap_bind_password_file is None:
            return ""
        try:
            return self.ldap_bind_password_file.read_text(encoding="utf-8").rstrip("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise BadPeople(
                f"VITRINE_LDAP_BIND_PASSWORD_FILE = {self.ldap_bind_password_file}: can't be read ({error})"
            ) from None
