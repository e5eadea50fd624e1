"""docs/examples against the real engine: each notebook runs to its end and says what it should, each file answers."""

import json
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

from tests.support.process import TOP, clean_environment
from tests.support.stack import Stack

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

EXAMPLES = TOP / "docs" / "examples"
PICTURE = TOP / "docs" / "examples" / "pictures" / "circle-and-square.png"
RED_CIRCLE = re.compile("red circle on the left")
# What a notebook must have printed, in this order.
SAYS = {
    "1-first-question.ipynb": ["glm-4v", "red circle on the left", "左边", "红色"],
    "2-streaming.ipynb": ["first piece after", "tokens", "thought: ", "answer: .*2"],
    "3-several-images.ipynb": ["second picture", "first picture"],
    "4-boxes.ipynb": [r"<\|begin_of_box\|>\[\[\d+,\d+,\d+,\d+\]\]", r"\[\(\d+, \d+, \d+, \d+\)\]"],
    "5-tools.ipynb": ['tool_calls get_weather {"city": "Paris"}', "sunny"],
    "6-json.ipynb": ['"color": "red"', "red circle"],
    "7-load-test.ipynb": ["1 at once: median", "4 at once: median"],
    "8-verify-the-log.ipynb": ["c2sp.org/tlog-proof", "^0 ", "^10 ", "^0 .*OK: all"],
}
PICTURES = {"1-first-question.ipynb": 1, "3-several-images.ipynb": 2, "4-boxes.ipynb": 1, "7-load-test.ipynb": 1}


@pytest.fixture
def environment(stack: Stack) -> dict[str, str]:
    return clean_environment(
        {"VITRINE_API_URL": stack.url + "/v1", "VITRINE_API_KEY": stack.key, "VITRINE_HOME": str(stack.home)}
    )


def executed(name: str, environment: dict[str, str]) -> Any:
    """The notebook after a run in its own folder, by a kernel that knows nothing else."""
    import nbclient  # three seconds, for the process that needs it alone
    import nbformat

    notebook = nbformat.read(EXAMPLES / name, as_version=4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what Jupyter's own packages say of each other
        client = nbclient.NotebookClient(
            notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(EXAMPLES)}}
        )
        client.execute(env=environment)
    return notebook


def printed(notebook: Any) -> str:
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "\n".join(output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs)


@pytest.mark.parametrize(
    "name",
    [
        name if name == "1-first-question.ipynb" else pytest.param(name, marks=pytest.mark.long("a kernel for each"))
        for name in sorted(SAYS)
    ],
)
def test_a_notebook_runs_to_its_end_and_says_what_it_should(name: str, environment: dict[str, str]) -> None:
    notebook = executed(name, environment)
    text = printed(notebook)
    at = 0
    for wanted in SAYS[name]:
        found = re.compile(wanted, re.MULTILINE | re.DOTALL).search(text, at)
        assert found, f"{wanted!r} is not in\n{text[at:]}"
        at = found.end()
    shown = [
        output for cell in notebook.cells for output in cell.get("outputs", []) if "image/png" in output.get("data", {})
    ]
    assert len(shown) == PICTURES.get(name, 0)


@pytest.mark.parametrize("words", [["openai_python.py"], ["with_requests.py"], ["with_langchain.py"]])
def test_a_python_file_answers(words: list[str], environment: dict[str, str]) -> None:
    assert RED_CIRCLE.search(_run([sys.executable, str(EXAMPLES / words[0]), str(PICTURE)], environment))


def test_curl_answers(environment: dict[str, str]) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is missing (Debian: curl)")
    said = json.loads(_run(["sh", str(EXAMPLES / "with_curl.sh"), str(PICTURE)], environment))
    assert RED_CIRCLE.search(said["choices"][0]["message"]["content"])


def test_node_answers(environment: dict[str, str], tmp_path: Path) -> None:
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node or npm is missing (Debian: nodejs, npm)")
    folder = tmp_path / "node"
    shutil.copytree(EXAMPLES / "node", folder, ignore=shutil.ignore_patterns("node_modules"))
    words = ["npm", "ci", "--no-audit", "--no-fund"]
    made = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=200, check=False)
    if made.returncode != 0:
        pytest.skip("npm can't fetch OpenAI's client (no internet?)")
    assert RED_CIRCLE.search(_run(["node", str(folder / "openai_node.mjs"), str(PICTURE)], environment))


def test_a_key_that_is_not_good_is_said_in_words(environment: dict[str, str]) -> None:
    words = [sys.executable, str(EXAMPLES / "with_requests.py"), str(PICTURE)]
    wrong = {**environment, "VITRINE_API_KEY": "vt_wrong"}
    done = subprocess.run(words, env=wrong, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("401: the API key is not valid; ask ")


def _run(words: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
