# mypy: ignore-errors
"""`vllm bench serve`, which comes with the engine."""

import json
import os
import sys

from commands import run
from tasks import FOLDER, KEY, URL, perform

# configuration: bench.sh
COMMAND = """
export OPENAI_API_KEY={KEY}
vllm bench serve --backend openai-chat --base-url {ROOT} --endpoint /v1/chat/completions --model {MODEL} \\
  --tokenizer /path/to/the/model --dataset-name random --num-prompts 100
"""
# end

CHECKPOINT = os.environ["VITRINE_CHECKPOINT"]


# What `vllm bench serve` runs; the command itself looks for a package of the name vllm, and that for CPUs has another.
BENCH = """
from vllm.benchmarks.serve import add_cli_args, main
from vllm.utils.argparse_utils import FlexibleArgumentParser
parser = FlexibleArgumentParser()
add_cli_args(parser)
main(parser.parse_args())
"""


def bench(*words):
    base = [sys.executable, "-c", BENCH, "--backend", "openai-chat", "--base-url", URL.removesuffix("/v1")]
    base += ["--endpoint", "/v1/chat/completions", "--model", "glm-4v", "--tokenizer", CHECKPOINT, "--num-prompts", "3"]
    base += ["--max-concurrency", "1", "--save-result", "--result-dir", FOLDER, "--result-filename", "result.json"]
    run([*base, *words], OPENAI_API_KEY=KEY)
    result = json.loads((FOLDER / "result.json").read_text())
    return {"completed": result["completed"], "failed": result["failed"]}


SIZES = ["--random-input-len", "32", "--random-output-len", "8"]
PICTURES = ["--random-mm-base-items-per-request", "1", "--random-mm-bucket-config", "{(256, 256, 1): 1.0}"]
perform(
    {
        "stream": lambda: bench("--dataset-name", "random", *SIZES),
        "image": lambda: bench("--dataset-name", "random-mm", *SIZES, *PICTURES),
    }
)
