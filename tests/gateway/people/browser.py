"""What a browser does with a session, over a real socket: keeps the cookie, sends it back, says which page asks."""

from collections.abc import Mapping
from typing import Any

from tests.support.gateway import Answer, Gateway, question
from tests.support.slapd import BASE

GROUPS = [
    {"group": f"cn=auditors,ou=groups,{BASE}", "tenant": "house", "scopes": ["audit"]},
    {"group": f"CN=Vision, OU=groups, {BASE}", "tenant": "lab", "requests_per_min": 1000},
]


class Browser:
    """One browser on the gateway's own page. ``headers`` are sent with every request."""

    def __init__(self, gateway: Gateway, **headers: str) -> None:
        self.gateway = gateway
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self.cookie: str | None = None
        self.set_cookie = ""
        self.csrf: str | None = None

    def ask(self, method: str, path: str, body: Any = None, headers: Mapping[str, str | None] | None = None) -> Answer:
        sent: dict[str, str | None] = {"Sec-Fetch-Site": "same-origin", **self.headers}
        if body is not None:
            sent["Content-Type"] = "application/json"
        if self.cookie:
            sent["Cookie"] = self.cookie
        if self.csrf and method not in ("GET", "HEAD"):
            sent["X-CSRF-Token"] = self.csrf
        sent |= headers or {}
        given = {name: value for name, value in sent.items() if value is not None}
        answer = self.gateway.request(method, path, body=body, headers=given)
        if "set-cookie" in answer.headers:
            self.set_cookie = answer.headers["set-cookie"]
            self.cookie = self.set_cookie.partition(";")[0]
        return answer

    def sign_in(self, user: str, password: str, **headers: str | None) -> Answer:
        answer = self.ask("POST", "/auth/sign-in", {"user": user, "password": password}, headers)
        if answer.status == 200:
            self.csrf = answer.json["signed_in"]["csrf"]
        return answer

    def chat(self, **headers: str | None) -> Answer:
        return self.ask("POST", "/v1/chat/completions", question(), headers)

    def methods(self) -> Any:
        return self.ask("GET", "/auth/methods").json
