"""Who a person is here: a name, and what their groups allow; pure, knows no directory and no request."""

import hashlib
import hmac
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from gateway.keys.allowance import Allowance
from gateway.keys.caller import Scope

MOST_NAME_CHARS = 256
_SPACES = re.compile(r"\s*([,=])\s*")
_NO_MATTER = ("Mn", "Me", "Cf", "Cc")  # marks upon a letter, and signs that have no look


@dataclass(frozen=True)
class Group:
    """What members of a group may do."""

    group: str
    tenant: str
    scopes: frozenset[Scope]
    allowance: Allowance


@dataclass(frozen=True)
class Person:
    """``person_id`` stands where a key's id does: in limits and in the log."""

    person_id: str
    name: str
    tenant: str
    scopes: frozenset[Scope]
    allowance: Allowance


def accepted_name(name: str) -> str | None:
    """The name that a directory or a proxy gives, in Unicode's composed form; None for one that can't be shown or recorded."""
    name = unicodedata.normalize("NFC", name)
    return name if name.strip() and len(name) <= MOST_NAME_CHARS and name.isprintable() else None


def person_id(secret: bytes, name: str) -> str:
    """The same for every spelling that a directory takes for the same name; nobody without the secret can guess names with it."""
    return "user_" + hmac.digest(secret, _plain(name).encode(), hashlib.sha256)[:8].hex()


def likeness(name: str) -> str:
    """One text for all writings of a name that any directory may take for the same; for counting alone.

    RFC 4518 has directories compare after NFKC and without case; some ignore accents and signs without a width too.
    """
    text = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", name).casefold())
    return "".join(char for char in text if not char.isspace() and unicodedata.category(char) not in _NO_MATTER)


def admitted(name: str, groups: Iterable[str], mapping: Iterable[Group], secret: bytes) -> Person | None:
    """The person by the first entry of the mapping that names one of their groups; None if none does."""
    theirs = {_normal(group) for group in groups}
    for entry in mapping:
        if _normal(entry.group) in theirs:
            return Person(person_id(secret, name), name, entry.tenant, entry.scopes, entry.allowance)
    return None


def _plain(name: str) -> str:
    return " ".join(name.casefold().split())


def _normal(group: str) -> str:
    # As directories compare distinguished names; a plain name stays what it is.
    return _SPACES.sub(r"\1", group.strip()).casefold()
