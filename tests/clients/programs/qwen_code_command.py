# mypy: ignore-errors
"""The command `qwen`, with the tools and the long instructions that it always sends."""

import json
import os
import shutil

from commands import DIRECT, run
from tasks import FOLDER, KEY, MODEL, URL, WHAT, WHO, perform

# configuration: qwen.sh
COMMAND = """
export OPENAI_BASE_URL={URL} OPENAI_API_KEY={KEY} OPENAI_MODEL={MODEL}
qwen --auth-type openai  # with --bare for a model of a small context
"""
# end

WHERE = {"OPENAI_BASE_URL": URL, "OPENAI_API_KEY": KEY, "OPENAI_MODEL": MODEL, **DIRECT}


def answer(*words):
    return run(["qwen", "--bare", "--auth-type", "openai", *words], **WHERE)


(FOLDER / ".qwen").mkdir()
(FOLDER / ".qwen" / "settings.json").write_text(
    json.dumps({"privacy": {"usageStatisticsEnabled": False}, "general": {"disableAutoUpdate": True}})
)
shutil.copy(os.environ["VITRINE_PICTURE"], FOLDER / "picture.png")
perform({"chat": lambda: answer("-p", WHO), "image": lambda: answer("-p", f"@picture.png {WHAT}")})
