"""Every route of the gateway: how it is asked, who may ask, what it answers."""

import functools
import tempfile
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from docs.generate.language import Language
from docs.generate.markdown import code, table
from gateway import wiring
from gateway.app import build
from gateway.engines.pool import Pool
from gateway.engines.shared_load import SharedLoad
from gateway.keys.store import KeyStore
from gateway.ledger.client.async_client import Deadlines, LedgerClient
from gateway.ledger.settings import LedgerSettings
from gateway.settings import Settings
from gateway.telemetry.counters import Metrics

# HEAD, which comes with every GET, and the wildcards of a mounted folder are not ways of asking of their own.
METHODS = ("POST", "GET", "PUT", "PATCH", "DELETE")
SESSION = "a session"
# Whose scopes open a route; all others are open to everybody. tests/gateway/routes/test_http.py asks each with each scope.
SCOPES: dict[str, tuple[str, ...]] = {
    "POST /v1/chat/completions": ("inference",),
    "GET /v1/models": ("inference",),
    "GET /v1/models/{model}": ("inference",),
    "GET /v1/audit/receipts/{record_id}": ("inference", "audit"),
    "GET /v1/audit/records": ("audit",),
    "GET /v1/audit/head": ("audit",),
    "POST /auth/sign-out": (SESSION,),
    "GET /metrics": ("metrics",),
    "GET /metrics/engines": ("metrics",),
    "GET /metrics/engines/{engine}": ("metrics",),
}
# What is no question of the API and so is not in its description.
FILES = {
    "GET /": "The page for people",
    "GET /audit": "The auditor's view",
    "GET /docs": "The API's description in a browser",
    "GET /openapi.json": "The API's description for programs (OpenAPI)",
    "GET /static": "Files of the page and of the auditor's view",
    "GET /swagger": "Files of the API's description",
}
_HEAD = ("route", "key", "what it answers")


def application(home: Path) -> FastAPI:
    """The gateway's application of one worker, which serves nothing and asks nobody."""
    keys = KeyStore(home / "keys.sqlite")
    try:
        ledger = LedgerClient(home / "ledger.sock", Deadlines(), buffered=False)
        settings = Settings(home=home)
        pool = Pool(wiring.pool_plan(settings, SharedLoad.alone()))
        whole = build(wiring.services(settings, LedgerSettings(), keys, pool, ledger, Metrics("0")))
    finally:
        keys.close()
    return next(part for part in vars(whole).values() if isinstance(part, FastAPI))


@functools.cache  # one application for both languages
def routes() -> dict[str, str]:
    """Every route, as `GET /path`, and its one-line description."""
    with tempfile.TemporaryDirectory() as folder:
        app = application(Path(folder))
        described = _described(app.openapi())
        found = {}
        for route in app.routes:
            methods = getattr(route, "methods", None) or {"GET"}
            for name in (f"{method} {getattr(route, 'path', '')}" for method in METHODS if method in methods):
                found[name] = described.get(name) or FILES[name]
    return dict(sorted(found.items(), key=lambda one: one[0] in FILES))


def _described(document: dict[str, Any]) -> dict[str, str]:
    return {
        f"{method.upper()} {path}": operation["summary"]
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }


def _who(language: Language, scopes: tuple[str, ...]) -> str:
    if scopes in ((), (SESSION,)):
        return language.say("words", scopes[0] if scopes else "none needed")
    either = f" {language.say('words', 'or')} "
    return f"{language.say('words', 'scope')} {either.join(map(code, scopes))}"


def sections(language: Language) -> dict[str, str]:
    """The one table."""
    rows = [
        [code(name), _who(language, SCOPES.get(name, ())), language.say("routes", text)]
        for name, text in routes().items()
    ]
    return {"routes": table([language.say("words", word) for word in _HEAD], rows)}
