"""Writes the checkpoint's model card from measured figures: `python -m miniature.card FIGURES.json`."""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

CHECKPOINT = Path(__file__).parents[1] / "serve" / "checkpoint"
TEXT = Path(__file__).with_name("card.md")


def accuracy(figures: dict[str, Any]) -> str:
    """The figures as a Markdown table."""
    ways = [way for way in ("api", "transformers") if way in figures]
    titles = {"api": "vLLM 0.32, CPU", "transformers": "transformers, CPU, greedy"}
    # Shares of an earlier version, by skill, where the figures have them.
    before = figures.get("before", {})
    heads = [titles[way] for way in ways] + ["0.1.0"] * bool(before)
    lines = ["| skill | bar | " + " | ".join(heads) + " |", "| --- | --- |" + " --- |" * len(heads)]
    for skill, row in figures[ways[0]].items():
        cells = [f"{figures[way][skill]['right']}/{figures[way][skill]['of']}" for way in ways]
        shares = [f"{figures[way][skill]['share']:.3f}" for way in ways]
        told = " | ".join(f"{share} ({cell})" for share, cell in zip(shares, cells, strict=True))
        if before:
            told += f" | {before[skill]:.3f}" if skill in before else " | –"
        lines.append(f"| {skill} | {row['bar'] or '–'} | {told} |")
    return "\n".join(lines)


def digests(folder: Path) -> str:
    """Every file of the folder but the card, with its SHA-256, as a Markdown table."""
    files = sorted(file for file in folder.iterdir() if file.name != "README.md")
    rows = [f"| `{file.name}` | `{hashlib.sha256(file.read_bytes()).hexdigest()}` |" for file in files]
    return "\n".join(["| file | SHA-256 |", "| --- | --- |", *rows])


def main() -> None:
    """Write README.md into the checkpoint."""
    figures = json.loads(Path(sys.argv[1]).read_text())
    agreement = figures.get("agreement")
    told = "not measured" if agreement is None else f"{agreement:.4f}"
    text = TEXT.read_text().replace("{accuracy}", accuracy(figures)).replace("{agreement}", told)
    text = text.replace("{seed}", str(figures["seed"])).replace("{each}", str(figures["each"]))
    (CHECKPOINT / "README.md").write_text(text.replace("{digests}", digests(CHECKPOINT)))


if __name__ == "__main__":
    main()
