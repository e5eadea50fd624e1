# mypy: ignore-errors
"""LiteLLM's proxy, asked by OpenAI's client."""

import os
import secrets
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from openai import OpenAI
from openai_tasks import tasks
from tasks import FOLDER, KEY, MODEL, URL, perform

# configuration: config.yaml
CONFIG = """
model_list:
  - model_name: glm-4v
    litellm_params:
      model: openai/{MODEL}
      api_base: {URL}
      api_key: {KEY}
"""
# end


def answers(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/liveliness", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def main():
    port = int(os.environ["VITRINE_FREE_PORT"])
    config = FOLDER / "config.yaml"
    config.write_text(CONFIG.format(MODEL=MODEL, URL=URL, KEY=KEY))
    master = "sk-" + secrets.token_hex(32)
    words = [Path(sys.executable).with_name("litellm"), "--config", config, "--host", "127.0.0.1", "--port", str(port)]
    with (FOLDER / "litellm.log").open("w") as log:
        proxy = subprocess.Popen(
            words, stdout=log, stderr=log, cwd=FOLDER, env={**os.environ, "LITELLM_MASTER_KEY": master}
        )
    try:
        end = time.monotonic() + 120
        while not answers(port):
            if proxy.poll() is not None or time.monotonic() > end:
                raise SystemExit((FOLDER / "litellm.log").read_text()[-1500:])
            time.sleep(0.1)
        perform(tasks(OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=master), "glm-4v"))
    finally:
        proxy.terminate()
        try:
            proxy.wait(20)
        except subprocess.TimeoutExpired:
            proxy.kill()


main()
