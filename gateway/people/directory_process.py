"""One question to an LDAP directory, in a process of its own: is this name and password somebody's, and in which groups?

Reads one JSON object from standard input, writes one, ends. Alone because the library waits inside C, holding Python's lock and
sometimes without end: who asked can kill this process, and stops for nobody (docs/decisions/0055). Imports nothing of ours.
"""

import contextlib
import importlib
import json
import secrets
import sys
from typing import Any

bonsai: Any = None  # installed only where it is used
with contextlib.suppress(ImportError):
    bonsai = importlib.import_module("bonsai")

MOST_GROUPS = 10_000


def main() -> None:
    asked = json.load(sys.stdin)
    json.dump(answer(asked), sys.stdout)


def answer(asked: dict[str, Any]) -> dict[str, Any]:
    """``{"is": "known", "name", "groups"}``, or ``wrong``, or ``away`` / ``missing`` with a text.

    Asked for ``names`` instead of a user with a password: ``{"is": "people", "found"}``, the groups of each that is there.
    """
    if bonsai is None:
        return {"is": "missing", "text": "the Python package bonsai is not installed"}
    try:
        return _look_up(asked) if "names" in asked else _ask(asked)
    except bonsai.LDAPError as error:
        return {"is": "away", "text": f"{type(error).__name__}: {error}"}


def _ask(asked: dict[str, Any]) -> dict[str, Any]:
    with _service(asked) as service:
        entry = _only(_search(service, asked, asked["base"], _filled(asked["filter"], user=asked["user"])))
    # Somebody who is not there is asked for too, and groups are read last: the steps taken must not tell who exists.
    dn = str(entry.dn) if entry is not None else f"cn={secrets.token_hex(8)},{asked['base']}"
    if not asked["password"]:
        return {"is": "wrong"}  # an empty password is an anonymous bind, which succeeds
    try:
        with _client(asked, dn, asked["password"]).connect(timeout=asked["timeout_s"]):
            pass
    except (bonsai.ConnectionError, bonsai.TimeoutError, bonsai.ClosedConnection):
        raise
    except bonsai.LDAPError:
        return {"is": "wrong"}  # whatever a directory says of a locked or expired account
    if entry is None:
        return {"is": "wrong"}
    names = entry.get(asked["name_attribute"], [])
    if len(names) != 1:
        return {"is": "away", "text": f"entries have no single {asked['name_attribute']} (VITRINE_LDAP_NAME_ATTRIBUTE)"}
    name = str(names[0])
    with _service(asked) as service:
        return {"is": "known", "name": name, "groups": _groups(service, asked, entry, name)}


def _look_up(asked: dict[str, Any]) -> dict[str, Any]:
    """Who of these people can still sign in, and their groups now. What they typed is not known any more: any value will do."""
    anybody = asked["filter"].replace("{user}", "*")
    found: dict[str, list[str]] = {}
    with _service(asked) as service:
        for name in asked["names"]:
            wanted = f"(&({asked['name_attribute']}={escaped(name)}){anybody})"
            entry = _only(_search(service, asked, asked["base"], wanted))
            if entry is not None:
                found[name] = _groups(service, asked, entry, name)
    return {"is": "people", "found": found}


def _groups(service: Any, asked: dict[str, Any], entry: Any, name: str) -> list[str]:
    groups = [str(value) for value in entry.get(asked["group_attribute"], [])][:MOST_GROUPS]
    if asked["group_filter"]:
        # The entry's own name, not what was typed: that may be a mail address which its owner chose.
        wanted = _filled(asked["group_filter"], dn=str(entry.dn), user=name)
        groups += [str(found.dn) for found in _search(service, asked, asked["group_base"], wanted)]
    return groups


def _service(asked: dict[str, Any]) -> Any:
    return _client(asked, asked["bind_dn"], asked["bind_password"]).connect(timeout=asked["timeout_s"])


def _client(asked: dict[str, Any], dn: str, password: str) -> "bonsai.LDAPClient":
    client = bonsai.LDAPClient(asked["url"], asked["start_tls"])
    client.set_cert_policy("demand")
    client.set_ca_cert(asked["ca"])
    # A referral would send the password to whom the answer names.
    client.set_ignore_referrals(True)
    client.set_server_chase_referrals(False)
    if dn:
        client.set_credentials("SIMPLE", dn, password)
    return client


def _search(connection: Any, asked: dict[str, Any], base: str, wanted: str) -> list[Any]:
    attributes = [asked["name_attribute"], asked["group_attribute"]]
    found = connection.search(
        base, bonsai.LDAPSearchScope.SUBTREE, wanted, attributes, timeout=asked["timeout_s"], sizelimit=MOST_GROUPS
    )
    return list(found)


def _only(found: list[Any]) -> Any:
    """Of two people with one name neither is meant."""
    return found[0] if len(found) == 1 else None


def _filled(pattern: str, **values: str) -> str:
    for name, value in values.items():
        pattern = pattern.replace("{" + name + "}", escaped(value))
    return pattern


def escaped(value: str) -> str:
    r"""A value inside a filter (RFC 4515): all but plain letters and digits escaped. The library's own writes NUL as ``\0``."""
    return "".join(chr(byte) if chr(byte).isalnum() and byte < 128 else f"\\{byte:02x}" for byte in value.encode())


if __name__ == "__main__":
    main()
