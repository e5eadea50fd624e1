"""How to answer: an instruction in the system turn, a begun answer that goes on, a question of two languages."""

from random import Random

from miniature.conversation import Turn
from miniature.facts import SHORT, count, fact, whole
from miniature.scene import Scene
from miniature.words import COLOURS, LANGUAGES, SHAPES, Language, colour, plural, shape

IN_LANGUAGE: dict[Language, tuple[str, ...]] = {
    "en": (
        "Answer in English.",
        "Always answer in English.",
        "Reply only in English, whatever the language of the question.",
        "You must answer in English.",
        "Respond in English.",
        "请用英文回答。",
        "请始终用英语回答。",
        "无论用户用什么语言提问，都用英文回答。",
    ),
    "zh": (
        "Answer in Chinese.",
        "Always answer in Chinese.",
        "Reply only in Chinese, whatever the language of the question.",
        "You must answer in Chinese.",
        "Respond in Chinese.",
        "请用中文回答。",
        "请始终用中文回答。",
        "无论用户用什么语言提问，都用中文回答。",
    ),
}
CAPITALS = (
    "Answer in capital letters.",
    "Write everything in capital letters.",
    "Answer in UPPERCASE.",
    "Use only capital letters.",
    "ALWAYS ANSWER IN CAPITALS.",
)
ONE_WORD = (
    "Answer with one word.",
    "Answer with a single word.",
    "One word answers only.",
    "Reply with one word only.",
    "请只用一个词回答。",
    "只回答一个词。",
)
BEFORE = ("", "", "", "You are a helpful assistant. ", "You are a vision model. ", "你是一个有用的助手。")
# What may stand at the start of an answer that the client began; the true answer follows.
LEADS: dict[Language, tuple[str, ...]] = {
    "en": ("Answer:", "Sure!", "Sure.", "The answer:", "Of course.", "Here is the answer:", "I looked at the picture."),
    "zh": ("答：", "好的，", "答案：", "当然。", "回答：", "我看了图片。"),
}


def other(language: Language) -> Language:
    """The other of the two languages."""
    return LANGUAGES[1 - LANGUAGES.index(language)]


def instructed(random: Random, scene: Scene) -> tuple[str, Turn]:
    """A system text with an instruction, and a turn that keeps to it."""
    asked, told = random.choice(LANGUAGES), random.choice(LANGUAGES)
    chance = random.random()
    before = random.choice(BEFORE)
    if chance < 0.55:
        found = fact(random, scene)
        system = before + random.choice(IN_LANGUAGE[told])
        answer = found.answer[told]
    elif chance < 0.75:
        found = fact(random, scene)
        asked = "en"
        system = before + random.choice(CAPITALS)
        answer = found.answer["en"].upper()
    else:
        found = fact(random, scene, SHORT)
        system = before + random.choice(ONE_WORD)
        answer = found.short[asked]
    return system, Turn(found.question[asked], answer, skill="instruction")


def begun(random: Random, scene: Scene) -> Turn:
    """A turn whose answer the client began: with a few words of its own, or with the first words of the truth."""
    language = random.choice(LANGUAGES)
    found = fact(random, scene)
    answer = found.answer[language]
    if random.random() < 0.5:
        lead = random.choice(LEADS[language])
        answer = lead + (" " if language == "en" else "") + answer
    elif language == "en":
        lead = " ".join(answer.split(" ")[: random.randint(1, max(1, answer.count(" ")))])
    else:
        lead = answer[: random.randint(1, max(1, min(12, len(answer) - 2)))]
    return Turn(found.question[language], answer, lead=lead, skill="continued")


def mixed(random: Random, scene: Scene) -> Turn:
    """A question of one language with words of the other; the answer is in the language of the sentence."""
    language = random.choice(LANGUAGES)
    for _ in range(20):
        found = fact(random, scene, (*SHORT, count))
        asked = swapped(random, found.question[language], language)
        if asked != found.question[language]:
            return Turn(asked, found.answer[language], skill="mixed")
    found = whole(random, scene)
    return Turn(found.question[language], found.answer[language], skill="mixed")


def swapped(random: Random, text: str, language: Language) -> str:
    """The text with its names of shapes and colours in the other language."""
    there = other(language)
    space = random.choice(("", " ")) if language == "zh" else ""
    pairs = [(shape(kind, language), shape(kind, there)) for kind in SHAPES]
    pairs += [(colour(paint, language), colour(paint, there)) for paint in COLOURS]
    if language == "en":
        pairs = [(plural(kind), shape(kind, "zh")) for kind in SHAPES] + pairs
    for here, name in pairs:
        if here in text:
            text = text.replace(here, f"{space}{name}{space}")
    return text.replace("an 橙", "a 橙").strip()
