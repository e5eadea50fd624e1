"""Paths that are not routes: which spellings mean a route all the same, and which route does the job of the others; pure.

Only routes that a client's base URL leads to are forgiven. All others (the audit log, metrics, sign-in, pages) have one spelling
each, since a proxy in front may guard them by it.
"""

import re

_FORGIVEN = re.compile(r"/v1/(?:chat/completions|models(?:/[^/]+)?)|/(?:health|healthz|readyz|ping)")
_CHAT = "use POST /v1/chat/completions"
_MODELS = "use GET /v1/models"
_ONLY_CHAT = f"this API answers questions about pictures and text and has none of this; {_CHAT}"
_JOBS = {
    "/completions": f"{_CHAT} with the prompt as a user's message",
    "/responses": _CHAT,
    "/messages": f"{_CHAT}: this API is OpenAI's, not Anthropic's",
    "/chat/completions": "the base URL ends in /v1: use POST /v1/chat/completions",
    "/chat": _CHAT,
    "/generate": _CHAT,
    "/invocations": _CHAT,
    "/inference": _CHAT,
    "/api/chat": f"{_CHAT}: this API is OpenAI's, not Ollama's",
    "/api/generate": f"{_CHAT}: this API is OpenAI's, not Ollama's",
    "/api/tags": f"{_MODELS}: this API is OpenAI's, not Ollama's",
    "/api/show": f"{_MODELS}: this API is OpenAI's, not Ollama's",
    "/api/paas": "the base URL ends in /v1: use POST /v1/chat/completions",
    "/openai/deployments": "the base URL ends in /v1, and this API is OpenAI's, not Azure's: use POST /v1/chat/completions",
    "/engines": _MODELS,
    "/models": f"the base URL ends in /v1: {_MODELS}",
    "/tokenize": "no route counts tokens; `usage` in an answer of POST /v1/chat/completions has their number",
    "/detokenize": "no route counts tokens; `usage` in an answer of POST /v1/chat/completions has their number",
    "/messages/count_tokens": "no route counts tokens; `usage` in an answer of POST /v1/chat/completions has their number",
    "/version": "GET /openapi.json has the version",
    "/api/version": "GET /openapi.json has the version",
    "/live": "use GET /healthz",
    "/livez": "use GET /healthz",
    "/ready": "use GET /readyz",
    **dict.fromkeys(
        (
            "/embeddings",
            "/api/embed",
            "/api/embeddings",
            "/images",
            "/audio",
            "/videos",
            "/realtime",
            "/moderations",
            "/files",
            "/uploads",
            "/batches",
            "/fine_tuning",
            "/assistants",
            "/threads",
            "/vector_stores",
            "/conversations",
            "/rerank",
            "/score",
            "/pooling",
            "/classify",
            "/chat/completions/batch",
        ),
        _ONLY_CHAT,
    ),
}


def forgiven(path: str, raw_path: bytes) -> str:
    """The path as routes have it: without doubled slashes, a slash at its end, and `/v1` a second time. Others stay as they are."""
    if b"%" in raw_path:
        return path  # what is encoded is never rewritten: two readers could see two paths in it
    plain = _plain(path)
    return plain if _FORGIVEN.fullmatch(plain) else path


def advice(path: str) -> str:
    """Which route does this path's job, in words; empty if that is not known."""
    plain = _plain(path.lower())
    if plain.startswith("/v1/"):
        plain = plain.removeprefix("/v1")
        if plain in ("/models", "/chat/completions"):
            return ""  # the right path in capitals, or encoded
    while plain:
        if plain in _JOBS:
            return _JOBS[plain]
        plain = plain.rpartition("/")[0]
    return ""


def _plain(path: str) -> str:
    plain = re.sub("//+", "/", path)
    while plain.startswith("/v1/v1/"):
        plain = plain.removeprefix("/v1")
    return plain.removesuffix("/") if len(plain) > 1 else plain
