"""Names that a directory or a proxy gives: in one form, and only those that can be shown."""

from typing import Any

import pytest

from gateway.people import directory
from gateway.people.directory import Directory, DirectoryAway, DirectoryPlan
from gateway.people.person import accepted_name, person_id

PLAN = DirectoryPlan("ldaps://dc:636", False, "", "", "", "dc=x", "(uid={user})", "uid", "memberOf", "dc=x", "", 5.0)


def test_two_spellings_of_one_name_are_one_person() -> None:
    composed, apart = accepted_name("José"), accepted_name("Jose\u0301")
    assert composed == apart == "José"
    assert person_id(b"secret", composed) == person_id(b"secret", apart)


@pytest.mark.parametrize("name", ["", " ", "ann\x1b[2J", "ann\n", "ann\u202e", "ann\x9b", "a" * 257])
async def test_a_name_that_can_not_be_shown_is_no_name(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    assert accepted_name(name) is None

    async def said(_: bytes) -> dict[str, Any]:
        return {"is": "known", "name": name, "groups": []}

    monkeypatch.setattr(directory, "_ask", said)
    with pytest.raises(DirectoryAway) as caught:
        await Directory(PLAN).find("ann", "secret")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", ["ann", "LAB\\ann", "ann@example.org", "李雷", "a" * 256])
async def test_a_plain_one_is_taken(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    async def said(_: bytes) -> dict[str, Any]:
        return {"is": "known", "name": name, "groups": ["x"]}

    monkeypatch.setattr(directory, "_ask", said)
    found = await Directory(PLAN).find("ann", "secret")
    assert found is not None
    assert found.name == name
