"""Settings that can never be meant are refused in one sentence with the way out; what may be meant is taken."""

import json
import os
from pathlib import Path

import pytest

from gateway.settings import BadSettings, Settings, read
from gateway.wiring import check

PROXY = {"VITRINE_TRUSTED_PROXIES": "10.0.0.5", "VITRINE_GROUPS": '[{"group": "vision", "tenant": "lab"}]'}
NAMED = {**PROXY, "VITRINE_AUTH_HEADER": "X-Remote-User", "VITRINE_AUTH_GROUPS_HEADER": "X-Remote-Groups"}
FLOATS = sorted(name for name, field in Settings.model_fields.items() if isinstance(field.default, float))


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("VITRINE_")]:
        monkeypatch.delenv(name)


def start(monkeypatch: pytest.MonkeyPatch, settings: dict[str, str]) -> Settings:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    found = read()
    check(found)
    return found


def group(**changed: object) -> dict[str, str]:
    return {"VITRINE_GROUPS": json.dumps([{"group": "vision", "tenant": "lab", **changed}])}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        *(
            ({"VITRINE_TRUSTED_PROXIES": text}, "trusts everybody")
            for text in (
                "0.0.0.0/0",
                "::/0",
                "10.0.0.1, 0.0.0.0/0",
                "0.0.0.0/1,128.0.0.0/1",
                "::ffff:0:0/96",
                "::/1",
                "2000::/3",
            )
        ),
        ({"VITRINE_TRUSTED_PROXIES": "proxy.example.org"}, "does not appear to be"),
        *(
            ({**NAMED, "VITRINE_AUTH_HEADER": name}, "has a meaning of its own")
            for name in (
                "Authorization",
                "cookie",
                "Host",
                "Content-Type",
                "X-Forwarded-For",
                "X-Forwarded-Proto",
                "Sec-Fetch-Site",
                "Origin",
                "X-CSRF-Token",
                "Connection",
                "Transfer-Encoding",
                "Proxy-Authorization",
                "TE",
                "X-Request-Id",
                "Accept",
            )
        ),
        ({**NAMED, "VITRINE_AUTH_GROUPS_HEADER": "Authorization"}, "has a meaning of its own"),
        *(
            ({**NAMED, "VITRINE_AUTH_HEADER": name}, "is no header's name")
            for name in ("X Remote", "X-User:", "用户", "X-User\n")
        ),
        ({**NAMED, "VITRINE_AUTH_GROUPS_HEADER": "x-remote-user"}, "is VITRINE_AUTH_HEADER too"),
        ({"VITRINE_PORT": "8081"}, "can't have the same port"),
        ({"VITRINE_PORT": "9000", "VITRINE_METRICS_PORT": "9000"}, "can't have the same port"),
        (
            {"VITRINE_PORT": "9000", "VITRINE_METRICS_PORT": "9000", "VITRINE_HOST": "0.0.0.0"},
            "can't have the same port",
        ),
        (
            {"VITRINE_PORT": "9000", "VITRINE_METRICS_PORT": "9000", "VITRINE_METRICS_HOST": "localhost"},
            "can't have the same port",
        ),
        ({"VITRINE_MAX_BODY_BYTES": "2000", "VITRINE_MAX_BODIES_BYTES": "1000"}, "more than max_bodies_bytes (1000)"),
        (
            {"VITRINE_MAX_CONNECTIONS": "10", "VITRINE_MAX_CONNECTIONS_PER_ADDRESS": "11"},
            "more than max_connections (10)",
        ),
        ({"VITRINE_QUEUE_PER_KEY": "2000"}, "more than queue_exchanges (1024)"),
        ({"VITRINE_SILENCE_TIMEOUT_S": "60", "VITRINE_ANSWER_TIMEOUT_S": "30"}, "more than answer_timeout_s (30.0)"),
        ({"VITRINE_SESSION_IDLE_S": "90000"}, "more than session_longest_s (43200.0)"),
        ({"VITRINE_SESSION_LONGEST_S": "1e12"}, "more than a hundred years"),
        ({"VITRINE_KEY_TOKENS_PER_DAY": "10000000000000000"}, "write at most 1000000000000000"),
        ({"VITRINE_ENGINES": "gpu-1=http://a:1,gpu-1=http://b:1"}, "is there twice"),
        ({"VITRINE_ENGINES": "gpu-1=http://a\x1bb:1"}, "characters that have no look"),
        ({"VITRINE_ENGINES": "gpu-1=http://a:0"}, "no engine's address"),
        ({"VITRINE_ENGINES": ".people=http://a:1"}, "no engine's name"),
        *((group(tenant=name), "VITRINE_GROUPS") for name in (".people", "", "a\x1b[2J", "a\n", "a" * 64)),
        *((group(group=name), "VITRINE_GROUPS") for name in ("", " ", "a\x1b[2J", "a\u202eb")),
        (group(tokens_per_day=10**16), "VITRINE_GROUPS"),
    ],
)
def test_what_can_never_be_meant_is_refused(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], said: str
) -> None:
    with pytest.raises(BadSettings) as caught:
        start(monkeypatch, settings)
    assert said in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("value", ["inf", "-inf", "nan", "1e999"])
@pytest.mark.parametrize("name", FLOATS)
def test_no_time_is_without_end(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    with pytest.raises(BadSettings, match=f"VITRINE_{name.upper()} = "):
        start(monkeypatch, {f"VITRINE_{name.upper()}": value})


def test_there_are_such_settings() -> None:
    assert len(FLOATS) > 15


@pytest.mark.parametrize("name", ["host", "metrics_host"])
def test_an_empty_address_does_not_open_all_of_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    (tmp_path / "vitrine.toml").write_text(f'{name} = ""\n')
    with pytest.raises(BadSettings, match=f"{name} in vitrine.toml"):
        start(monkeypatch, {})


@pytest.mark.parametrize(
    "settings",
    [
        {},
        NAMED,
        {**NAMED, "VITRINE_AUTH_HEADER": "X-Forwarded-User", "VITRINE_AUTH_GROUPS_HEADER": "X-Forwarded-Groups"},
        {**NAMED, "VITRINE_AUTH_HEADER": "Remote_User"},
        {"VITRINE_TRUSTED_PROXIES": "10.0.0.0/8, 0.0.0.0/1, fd00::/8, unix"},
        {"VITRINE_PORT": "0", "VITRINE_METRICS_PORT": "0"},
        {"VITRINE_PORT": "9000", "VITRINE_METRICS_PORT": "9000", "VITRINE_HOST": "10.0.0.1"},
        # Only one of two was set: the other's default may be more, and has no effect then.
        {"VITRINE_MAX_BODIES_BYTES": "1000"},
        {"VITRINE_QUEUE_EXCHANGES": "1"},
        {"VITRINE_SESSION_LONGEST_S": "60"},
        {"VITRINE_ANSWER_TIMEOUT_S": "60"},
        {"VITRINE_MAX_CONNECTIONS": "10"},
        group(group="cn=视觉,ou=groups"),
    ],
)
def test_what_may_be_meant_is_taken(monkeypatch: pytest.MonkeyPatch, settings: dict[str, str]) -> None:
    start(monkeypatch, settings)
