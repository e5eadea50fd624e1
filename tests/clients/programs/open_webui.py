# mypy: ignore-errors
"""Open WebUI's backend, asked as its page asks it: a chat is made, the answer is waited for in the chat."""

import json
import os
import subprocess
import sys
import time
import urllib.request
import uuid
from pathlib import Path

from tasks import DATA_URL, FIRST, FOLDER, KEY, SECOND, URL, WHAT, WHO, perform, seen

# configuration: open-webui.sh
COMMAND = """
export OPENAI_API_BASE_URL={URL} OPENAI_API_KEY={KEY}
export ENABLE_OLLAMA_API=false
open-webui serve --host 127.0.0.1 --port 3000
"""
# end

PORT = os.environ["VITRINE_FREE_PORT"]
SETTINGS = {
    "OPENAI_API_BASE_URL": URL,
    "OPENAI_API_KEY": KEY,
    "ENABLE_OLLAMA_API": "false",
    "DATA_DIR": str(FOLDER / "data"),
    "WEBUI_SECRET_KEY": uuid.uuid4().hex,
    # What it would fetch from elsewhere.
    "OFFLINE_MODE": "true",
    "RAG_EMBEDDING_ENGINE": "openai",
    "ENABLE_VERSION_UPDATE_CHECK": "false",
    "ANONYMIZED_TELEMETRY": "false",
    "SCARF_NO_ANALYTICS": "true",
}
FEATURES = {"image_generation": False, "code_interpreter": False, "web_search": False, "memory": False}
BACKGROUND = {"title_generation": True, "tags_generation": True, "follow_up_generation": True}
WHO_I_AM = {"name": "A", "email": "a@example.org", "password": uuid.uuid4().hex}
token = ""


def ask(path, body=None):
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{PORT}{path}", data, headers)
    with urllib.request.urlopen(request, timeout=120) as answer:
        return answer.read().decode()


def alive():
    try:
        return "true" in ask("/health")
    except OSError:
        return False


def page(question, picture=""):
    """A new chat, as the page makes it, with the tools, the title, the tags and the follow-ups that it asks for."""
    asked, told = str(uuid.uuid4()), str(uuid.uuid4())
    user = {
        "id": asked,
        "parentId": None,
        "childrenIds": [told],
        "role": "user",
        "content": question,
        "models": ["glm-4v"],
    }
    if picture:
        user["files"] = [{"type": "image", "url": picture}]
    said = {"id": told, "parentId": asked, "childrenIds": [], "role": "assistant", "content": "", "model": "glm-4v"}
    history = {"messages": {asked: user, told: said}, "currentId": told}
    chat = {"title": "New Chat", "models": ["glm-4v"], "params": {}, "history": history, "messages": [user, said]}
    chat_id = json.loads(ask("/api/v1/chats/new", {"chat": chat}))["id"]
    body = {
        "model": "glm-4v",
        "stream": True,
        "messages": [seen(question) if picture else {"role": "user", "content": question}],
        "params": {"temperature": 0},
        "features": FEATURES,
        "background_tasks": BACKGROUND,
        "session_id": uuid.uuid4().hex,
        "chat_id": chat_id,
        "id": told,
        "parent_id": asked,
        "user_message": user,
    }
    ask("/api/chat/completions", body)
    end = time.monotonic() + 120
    while time.monotonic() < end:
        message = json.loads(ask(f"/api/v1/chats/{chat_id}"))["chat"]["history"]["messages"][told]
        if message.get("error"):
            raise RuntimeError(str(message["error"]))
        if message.get("done"):
            return message["content"]
        time.sleep(0.2)
    raise TimeoutError("the chat has no answer")


def pieces(messages):
    """The pieces of an answer of its API, which other programs use."""
    body = {"model": "glm-4v", "stream": True, "temperature": 0, "messages": messages}
    events = [line[6:] for line in ask("/api/chat/completions", body).splitlines() if line.startswith("data: {")]
    choices = [choice for event in events for choice in json.loads(event).get("choices", [])]
    return [choice["delta"].get("content") or "" for choice in choices]


def second_turn():
    said = {"role": "assistant", "content": "".join(pieces([seen(FIRST)]))}
    return "".join(pieces([seen(FIRST), said, {"role": "user", "content": SECOND}]))


def main():
    global token
    words = [Path(sys.executable).with_name("open-webui"), "serve", "--host", "127.0.0.1", "--port", PORT]
    with (FOLDER / "open-webui.log").open("w") as log:
        server = subprocess.Popen(words, stdout=log, stderr=log, cwd=FOLDER, env={**os.environ, **SETTINGS})
    try:
        end = time.monotonic() + 200
        while not alive():
            if server.poll() is not None or time.monotonic() > end:
                raise SystemExit((FOLDER / "open-webui.log").read_text()[-1500:])
            time.sleep(0.3)
        token = json.loads(ask("/api/v1/auths/signup", WHO_I_AM))["token"]
        perform(
            {
                "chat": lambda: page(WHO),
                "image": lambda: page(WHAT, DATA_URL),
                "stream": lambda: pieces([seen(WHAT)]),
                "second turn": second_turn,
            }
        )
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()


main()
