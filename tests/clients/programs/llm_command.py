# mypy: ignore-errors
"""The command `llm`, run as people run it."""

import json
import os
import subprocess

from tasks import FILL, FIRST, FOLDER, KEY, MODEL, SCHEMA, SECOND, URL, WEATHER, WHAT, WHO, perform

# configuration: extra-openai-models.yaml, in the folder of `llm logs path`
CONFIG = """
- model_id: vitrine
  model_name: {MODEL}
  api_base: {URL}
  api_key_name: vitrine
  vision: true
  supports_tools: true
  supports_schema: true
"""
# end

PICTURE = os.environ["VITRINE_PICTURE"]
HOME = FOLDER / "llm"
CITIES = FOLDER / "cities.json"
FUNCTION = f"""
import json
def get_weather(city: str) -> str:
    "The weather in a city."
    open({str(CITIES)!r}, "w").write(json.dumps([city]))
    return json.dumps({{"city": city, "weather": "sunny", "temperature": 21}})
"""


def pieces(*words):
    """What the command writes, as it comes."""
    words = ["llm", *words, "-m", "vitrine", "-o", "temperature", "0", "-o", "max_tokens", "128"]
    environment = {**os.environ, "LLM_USER_PATH": str(HOME)}
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, bufsize=0) as process:
        while piece := process.stdout.read(4096):
            yield piece.decode()
    if process.returncode:
        raise RuntimeError(f"llm ended with {process.returncode}; its words are above")


def llm(*words):
    return "".join(pieces(*words))


def second_turn():
    llm(FIRST, "-a", PICTURE)
    return llm("-c", SECOND)


def tools():
    text = llm(WEATHER, "--functions", FUNCTION, "--no-stream")
    return {"cities": json.loads(CITIES.read_text()), "text": text}


HOME.mkdir(parents=True)
(HOME / "extra-openai-models.yaml").write_text(CONFIG.format(MODEL=MODEL, URL=URL))
(HOME / "keys.json").write_text(json.dumps({"vitrine": KEY}))
perform(
    {
        "chat": lambda: llm(WHO, "--no-stream"),
        "image": lambda: llm(WHAT, "-a", PICTURE, "--no-stream"),
        "stream": lambda: list(pieces(WHAT, "-a", PICTURE)),
        "second turn": second_turn,
        "tools": tools,
        "schema": lambda: json.loads(llm(FILL, "-a", PICTURE, "--schema", json.dumps(SCHEMA), "--no-stream")),
    }
)
