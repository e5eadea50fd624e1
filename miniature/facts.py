"""Facts about a scene as one question in both languages, with the true answer whole and short; paints nothing."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from miniature import describing, reading
from miniature.scene import Scene, Shape
from miniature.words import COLOURS, SHAPES, Language, a, colour, place, plural, shape

Both = dict[Language, str]


@dataclass(frozen=True)
class Fact:
    """A question, its answer in a sentence and in a word, each in both languages; `value` is what the word says."""

    question: Both
    answer: Both
    short: Both
    value: str | int | bool
    about: Shape | None = None


def _pick(random: Random, english: str, chinese: str, en: str, zh: str) -> Both:
    return {
        "en": random.choice(english.split(" | ")).format(en),
        "zh": random.choice(chinese.split(" | ")).format(zh),
    }


def single(scene: Scene) -> list[Shape]:
    """The shapes whose kind occurs once."""
    kinds = [one.kind for one in scene.shapes]
    return [one for one in scene.shapes if kinds.count(one.kind) == 1]


def colour_of(random: Random, scene: Scene) -> Fact | None:
    """The colour of a shape that is the only one of its kind."""
    if not (found := single(scene)):
        return None
    one = random.choice(found)
    zh = shape(one.kind, "zh")
    return Fact(
        _pick(
            random,
            "What color is the {}? | What colour is the {}? | Which color is the {}?",
            "{}是什么颜色？ | {}是什么颜色的？ | 图中的{}是什么颜色？",
            one.kind,
            zh,
        ),
        {"en": f"The {one.kind} is {one.colour}.", "zh": f"{zh}是{colour(one.colour, 'zh')}的。"},
        {"en": one.colour, "zh": colour(one.colour, "zh")},
        one.colour,
        one,
    )


def kind_at(random: Random, scene: Scene) -> Fact:
    """The kind of the shape at a place."""
    one = random.choice(scene.shapes)
    en, zh = place(one.place, "en"), place(one.place, "zh")
    return Fact(
        _pick(
            random,
            "What shape is {}? | Which shape is {}?",
            "{}是什么形状？ | {}的图形是什么形状？ | {}是什么图形？",
            en,
            zh,
        ),
        {"en": f"The shape {en} is {a(one.kind)}.", "zh": f"{zh}的图形是{shape(one.kind, 'zh')}。"},
        {"en": one.kind, "zh": shape(one.kind, "zh")},
        one.kind,
        one,
    )


def count(random: Random, scene: Scene) -> Fact:
    """How many shapes there are, all or of one kind."""
    if random.random() < 0.5:
        many, en, one_en, zh = len(scene.shapes), "shapes", "shape", "图形"
    else:
        kind = random.choice([*(one.kind for one in scene.shapes), random.choice(SHAPES)])
        many = sum(one.kind == kind for one in scene.shapes)
        en, one_en, zh = plural(kind), kind, shape(kind, "zh")
    told = f"There is 1 {one_en}." if many == 1 else f"There are {many} {en}."
    return Fact(
        _pick(
            random,
            "How many {} are there? | How many {} are in the picture? | Count the {}.",
            "有几个{}？ | 图中有几个{}？ | 一共有几个{}？",
            en,
            zh,
        ),
        {"en": told, "zh": f"图中有{many}个{zh}。"},
        {"en": str(many), "zh": str(many)},
        many,
    )


def place_of(random: Random, scene: Scene) -> Fact | None:
    """The place of a shape that is the only one of its kind."""
    if not (found := single(scene)):
        return None
    one = random.choice(found)
    en, zh = one.kind, shape(one.kind, "zh")
    return Fact(
        _pick(random, "Where is the {}? | Where's the {}?", "{}在哪里？ | {}在哪儿？ | {}在什么地方？", en, zh),
        {"en": f"The {en} is {place(one.place, 'en')}.", "zh": f"{zh}在{place(one.place, 'zh')}。"},
        {"en": one.place, "zh": place(one.place, "zh")},
        one.place,
        one,
    )


def is_there(random: Random, scene: Scene) -> Fact:
    """Whether a kind in a colour is there."""
    one = random.choice(scene.shapes)
    kind, paint = one.kind, one.colour
    if random.random() < 0.55:
        kind, paint = random.choice(((kind, random.choice(COLOURS)), (random.choice(SHAPES), paint)))
    yes = any(other.kind == kind and other.colour == paint for other in scene.shapes)
    en, zh = describing.named(paint, kind, "en"), describing.named(paint, kind, "zh")
    return Fact(
        _pick(
            random,
            "Is there {}? | Do you see {}? | Is there {} in the picture?",
            "有{}吗？ | 图中有{}吗？ | 图里有没有{}？",
            a(en),
            zh,
        ),
        {
            "en": f"Yes, there is {a(en)}." if yes else f"No, there is no {en}.",
            "zh": f"有，图中有{zh}。" if yes else f"没有，图中没有{zh}。",
        },
        {"en": "Yes" if yes else "No", "zh": "有" if yes else "没有"},
        yes,
    )


def whole(random: Random, scene: Scene) -> Fact:
    """The whole picture."""
    told: Both = {"en": describing.description(scene, "en"), "zh": describing.description(scene, "zh")}
    asked: Both = {"en": random.choice(describing.DESCRIBE["en"]), "zh": random.choice(describing.DESCRIBE["zh"])}
    return Fact(asked, told, told, told["en"])


def written(random: Random, text: str) -> Fact:
    """A picture's text."""
    both: Both = {"en": text, "zh": text}
    return Fact({"en": random.choice(reading.READ["en"]), "zh": random.choice(reading.READ["zh"])}, both, both, text)


Maker = Callable[[Random, Scene], Fact | None]
SHORT: tuple[Maker, ...] = (colour_of, kind_at, count, place_of, is_there)


def fact(random: Random, scene: Scene, makers: tuple[Maker, ...] = (*SHORT, whole, whole)) -> Fact:
    """One fact that this scene allows."""
    while True:
        found = random.choice(makers)(random, scene)
        if found:
            return found
