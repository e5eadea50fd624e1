"""Questions about parts of scenes with their true answers, in both languages; every answer follows from the scene alone."""

from collections.abc import Callable
from random import Random

from miniature.conversation import Turn
from miniature.describing import name, named, phrase
from miniature.scene import Scene, Shape
from miniature.words import COLOURS, SHAPES, Language, a, colour, place, plural, shape

Asker = Callable[[Random, Scene, Language], Turn | None]


def _pick(random: Random, options: str) -> str:
    return random.choice(options.split(" | "))


def _turn(skill: str, question: str, answer: str) -> Turn:
    return Turn(question, answer, skill=skill)


def _only(scene: Scene, kind: str) -> Shape | None:
    found = [one for one in scene.shapes if one.kind == kind]
    return found[0] if len(found) == 1 else None


def _one_of_a_kind(random: Random, scene: Scene) -> Shape | None:
    found = [one for one in scene.shapes if _only(scene, one.kind)]
    return random.choice(found) if found else None


def _distinct(random: Random, scene: Scene) -> Shape | None:
    looks = [(one.colour, one.kind) for one in scene.shapes]
    found = [one for one in scene.shapes if looks.count((one.colour, one.kind)) == 1]
    return random.choice(found) if found else None


def what_colour(random: Random, scene: Scene, language: Language) -> Turn | None:
    """The colour of a shape told by its kind or by its place."""
    if random.random() < 0.4:
        one = random.choice(scene.shapes)
        where = place(one.place, language)
        if language == "en":
            ask = _pick(
                random, "What color is the shape {} | Which color is the shape {} | What colour is the shape {}"
            )
            return _turn("question", ask.format(where) + "?", f"The shape {where} is {one.colour}.")
        ask = _pick(random, "{}的图形是什么颜色？ | {}的图形是什么颜色的？ | {}是什么颜色？")
        return _turn("question", ask.format(where), f"{where}的图形是{colour(one.colour, 'zh')}的。")
    found = _one_of_a_kind(random, scene)
    if not found:
        return None
    kind = shape(found.kind, language)
    if language == "en":
        ask = _pick(
            random,
            "What color is the {}? | What colour is the {}? | Which color is the {}? | What is the color of the {}?",
        )
        return _turn("question", ask.format(kind), f"The {kind} is {found.colour}.")
    ask = _pick(random, "{}是什么颜色？ | {}是什么颜色的？ | {}的颜色是什么？ | 图中的{}是什么颜色？")
    return _turn("question", ask.format(kind), f"{kind}是{colour(found.colour, 'zh')}的。")


def which_shape(random: Random, scene: Scene, language: Language) -> Turn | None:
    """The kind of a shape told by its place or by its colour."""
    one = random.choice(scene.shapes)
    if random.random() < 0.55:
        where = place(one.place, language)
        if language == "en":
            if random.random() < 0.5:
                ask = _pick(random, "What is {}? | What do you see {}? | What's {}?")
                return _turn("question", ask.format(where), f"A {phrase(one, 'en')}.")
            ask = _pick(random, "What shape is {}? | Which shape is {}?")
            return _turn("question", ask.format(where), f"The shape {where} is {a(one.kind)}.")
        if random.random() < 0.5:
            ask = _pick(random, "{}有什么？ | {}是什么？ | 图片{}有什么？")
            return _turn("question", ask.format(where), f"一个{phrase(one, 'zh')}。")
        ask = _pick(random, "{}是什么形状？ | {}的图形是什么形状？ | {}是什么图形？")
        return _turn("question", ask.format(where), f"{where}的图形是{shape(one.kind, 'zh')}。")
    if sum(other.colour == one.colour for other in scene.shapes) > 1:
        return None
    if language == "en":
        ask = _pick(random, "Which shape is {}? | What shape is {}? | What is the {} shape?")
        return _turn("question", ask.format(one.colour), f"The {one.colour} shape is {a(one.kind)}.")
    paint = colour(one.colour, "zh")
    ask = _pick(random, "{}的是什么图形？ | {}的图形是什么形状？ | 什么图形是{}的？")
    return _turn("question", ask.format(paint), f"{paint}的图形是{shape(one.kind, 'zh')}。")


def how_many(random: Random, scene: Scene, language: Language) -> Turn:
    """How many shapes, or shapes of a kind, of a colour."""
    what = random.random()
    kind = random.choice([one.kind for one in scene.shapes] + [random.choice(SHAPES)])
    paint = random.choice([one.colour for one in scene.shapes] + [random.choice(COLOURS)])
    if what < 0.4:
        count, english, single, chinese = len(scene.shapes), "shapes", "shape", "图形"
    elif what < 0.75:
        count = sum(one.kind == kind for one in scene.shapes)
        english, single, chinese = plural(kind), kind, shape(kind, "zh")
    else:
        count = sum(one.colour == paint for one in scene.shapes)
        english, single, chinese = f"{paint} shapes", f"{paint} shape", f"{colour(paint, 'zh')}的图形"
    return counted(random, language, count, english, single, chinese)


def counted(random: Random, language: Language, count: int, english: str, single: str, chinese: str) -> Turn:
    """A count asked and told."""
    if language == "en":
        ask = _pick(
            random,
            "How many {} are there? | How many {} are in the picture? | Count the {}. | How many {} do you see? "
            "| How many {} can you see in the image? | How many {} are there in the image?",
        )
        told = f"There is 1 {single}." if count == 1 else f"There are {count} {english}."
        return _turn("question", ask.format(english), told)
    ask = _pick(
        random, "有几个{}？ | 图中有几个{}？ | 图里有多少个{}？ | 数一数有几个{}。 | 一共有几个{}？ | 图片中有多少{}？"
    )
    return _turn("question", ask.format(chinese), f"图中有{count}个{chinese}。")


def where(random: Random, scene: Scene, language: Language) -> Turn | None:
    """The place of a shape."""
    one = _distinct(random, scene)
    if not one:
        return None
    short = random.random() < 0.5 and _only(scene, one.kind)
    if language == "en":
        what = one.kind if short else name(one, "en")
        ask = _pick(random, "Where is the {}? | Where's the {}? | In which part of the picture is the {}?")
        return _turn("question", ask.format(what), f"The {what} is {place(one.place, 'en')}.")
    what = shape(one.kind, "zh") if short else name(one, "zh")
    ask = _pick(random, "{}在哪里？ | {}在哪儿？ | {}在图片的什么位置？ | {}在什么地方？")
    return _turn("question", ask.format(what), f"{what}在{place(one.place, 'zh')}。")


def is_there(random: Random, scene: Scene, language: Language) -> Turn:
    """Whether there is such a shape, colour or kind."""
    one = random.choice(scene.shapes)
    kind, paint = one.kind, one.colour
    if random.random() < 0.55:
        kind, paint = random.choice(((kind, random.choice(COLOURS)), (random.choice(SHAPES), paint)))
    what = random.random()
    if what < 0.6:
        yes = any(other.kind == kind and other.colour == paint for other in scene.shapes)
        english, chinese = named(paint, kind, "en"), named(paint, kind, "zh")
    elif what < 0.85:
        kind = random.choice((kind, random.choice(SHAPES)))
        yes = any(other.kind == kind for other in scene.shapes)
        english, chinese = kind, shape(kind, "zh")
    else:
        paint = random.choice((paint, random.choice(COLOURS)))
        yes = any(other.colour == paint for other in scene.shapes)
        english, chinese = f"{paint} shape", f"{colour(paint, 'zh')}的图形"
    if language == "en":
        ask = _pick(random, "Is there {}? | Is there {} in the picture? | Do you see {}? | Can you see {}?")
        told = f"Yes, there is {a(english)}." if yes else f"No, there is no {english}."
        return _turn("question", ask.format(a(english)), told)
    ask = _pick(random, "有{}吗？ | 图中有{}吗？ | 图里有没有{}？ | 你看到{}了吗？ | 有没有{}？")
    return _turn("question", ask.format(chinese), f"有，图中有{chinese}。" if yes else f"没有，图中没有{chinese}。")


def how_big(random: Random, scene: Scene, language: Language) -> Turn | None:
    """The size of a shape."""
    one = _distinct(random, scene)
    if not one:
        return None
    what = name(one, language)
    if language == "en":
        ask = _pick(random, "How big is the {}? | What size is the {}? | How large is the {}?")
        return _turn("question", ask.format(what), f"The {what} is {one.size}.")
    told = {"small": "小的", "medium": "中等的", "large": "大的"}[one.size]
    ask = _pick(random, "{}有多大？ | {}是大是小？ | {}的大小是什么？")
    return _turn("question", ask.format(what), f"{what}是{told}。")


def _two(random: Random, scene: Scene) -> tuple[Shape, Shape] | None:
    looks = [(one.colour, one.kind) for one in scene.shapes]
    found = [one for one in scene.shapes if looks.count((one.colour, one.kind)) == 1]
    if len(found) < 2:
        return None
    one, other = random.sample(found, 2)
    return one, other


def bigger(random: Random, scene: Scene, language: Language) -> Turn | None:
    """Which of two shapes is bigger or smaller; asked only where their size classes differ."""
    pair = _two(random, scene)
    if not pair or pair[0].size == pair[1].size:
        return None
    more = random.random() < 0.6
    order = ("small", "medium", "large")
    big = max(pair, key=lambda one: order.index(one.size))
    small = min(pair, key=lambda one: order.index(one.size))
    told = name(big if more else small, language)
    names = [name(one, language) for one in pair]
    if language == "en":
        word = _pick(random, "bigger | larger") if more else "smaller"
        return _turn("question", f"Which is {word}, the {names[0]} or the {names[1]}?", f"The {told} is {word}.")
    word = "大" if more else "小"
    ask = _pick(random, "{}和{}哪个更" + word + "？ | {}和{}哪一个更" + word + "？")
    return _turn("question", ask.format(*names), f"{told}更{word}。")


def beside(random: Random, scene: Scene, language: Language) -> Turn | None:
    """Whether one shape lies left of, right of, above or below another; asked only where it is clear."""
    pair = _two(random, scene)
    if not pair:
        return None
    across = random.random() < 0.5
    span = scene.width if across else scene.height
    gap = (pair[0].centre[0 if across else 1] - pair[1].centre[0 if across else 1]) / span
    if abs(gap) < 0.2:
        return None
    first = random.random() < 0.5
    yes = (gap < 0) == first
    names = [name(one, language) for one in pair]
    no = "" if yes else "not "
    if language == "en":
        way = (("to the left of", "to the right of") if across else ("above", "below"))[0 if first else 1]
        told = f"{'Yes' if yes else 'No'}, the {names[0]} is {no}{way} the {names[1]}."
        return _turn("question", f"Is the {names[0]} {way} the {names[1]}?", told)
    way = (("左边", "右边") if across else ("上方", "下方"))[0 if first else 1]
    told = f"{'是的' if yes else '不是'}，{names[0]}{'' if yes else '不'}在{names[1]}的{way}。"
    return _turn("question", f"{names[0]}在{names[1]}的{way}吗？", told)


def which_all(random: Random, scene: Scene, language: Language) -> Turn:
    """All colours or all kinds, each once, in reading order."""
    if random.random() < 0.5:
        seen = list(dict.fromkeys(one.colour for one in scene.shapes))
        told = (
            ", ".join(seen).capitalize() + "." if language == "en" else "、".join(colour(c, "zh") for c in seen) + "。"
        )
        ask = (
            "What colors are in the picture? | Which colors do you see? | What colors are the shapes?"
            if language == "en"
            else "图中有哪些颜色？ | 图里有什么颜色？"
        )
    else:
        kinds = list(dict.fromkeys(one.kind for one in scene.shapes))
        told = (
            ", ".join(a(kind) for kind in kinds).capitalize() + "."
            if language == "en"
            else "、".join(shape(kind, "zh") for kind in kinds) + "。"
        )
        ask = (
            "Which shapes are in the picture? | What shapes do you see? | List the shapes."
            if language == "en"
            else "图中有哪些图形？ | 图里有什么形状？ | 列出图中的图形。"
        )
    return _turn("question", _pick(random, ask), told)


def locate(random: Random, scene: Scene, language: Language) -> Turn | None:
    """The box of a shape on the 0-1000 grid, or that there is none."""
    one = _distinct(random, scene)
    if not one:
        return None
    kind, paint = one.kind, one.colour
    short = random.random() < 0.25 and _only(scene, kind)
    ask = _pick(
        random,
        "Locate the {}. | Where is the {}? Answer with a box. | Give the bounding box of the {}. | Point to the {}. "
        "| Find the {} and give its box. | What are the coordinates of the {}? | Detect the {}."
        if language == "en"
        else "定位{}。 | 请给出{}的坐标。 | 框出{}。 | 请定位{}。 | 指出{}的位置框。 | 找到{}并给出边界框。 "
        "| {}的坐标是多少？",
    )
    if random.random() < 0.08:
        kind, paint = random.choice(SHAPES), random.choice(COLOURS)
        if not any(other.kind == kind and other.colour == paint for other in scene.shapes):
            what = named(paint, kind, language)
            told = f"There is no {what}." if language == "en" else f"图中没有{what}。"
            return _turn("locate", ask.format(what), told)
        kind, paint = one.kind, one.colour
    what = shape(kind, language) if short else named(paint, kind, language)
    box = ",".join(str(edge) for edge in scene.told_box(one))
    return _turn("locate", ask.format(what), f"<|begin_of_box|>[[{box}]]<|end_of_box|>")


def no_text(random: Random, scene: Scene, language: Language) -> Turn:
    """That a picture of shapes holds no text."""
    if language == "en":
        return _turn(
            "question", _pick(random, "What does the text say? | Read the text."), "There is no text in the picture."
        )
    return _turn("question", _pick(random, "图中写了什么？ | 读出图中的文字。"), "图中没有文字。")


QUESTIONS: tuple[tuple[Asker, float], ...] = (
    (what_colour, 1.3),
    (which_shape, 1.3),
    (how_many, 1.3),
    (where, 1.0),
    (is_there, 1.2),
    (how_big, 0.6),
    (bigger, 1.0),
    (beside, 0.9),
    (which_all, 0.5),
    (no_text, 0.15),
)
ASKERS = tuple(asker for asker, _ in QUESTIONS)
WEIGHTS = tuple(weight for _, weight in QUESTIONS)


def ask(random: Random, scene: Scene, language: Language) -> Turn:
    """One question of any kind that this scene allows."""
    while True:
        turn = random.choices(ASKERS, WEIGHTS)[0](random, scene, language)
        if turn:
            return turn
