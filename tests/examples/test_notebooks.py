"""What is checked in of the examples, without any engine; and JupyterLab as `make notebook` starts it."""

import json
import re
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.docs.readme import TOP
from tests.support.deadline import until
from tests.support.ports import free_port
from tests.support.process import Process

EXAMPLES = TOP / "docs" / "examples"


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.ipynb")), ids=lambda path: path.name)
def test_a_notebook_is_checked_in_without_outputs(path: Path) -> None:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    assert [cell for cell in cells if cell.get("outputs") or cell.get("execution_count")] == []
    assert "vt_" not in re.sub(r"vt_\.\.\.", "", path.read_text(encoding="utf-8"))


def test_every_example_is_listed() -> None:
    listed = set(re.findall(r"\]\(([^)]+)\)", (EXAMPLES / "README.md").read_text(encoding="utf-8")))
    kinds = (".ipynb", ".py", ".sh", ".mjs")
    there = {
        str(path.relative_to(EXAMPLES))
        for path in EXAMPLES.rglob("*")
        if path.suffix in kinds and "node_modules" not in path.parts and ".ipynb_checkpoints" not in path.parts
    }
    there.remove("jupyter_config.py")
    assert there == {name for name in listed if name.endswith(kinds)}
    assert len(there) == 13


@pytest.mark.slow("JupyterLab takes seconds to start")
def test_jupyterlab_starts_on_loopback_with_a_token_that_is_printed_once(tmp_path: Path) -> None:
    port = free_port()
    process = Process("notebook", f"NOTEBOOK={port}", env={"HOME": str(tmp_path)}, program=("make",))
    try:
        line = process.line_with("http://127.0.0.1:", within_s=90)
        url, _, token = line.rpartition("?token=")
        url = url[url.index("http") :].removesuffix("/lab")
        assert re.fullmatch(r"[0-9a-f]{48}", token)

        def status(path: str) -> int:
            try:
                with urllib.request.urlopen(url + path, timeout=10) as answer:
                    return int(answer.status)
            except urllib.error.HTTPError as error:
                return error.code
            except OSError:
                return 0

        until(lambda: status("/api/status") == 403, within_s=90, what="an answer\n" + process.output)
        assert status(f"/api/status?token={token}") == 200
        assert process.output.count(token) == 1
    finally:
        process.interrupt()
