"""docs/clients.md is cut out of the drivers that were run, and names only addresses, settings and files that are there."""

import re

import pytest

from docs.generate.routes import routes
from gateway.settings import Settings as GatewaySettings
from tests.clients import page
from tests.clients.catalogue import CLIENTS, TASKS, Client
from tests.clients.environments import PROGRAMS, lock_of, pinned
from tests.clients.trial import Result
from tests.docs.readme import BASE_URL, TOP

TEXT = page.PAGE.read_text(encoding="utf-8")


def test_the_page_is_what_is_written_from_its_rows_and_the_drivers() -> None:
    assert page.written(CLIENTS, page.rows()) == TEXT, "run `python -m tests.clients --page`"


def test_every_client_has_a_row_and_no_row_is_of_another() -> None:
    assert set(page.rows()) == {client.name for client in CLIENTS}


def test_no_client_fails_at_a_task() -> None:
    assert [line for line in page.rows().values() if "✗" in line] == []


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_a_configuration_is_short_and_names_the_address_of_the_api(client: Client) -> None:
    block = page.configuration(client)
    assert 0 < len(block.code.splitlines()) <= 12
    addresses = re.findall(r"http://[^\s\"'`]+", block.code)
    assert addresses, block.code
    for address in addresses:
        assert address.startswith(BASE_URL)
        assert any(address.removeprefix(BASE_URL) in route for route in routes()), address


def test_every_setting_and_every_file_that_the_page_names_is_there() -> None:
    settings = {f"VITRINE_{name.upper()}" for name in GatewaySettings.model_fields} | {"VITRINE_API_KEY"}
    assert set(re.findall(r"VITRINE_[A-Z_]+", TEXT)) <= settings
    assert [name for name in re.findall(r"`((?:docs|tests|locks)/[\w./-]+)`", TEXT) if not (TOP / name).exists()] == []


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_a_client_has_a_driver_and_a_lock_without_a_host(client: Client) -> None:
    assert (PROGRAMS / client.program).is_file()
    assert set(client.cannot) <= set(TASKS)
    if client.environment != "java":
        assert pinned(client.environment, client.package)
        assert not re.search(r"https?://(?!github|opencollective|paulmillr)", _pins(client.environment))


def _pins(environment: str) -> str:
    """The lines of a lock that say what is fetched."""
    lines = lock_of(environment).read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines if '"url"' not in line)


def test_a_row_tells_what_works_what_does_not_and_why_the_rest_was_not_asked_for() -> None:
    client = Client("name", "program.py", "lock", "package", {"tools": "it has none"})
    done = {task: Result("", "") for task in TASKS if task != "tools"}
    row = page.row(client, "1.0", "2026-11-30", {**done, "image": Result("", "500")})
    assert row == "| name | 1.0 | 2026-11-30 | ✓ | ✗ | ✓ | ✓ | – | ✓ | tools: it has none |"
