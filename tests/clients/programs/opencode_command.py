# mypy: ignore-errors
"""The command `opencode run`, with the tools and the long instructions that it always sends."""

import json
import os

from commands import DIRECT, run
from tasks import FOLDER, KEY, MODEL, URL, WHAT, WHO, perform

# configuration: opencode.json
CONFIG = """
{{
  "provider": {{"vitrine": {{
    "npm": "@ai-sdk/openai-compatible",
    "options": {{"baseURL": "{URL}", "apiKey": "{KEY}"}},
    "models": {{"{MODEL}": {{
      "attachment": true, "tool_call": true, "temperature": true,
      "modalities": {{"input": ["text", "image"], "output": ["text"]}}, "limit": {{"context": 32768, "output": 2048}}}}}}
  }}}}
}}
"""
# end

QUIET = {"OPENCODE_DISABLE_AUTOUPDATE": "1", "OPENCODE_DISABLE_MODELS_FETCH": "1", "OPENCODE_DISABLE_LSP_DOWNLOAD": "1"}
PICTURE = os.environ["VITRINE_PICTURE"]


def texts(*words):
    """The texts of the answer, as its events tell them."""
    out = run(["opencode", "run", "--format", "json", "--model", f"vitrine/{MODEL}", *words], **QUIET, **DIRECT)
    events = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    return "".join(event["part"]["text"] for event in events if event["type"] == "text")


def second_turn():
    texts(WHAT, "--file", PICTURE)
    return texts("圆形是什么颜色？", "--continue")


(FOLDER / "opencode.json").write_text(CONFIG.format(MODEL=MODEL, URL=URL, KEY=KEY))
perform(
    {
        "chat": lambda: texts(WHO),
        "image": lambda: texts(WHAT, "--file", PICTURE),
        "second turn": second_turn,
    }
)
