"""Draws the example pictures and writes what is true of them: `python -m miniature.examples`; asks no model."""

import json
from pathlib import Path
from random import Random
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from miniature import describing, questions
from miniature.drawing import PAINTS
from miniature.scene import Scene, make_shape

FOLDER = Path(__file__).parents[1] / "docs" / "examples" / "pictures"
SIDE_PX = 336

# File name: shapes as (kind, colour, x, y, extent) in pixels.
SCENES: dict[str, tuple[tuple[str, str, float, float, float], ...]] = {
    "circle-and-square.png": (("circle", "red", 80, 168, 110), ("square", "blue", 256, 168, 110)),
    "three-shapes.png": (
        ("star", "yellow", 60, 60, 70),
        ("triangle", "green", 168, 168, 40),
        ("cross", "purple", 270, 270, 110),
    ),
    "one-small-circle.png": (("circle", "green", 168, 168, 40),),
    "two-circles.png": (("circle", "green", 60, 168, 110), ("circle", "orange", 276, 168, 70)),
}
TEXTS = {"number.png": "4271", "word.png": "HELLO"}


def scene_of(name: str) -> Scene:
    """The scene of an example."""
    size = (SIDE_PX, SIDE_PX)
    return Scene(*size, tuple(make_shape(kind, paint, x, y, w, w, size) for kind, paint, x, y, w in SCENES[name]))


def draw(name: str) -> Image.Image:
    """The picture of an example, always the same."""
    picture = Image.new("RGB", (SIDE_PX, SIDE_PX), "white")
    pen = ImageDraw.Draw(picture)
    if name in TEXTS:
        font = ImageFont.load_default(72)
        pen.text((SIDE_PX / 2, SIDE_PX / 2), TEXTS[name], font=font, fill="black", anchor="mm")
        return picture
    for shape in scene_of(name).shapes:
        paint = PAINTS[shape.colour][0]
        if shape.kind == "circle":
            pen.ellipse(shape.box, fill=paint)
        else:
            pen.polygon(shape.outline, fill=paint)
    return picture


def truths() -> list[dict[str, Any]]:
    """Questions about the examples and their true answers: pictures, question, answer."""
    out: list[dict[str, Any]] = []

    def add(pictures: list[str], question: str, answer: str) -> None:
        out.append({"pictures": pictures, "question": question, "answer": answer})

    for name in SCENES:
        scene = scene_of(name)
        add([name], "Describe the picture.", describing.description(scene, "en"))
        add([name], "描述这张图片。", describing.description(scene, "zh"))
        add([name], "Describe the picture as JSON.", describing.as_json(scene))
        add(
            [name],
            "How many shapes are there?",
            questions.counted(Random(0), "en", len(scene.shapes), "shapes", "shape", "").answer,
        )
    add(["circle-and-square.png"], "What color is the circle?", "The circle is red.")
    add(["circle-and-square.png"], "右边有什么？", "一个蓝色的大正方形。")
    add(["circle-and-square.png"], "Is there a green star?", "No, there is no green star.")
    box = ",".join(
        str(edge) for edge in scene_of("circle-and-square.png").told_box(scene_of("circle-and-square.png").shapes[0])
    )
    add(["circle-and-square.png"], "Locate the red circle.", f"<|begin_of_box|>[[{box}]]<|end_of_box|>")
    for name, text in TEXTS.items():
        add([name], "What does the text say?", text)
        add([name], "图中写了什么？", text)
    pair = ["one-small-circle.png", "two-circles.png"]
    add(pair, "Which picture has more circles?", "The second picture has more circles.")
    add(pair, "哪张图的图形更多？", "第二张图的图形更多。")
    return out


def main() -> None:
    """Write every picture and answers.json."""
    FOLDER.mkdir(exist_ok=True)
    for name in (*SCENES, *TEXTS):
        draw(name).save(FOLDER / name, optimize=True)
    (FOLDER / "answers.json").write_text(json.dumps(truths(), indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
