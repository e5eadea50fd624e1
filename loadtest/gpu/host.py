"""Lets the gateway run from a plain copy of this repository, on a machine where nothing can be installed."""

import os
import sys
import tomllib
from importlib import metadata
from pathlib import Path

_TOP = Path(__file__).parents[2]


def make_up_for_the_installation(place: Path) -> None:
    """Where the distribution is not installed, write what an installation would say of it, for this process and those to come: the
    gateway asks for its own version, vLLM for its plugin."""
    try:
        metadata.version("vitrine")
    except metadata.PackageNotFoundError:
        project = tomllib.loads((_TOP / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        folder = place / "site" / f"vitrine-{project['version']}.dist-info"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vitrine\nVersion: {project['version']}\n")
        points = [
            f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in named.items())
            for group, named in project["entry-points"].items()
        ]
        (folder / "entry_points.txt").write_text("\n".join(points))
        paths = [os.environ.get("PYTHONPATH", ""), str(place / "site")]
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
        sys.path.append(str(place / "site"))
