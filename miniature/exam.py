"""The held-out exam: questions with true answers on pictures that training never made, and how an answer is judged."""

import base64
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from PIL import Image

from miniature import (
    describing,
    exam_forms,
    exam_tools,
    facts,
    manners,
    pairs,
    questions,
    reading,
    smalltalk,
    tool_calls,
    unclear,
    unseen,
)
from miniature.conversation import Conversation, Turn, answered, messages
from miniature.drawing import load_fonts, paint_scene, paint_text
from miniature.scene import GRID, Scene, random_scene
from miniature.words import LANGUAGES, Language

SIDE_PX = 336
OTHER_SIZES_PX = ((224, 224), (448, 448), (640, 480), (480, 640), (800, 450))
FONT_SIZES_PX = (28, 36, 46, 60, 80)
ENOUGH_OVERLAP = 0.8
BOX = re.compile(r"^<\|begin_of_box\|>\[\[(\d+),(\d+),(\d+),(\d+)\]\]<\|end_of_box\|>$")
CALL = re.compile(r"<tool_call>([^\n<]+)\n?(.*?)\n?</tool_call>", re.DOTALL)
ARGUMENT = re.compile(r"<arg_key>(.*?)</arg_key>\s*<arg_value>(.*?)</arg_value>", re.DOTALL)
# What the figures must reach; the other skills are reported without a bar.
BARS = {
    "describe": 0.95,
    "question": 0.97,
    "compare": 0.97,
    "read": 0.95,
    "locate": 0.90,
    "tool": 0.98,
    "refuse": 0.95,
    "unclear": 0.95,
    "form": 1.0,
}


@dataclass
class ExamAnswer:
    """What came back: words, thought and calls as (name, arguments)."""

    text: str
    thought: str = ""
    calls: list[tuple[str, dict[str, str]]] = field(default_factory=list)


@dataclass
class ExamCase:
    """One question: pictures, chat messages as the API takes them, and the true answer."""

    skill: str
    pictures: list[Image.Image]
    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]]
    thinking: bool
    truth: Turn
    box: tuple[float, float, float, float] | None = None
    # A JSON schema that the server must hold the answer to; with it the truth is a JSON value.
    schema: dict[str, Any] | None = None
    # The last message is an answer that the client began.
    begun: bool = False

    def api_messages(self) -> list[dict[str, Any]]:
        """The messages with the pictures inside, as PNG data URLs; arguments of calls as JSON text."""
        pictures = iter(self.pictures)
        out: list[dict[str, Any]] = []
        for message in self.messages:
            copy = dict(message)
            if isinstance(copy["content"], list):
                copy["content"] = [
                    {"type": "image_url", "image_url": {"url": data_url(next(pictures))}} if p["type"] == "image" else p
                    for p in copy["content"]
                ]
            for number, call in enumerate(copy.get("tool_calls", [])):
                function = call["function"]
                text = json.dumps(function["arguments"], ensure_ascii=False)
                call = {"id": f"call_{number}", "type": "function", "function": function | {"arguments": text}}
                copy["tool_calls"] = [call]
            if copy["role"] == "tool":
                copy["tool_call_id"] = "call_0"
            out.append(copy)
        return out


def data_url(picture: Image.Image) -> str:
    """The picture as a PNG data URL."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def overlap(one: tuple[float, ...], two: tuple[float, ...]) -> float:
    """Intersection over union of two boxes x1, y1, x2, y2."""
    width = max(0.0, min(one[2], two[2]) - max(one[0], two[0]))
    height = max(0.0, min(one[3], two[3]) - max(one[1], two[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, two)]
    both = width * height
    return both / (areas[0] + areas[1] - both) if both else 0.0


def parse(raw: str) -> ExamAnswer:
    """Split a raw answer into thought, words and calls, as GLM's parsers do."""
    thought = ""
    if "</think>" in raw:
        thought, raw = raw.split("</think>", 1)
        thought = thought.split("<think>")[-1].strip()
    calls = [(name.strip(), dict(ARGUMENT.findall(body))) for name, body in CALL.findall(raw)]
    return ExamAnswer(CALL.sub("", raw).strip(), thought, calls)


def right(case: ExamCase, answer: ExamAnswer) -> bool:
    """Whether the answer is true."""
    if case.thinking and not answer.thought:
        return False
    if case.truth.calls and case.skill != "result":
        expected = [
            (call.name, {key: str(value) for key, value in call.arguments.items()}) for call in case.truth.calls
        ]
        return answer.calls == expected
    if answer.calls:
        return False
    if case.box is not None:
        found = BOX.match(answer.text)
        return found is not None and overlap(tuple(float(edge) for edge in found.groups()), case.box) >= ENOUGH_OVERLAP
    if case.schema is not None:
        return exam_forms.equal(answer.text, case.truth.answer)
    wanted = case.truth.conclusion if case.skill == "result" else case.truth.answer
    if case.begun:
        return answer.text == wanted.removeprefix(case.truth.lead).strip()
    return answer.text == wanted


def _case(
    skill: str, pictures: list[Image.Image], turn: Turn, random: Random, tools: Any = (), **more: Any
) -> ExamCase:
    turn.pictures = len(pictures)
    thinking = more.pop("thinking", False)
    conversation = Conversation([turn], more.pop("system", ""), list(tools), thinking)
    return ExamCase(skill, pictures, messages(conversation), list(tools), thinking, turn, **more)


def _true_box(scene: Scene, turn: Turn) -> tuple[float, float, float, float] | None:
    found = BOX.match(turn.answer)
    if not found:
        return None
    told = tuple(int(edge) for edge in found.groups())
    one = next(shape for shape in scene.shapes if scene.told_box(shape) == told)
    across, down = GRID / scene.width, GRID / scene.height
    return one.box[0] * across, one.box[1] * down, one.box[2] * across, one.box[3] * down


def cases(seed: int, each: int, fonts_folder: Path) -> Iterator[ExamCase]:
    """`each` cases of every skill, half of them in each language; the same for the same seed and fonts."""
    fonts = load_fonts(fonts_folder, FONT_SIZES_PX)
    if fonts_folder.is_dir():
        # PIL's own font was trained with.
        fonts = fonts[: -len(FONT_SIZES_PX)]
    size = (SIDE_PX, SIDE_PX)
    for number in range(each):
        random = Random(f"{seed} {number}")
        language = LANGUAGES[number % 2]
        scene = random_scene(random, *size, judged=True)
        picture = paint_scene(random, scene)
        yield _case("describe", [picture], describing.describe(random, scene, language), random)
        yield _case("question", [picture], questions.ask(random, scene, language), random)
        pointed = None
        while not pointed or not BOX.match(pointed.answer):
            scene = random_scene(random, *size, judged=True)
            pointed = questions.locate(random, scene, language)
        yield _case("locate", [paint_scene(random, scene)], pointed, random, box=_true_box(scene, pointed))
        text = reading.random_text(random, judged=True)
        yield _case("read", [paint_text(random, text, size, fonts)], reading.read(random, text, language), random)
        two = (random_scene(random, *size, judged=True), random_scene(random, *size, judged=True))
        yield _case("compare", [paint_scene(random, one) for one in two], pairs.ask(random, two, language), random)
        tools, turn = tool_calls.errand(random, language, judged=True)
        yield _case("tool", [], turn, random, tools, thinking=number % 4 > 1)
        yield _result_case(turn, tools)
        tools, turn = tool_calls.counting(random, language)
        yield _case("tool", [picture], turn, random, tools, thinking=number % 4 > 1)
        yield _case("refuse", [], smalltalk.off_topic(random, language, judged=True), random, thinking=number % 4 > 1)
        yield _case("identity", [], smalltalk.identity(random, language), random)
        scene = random_scene(random, *size, judged=True)
        picture = paint_scene(random, scene)
        yield _case("json", [picture], describing.in_json(random, scene, language), random)
        yield _case("thinking", [picture], questions.ask(random, scene, language), random, thinking=True)
        other = OTHER_SIZES_PX[number % len(OTHER_SIZES_PX)]
        scene = random_scene(random, *other, judged=True)
        yield _case(
            "describe, other sizes", [paint_scene(random, scene)], describing.describe(random, scene, language), random
        )
        yield from _later_cases(number, Random(f"{seed} {number} later"), language, fonts)


# How many tools stand before a question of the long prompts.
TOOLS = (0, 1, 3, 8, 15, 22, 28, 30)


def _later_cases(number: int, random: Random, language: Language, fonts: Any) -> Iterator[ExamCase]:
    """What was asked later than the rest, from a stream of chance of its own: the earlier cases stay the same."""
    size = (SIDE_PX, SIDE_PX)
    scene = random_scene(random, *size, judged=True)
    picture = paint_scene(random, scene)
    many = exam_tools.tools(TOOLS[number % len(TOOLS)])
    found = facts.fact(random, scene, (facts.whole, facts.colour_of, facts.kind_at, facts.place_of))
    plain = Turn(found.question[language], found.answer[language], skill="describe")
    system = random.choice(("", "You are a helpful assistant."))
    yield _case("many tools, none asked for", [picture], plain, random, many, system=system)
    wanted, turn = tool_calls.errand(random, language, judged=True)
    wanted = [one for one in wanted if one["function"]["name"] == turn.calls[0].name]
    others = [one for one in many if one["function"]["name"] != turn.calls[0].name]
    place = random.randint(0, len(others))
    tools = [*others[:place], *wanted, *others[place:]]
    yield _case("many tools, one asked for", [], turn, random, tools, thinking=number % 4 > 1)
    yield _unclear_case(number, random, language, fonts)
    system, turn = manners.instructed(random, scene)
    yield _case("instruction", [picture], turn, random, system=system)
    turn = manners.begun(random, scene)
    case = _case("continued", [picture], turn, random, begun=True)
    case.messages.append({"role": "assistant", "content": turn.lead})
    yield case
    yield _case("mixed", [picture], manners.mixed(random, scene), random)
    form = exam_forms.form(random, number, scene, language)
    yield _case("form", [picture], form.turn, random, schema=form.schema)


def _unclear_case(number: int, random: Random, language: Language, fonts: Any) -> ExamCase:
    picture = unseen.picture(number, random, (SIDE_PX, SIDE_PX), fonts)
    asks = (describing.DESCRIBE, reading.READ, reading.NUMBER)[number % 3]
    turn = Turn(random.choice(asks[language]), unclear.UNCLEAR[language], skill="unclear")
    return _case("unclear", [picture], turn, random)


def _result_case(turn: Turn, tools: list[dict[str, Any]]) -> ExamCase:
    conversation = Conversation([turn], "", tools)
    return ExamCase("result", [], messages(conversation) + answered(turn)[:-1], tools, False, turn)
