"""The real vLLM serves the prepared miniature of glm-4v-9b, without remote code, and sees the picture."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from serve.chatglm import prepare
from tests.serve.chatglm.published import IMAGE_TOKENS, fill_weights

START_DEADLINE_S = 400  # a start takes about 50 s on two quiet cores

QUESTIONS = """
import json, sys
from PIL import Image
from vllm import LLM, SamplingParams

def ask(engine, colour):
    picture = {"type": "image_pil", "image_pil": Image.new("RGB", (160, 90), colour)}
    messages = [{"role": "user", "content": [{"type": "text", "text": "What is in this picture?"}, picture]}]
    (answer,) = engine.chat(messages, SamplingParams(temperature=0, max_tokens=6, logprobs=1, ignore_eos=True))
    (spoken,) = answer.outputs
    return {
        "prompt": answer.prompt_token_ids,
        "tokens": list(spoken.token_ids),
        "logprobs": [choice[token].logprob for choice, token in zip(spoken.logprobs, spoken.token_ids)],
    }

if __name__ == "__main__":
    engine = LLM(sys.argv[1], enforce_eager=True, max_model_len=256, max_num_seqs=1)
    answers = {"red": ask(engine, "red"), "blue": ask(engine, "blue"), "red again": ask(engine, "red")}
    with open(sys.argv[2], "w") as report:
        json.dump(answers, report)
"""

ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # one process: nothing to leave behind
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_HOST_IP": "127.0.0.1",
    "GLOO_SOCKET_IFNAME": "lo",
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_PLUGINS": "",
}


@pytest.fixture
def answers(published: Path, tmp_path: Path) -> Any:
    pytest.importorskip("vllm", reason="needs an engine: make setup")
    fill_weights(published)
    prepare(published, tmp_path / "prepared")
    (tmp_path / "questions.py").write_text(QUESTIONS, encoding="utf-8")
    report, log = tmp_path / "answers.json", tmp_path / "engine.log"
    command = [sys.executable, str(tmp_path / "questions.py"), str(tmp_path / "prepared"), str(report)]
    with log.open("wb") as output:
        engine = subprocess.Popen(
            command, stdout=output, stderr=output, cwd=tmp_path, env=os.environ | ENVIRONMENT, start_new_session=True
        )
    try:
        code = engine.wait(START_DEADLINE_S)
    finally:
        if engine.poll() is None:
            os.killpg(engine.pid, signal.SIGKILL)
            engine.wait(10)
    assert code == 0, log.read_text(errors="replace")[-4000:]
    return json.loads(report.read_text(encoding="utf-8"))


@pytest.mark.engine
@pytest.mark.long("starts a second real engine")
@pytest.mark.timeout(START_DEADLINE_S + 60)
def test_the_prepared_model_answers_about_the_picture_that_it_was_shown(answers: Any, published: Path) -> None:
    config = json.loads((published / "config.json").read_text(encoding="utf-8"))
    prompt = answers["red"]["prompt"]
    begin, end = prompt.index(config["boi_token_id"]), prompt.index(config["eoi_token_id"])
    assert prompt[begin + 1 : end] == [config["pad_token_id"]] * IMAGE_TOKENS
    assert prompt[:2] == [config["pad_token_id"] + 2, config["pad_token_id"] + 4]  # [gMASK]<sop>, once
    assert len(answers["red"]["tokens"]) == 6
    assert answers["red"]["logprobs"] == pytest.approx(answers["red again"]["logprobs"], abs=1e-3)
    assert answers["red"]["logprobs"] != pytest.approx(answers["blue"]["logprobs"], abs=1e-2)
