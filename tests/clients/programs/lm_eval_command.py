# mypy: ignore-errors
"""lm-eval, with a task of one question of our own: nothing is fetched."""

import json

from commands import run
from tasks import FOLDER, KEY, MODEL, URL, WHO, perform

# configuration: lm-eval.sh
COMMAND = """
export OPENAI_API_KEY={KEY}
lm_eval --model local-chat-completions --apply_chat_template --tasks gsm8k \\
  --model_args model={MODEL},base_url={URL}/chat/completions
"""
# end

TASK = """
task: vitrine
dataset_path: json
dataset_kwargs: {data_files: {test: %s}}
output_type: generate_until
test_split: test
doc_to_text: "{{question}}"
doc_to_target: "{{answer}}"
generation_kwargs: {until: ["###"], max_gen_toks: 64, temperature: 0}
metric_list: [{metric: exact_match}]
"""


def chat():
    (FOLDER / "questions.jsonl").write_text(json.dumps({"question": WHO, "answer": "?"}) + "\n")
    (FOLDER / "tasks").mkdir()
    (FOLDER / "tasks" / "vitrine.yaml").write_text(TASK % (FOLDER / "questions.jsonl"))
    words = [
        "lm_eval",
        "--model",
        "local-chat-completions",
        "--apply_chat_template",
        "--include_path",
        FOLDER / "tasks",
    ]
    words += ["--tasks", "vitrine", "--model_args", f"model={MODEL},base_url={URL}/chat/completions"]
    words += ["--log_samples", "--output_path", FOLDER / "out"]
    run(words, OPENAI_API_KEY=KEY)
    (samples,) = (FOLDER / "out").rglob("samples_*.jsonl")
    return json.loads(samples.read_text().splitlines()[0])["filtered_resps"][0]


perform({"chat": chat})
