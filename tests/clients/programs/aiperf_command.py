# mypy: ignore-errors
"""aiperf, which measures a server."""

import json
import os

from commands import DIRECT, run
from tasks import FOLDER, KEY, MODEL, URL, perform

# configuration: aiperf.sh
COMMAND = """
aiperf profile --url {URL} --api-key {KEY} --model {MODEL} --tokenizer /path/to/the/model \\
  --endpoint-type chat --streaming --concurrency 4 --request-count 100
"""
# end


CHECKPOINT = os.environ["VITRINE_CHECKPOINT"]


def measure(*more):
    out = FOLDER / f"out{len(more)}"
    words = ["aiperf", "profile", "--url", URL, "--api-key", KEY, "--model", MODEL, "--tokenizer", CHECKPOINT]
    words += ["--endpoint-type", "chat", "--streaming", "--concurrency", "1", "--request-count", "3", "--ui", "none"]
    words += ["--no-gpu-telemetry", "--no-server-metrics"]
    words += ["--synthetic-input-tokens-mean", "32", "--output-tokens-mean", "8", "--artifact-dir", out, *more]
    run(words, HF_HUB_OFFLINE="", **DIRECT)  # with it, it takes the folder for a name on the hub
    (path,) = out.rglob("profile_export_aiperf.json")
    result = json.loads(path.read_text())
    return {
        "completed": int(result["request_count"]["avg"]),
        "failed": int((result.get("error_request_count") or {"avg": 0})["avg"]),
    }


PICTURES = ["--image-width-mean", "256", "--image-height-mean", "256", "--image-format", "png"]
perform({"stream": measure, "image": lambda: measure(*PICTURES)})
