"""`make check` sees faults in the page's JavaScript: the same program and settings, given a module that has them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.process import TOP

STATIC = Path("gateway", "web", "static")
DENO = Path(sys.executable).parent / "deno"
TYPES = """import { nothing } from "./dom.js";
import { gone } from "./gone.js";

export const faults = [nothing, gone, undefinedName, "text".lenght];
"""
LINT = """export function faults() {
  const unused = 1;
  return 2;
  console.log("never");
}
"""


def deno(house: Path, *words: str) -> tuple[int, str]:
    """Run Deno as the Makefile does; its exit code, and all that it said."""
    environment = {**os.environ, "NO_COLOR": "1", "DENO_DIR": str(house / "cache"), "DENO_NO_UPDATE_CHECK": "1"}
    done = subprocess.run(
        [DENO, *words], cwd=house, env=environment, capture_output=True, text=True, timeout=100, check=False
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow("runs three checks of Deno over the whole page")
def test_faults_are_seen_and_only_these(tmp_path: Path) -> None:
    shutil.copy(TOP / "deno.json", tmp_path)
    shutil.copytree(TOP / STATIC, tmp_path / STATIC)
    shutil.copytree(TOP / "tests" / "page" / "types", tmp_path / "tests" / "page" / "types")
    (tmp_path / "docs" / "examples" / "node").mkdir(parents=True)
    broken = tmp_path / STATIC / "app" / "broken.js"

    broken.write_text(TYPES)
    code, said = deno(tmp_path, "check", "-q", str(STATIC))
    assert code == 1
    for fault in (
        "no exported member 'nothing'",
        "gone.js",
        "Cannot find name 'undefinedName'",
        "'lenght' does not exist",
    ):
        assert fault in said
    assert said.count("[ERROR]") == 4, said

    broken.write_text(LINT)
    code, said = deno(tmp_path, "lint", "-q")
    assert code == 1
    assert said.count("error[") == 2, said
    assert "error[no-unused-vars]" in said
    assert "error[no-unreachable]" in said

    broken.write_text("export  const spaces = 1;\n")
    code, said = deno(tmp_path, "fmt", "-q", "--check")
    assert code == 1
    assert "1 not formatted file" in said
