"""Questions that compare two pictures, with their true answers."""

from random import Random

from miniature import describing
from miniature.conversation import Turn
from miniature.scene import Scene
from miniature.words import Language, a, colour, plural, shape

ORDINALS = {"en": ("first", "second"), "zh": ("第一张图", "第二张图")}


def _pick(random: Random, options: str) -> str:
    return random.choice(options.split(" | "))


def _told(which: int, language: Language, rest: tuple[str, str]) -> str:
    if language == "en":
        return f"The {ORDINALS['en'][which]} picture {rest[0]}."
    return f"{ORDINALS['zh'][which]}{rest[1]}。"


def more_shapes(random: Random, scenes: tuple[Scene, Scene], language: Language) -> Turn:
    """Which picture has more shapes, or more of a kind."""
    kind = random.choice([s.kind for s in scenes[0].shapes + scenes[1].shapes]) if random.random() < 0.3 else ""
    counts = [sum(not kind or one.kind == kind for one in scene.shapes) for scene in scenes]
    what = (plural(kind) if kind else "shapes") if language == "en" else (shape(kind, "zh") if kind else "图形")
    ask = _pick(
        random,
        "Which picture has more {}? | Which image has more {}? | In which picture are there more {}?"
        if language == "en"
        else "哪张图的{}更多？ | 哪张图片里{}更多？ | 两张图哪张{}多？",
    ).format(what)
    if counts[0] == counts[1]:
        same = f"Both pictures have the same number of {what}." if language == "en" else f"两张图的{what}一样多。"
        return Turn(ask, same, skill="compare")
    which = 0 if counts[0] > counts[1] else 1
    return Turn(ask, _told(which, language, (f"has more {what}", f"的{what}更多")), skill="compare")


def which_shows(random: Random, scenes: tuple[Scene, Scene], language: Language) -> Turn | None:
    """Which picture shows a shape that only one of them has."""
    looks = [{(one.colour, one.kind) for one in scene.shapes} for scene in scenes]
    which = random.randrange(2)
    only = sorted(looks[which] - looks[1 - which])
    if not only:
        return None
    what = describing.named(*random.choice(only), language)
    ask = _pick(
        random,
        "Which picture shows a {}? | Which picture has a {}? | Which image contains a {}?"
        if language == "en"
        else "哪张图有{}？ | {}在哪张图里？ | 哪张图片里有{}？",
    ).format(what)
    if language == "en":
        ask = ask.replace(" a orange ", " an orange ")
    article = a(what) if language == "en" else ""
    return Turn(ask, _told(which, language, (f"shows {article}", f"里有{what}")), skill="compare")


def describe_one(random: Random, scenes: tuple[Scene, Scene], language: Language) -> Turn:
    """One of the two pictures in one sentence."""
    which = random.randrange(2)
    ask = _pick(
        random,
        "Describe the {} picture. | What is in the {} picture? | What does the {} image show?"
        if language == "en"
        else "描述{}。 | {}里有什么？ | {}画了什么？",
    ).format(ORDINALS[language][which])
    return Turn(ask, describing.description(scenes[which], language), skill="compare")


def describe_both(random: Random, scenes: tuple[Scene, Scene], language: Language) -> Turn:
    """Both pictures."""
    first, second = (describing.description(scene, language) for scene in scenes)
    if language == "en":
        ask = _pick(
            random,
            "Describe both pictures. | Compare the two pictures. | What is in the pictures? | Describe the images.",
        )
        return Turn(ask, f"First picture: {first} Second picture: {second}", skill="compare")
    ask = _pick(random, "描述两张图片。 | 比较这两张图。 | 两张图里有什么？ | 请比较这两张图片。")
    return Turn(ask, f"第一张图：{first}第二张图：{second}", skill="compare")


def same_colour(random: Random, scenes: tuple[Scene, Scene], language: Language) -> Turn | None:
    """Whether a kind that occurs once in each picture has the same colour in both."""
    kinds = [[one.kind for one in scene.shapes] for scene in scenes]
    both = sorted(kind for kind in set(kinds[0]) & set(kinds[1]) if kinds[0].count(kind) == kinds[1].count(kind) == 1)
    if not both:
        return None
    kind = random.choice(both)
    paints = [next(one.colour for one in scene.shapes if one.kind == kind) for scene in scenes]
    same = paints[0] == paints[1]
    if language == "en":
        told = f"Yes, both are {paints[0]}." if same else f"No, one is {paints[0]} and the other is {paints[1]}."
        return Turn(f"Is the {kind} the same color in both pictures?", told, skill="compare")
    names = [colour(paint, "zh") for paint in paints]
    told = f"一样，都是{names[0]}的。" if same else f"不一样，一个是{names[0]}的，另一个是{names[1]}的。"
    return Turn(f"两张图中的{shape(kind, 'zh')}颜色一样吗？", told, skill="compare")


def bigger_where(random: Random, scenes: tuple[Scene, Scene], language: Language) -> Turn | None:
    """In which picture a kind that occurs once in each is bigger; asked only where its size classes differ."""
    order = ("small", "medium", "large")
    kinds = [[one.kind for one in scene.shapes] for scene in scenes]
    both = sorted(kind for kind in set(kinds[0]) & set(kinds[1]) if kinds[0].count(kind) == kinds[1].count(kind) == 1)
    random.shuffle(both)
    for kind in both:
        ranks = [next(order.index(one.size) for one in scene.shapes if one.kind == kind) for scene in scenes]
        if ranks[0] != ranks[1]:
            which = 0 if ranks[0] > ranks[1] else 1
            what = shape(kind, language)
            if language == "en":
                ask = _pick(random, "In which picture is the {} bigger? | Which picture has the bigger {}?").format(
                    what
                )
                return Turn(ask, f"The {what} in the {ORDINALS['en'][which]} picture is bigger.", skill="compare")
            ask = _pick(random, "哪张图的{}更大？ | 哪张图里的{}大？").format(what)
            return Turn(ask, f"{ORDINALS['zh'][which]}的{what}更大。", skill="compare")
    return None


ASKERS = (more_shapes, which_shows, describe_one, describe_both, same_colour, bigger_where)


def ask(random: Random, scenes: tuple[Scene, Scene], language: Language) -> Turn:
    """One comparison that these pictures allow."""
    while True:
        turn = random.choices(ASKERS, (2.5, 2.0, 1.2, 0.8, 1.2, 1.5))[0](random, scenes, language)
        if turn:
            return turn
