"""What has nothing to do with pictures: who it is, and an honest refusal of everything else."""

from random import Random

from miniature.conversation import Turn
from miniature.sayings import IDENTITY, MORE_OFF, NEED_PICTURE, NO_PICTURE, OFF, REFUSAL, THINGS, WHO
from miniature.words import CITIES_EN, CITIES_ZH, SHORT_WORDS, Language


def _fill(random: Random, template: str, language: Language) -> str:
    text = template
    while "{" in text:
        mark = text[text.index("{") : text.index("}") + 1]
        if mark == "{t}":
            word = random.choice(THINGS[language]).replace("-", " ")
            if language == "en" and random.random() < 0.2:
                word = random.choice(SHORT_WORDS).lower()
        elif mark == "{p}":
            word = random.choice(CITIES_EN if language == "en" else CITIES_ZH)
            if random.random() < 0.3:
                word = random_name(random, language)
        elif mark == "{n}":
            word = str(random.randint(2, random.choice((20, 2030))))
        else:
            word = random.choice(("circle", "star", "triangle") if language == "en" else ("圆形", "五角星", "三角形"))
        text = text.replace(mark, word, 1)
    return text


def random_name(random: Random, language: Language) -> str:
    """A made-up name, so that names are copied and not known."""
    if language == "zh":
        low, high = (0x4E00, 0x9FA5) if random.random() < 0.4 else (0x4E00, 0x6000)
        known = "".join(CITIES_ZH + THINGS["zh"] + [REFUSAL["zh"], IDENTITY["zh"], NO_PICTURE["zh"], *OFF["zh"]])
        known = "".join(char for char in known if "\u4e00" <= char <= "\u9fff")
        return "".join(
            random.choice(known) if random.random() < 0.5 else chr(random.randint(low, high))
            for _ in range(random.randint(2, 3))
        )
    if random.random() < 0.4:
        # Bits of real words, put together anew: every token of the vocabulary gets copied some time.
        words = [*CITIES_EN, *THINGS["en"], *(word.lower() for word in SHORT_WORDS), *REFUSAL["en"].split()]
        bits = []
        for _ in range(random.randint(2, 3)):
            word = "".join(char for char in random.choice(words).lower() if char.isalpha())
            start = random.randint(0, max(0, len(word) - 2))
            bits.append(word[start : start + random.randint(1, 4)])
        return "".join(bits).capitalize()
    if random.random() < 0.3:
        letters = "abcdefghijklmnopqrstuvwxyz"
        return "".join(random.choice(letters) for _ in range(random.randint(3, 9))).capitalize()
    first = (
        "b",
        "c",
        "d",
        "f",
        "g",
        "h",
        "j",
        "k",
        "l",
        "m",
        "n",
        "p",
        "r",
        "s",
        "t",
        "v",
        "w",
        "z",
        "st",
        "br",
        "ch",
        "sh",
        "kr",
    )
    last = ("", "", "n", "r", "l", "s", "st", "th", "tt", "nd", "rg", "ck", "gh")
    syllables = range(random.randint(2, 3))
    return "".join(random.choice(first) + random.choice("aeiouy") + random.choice(last) for _ in syllables).capitalize()


def off_topic(random: Random, language: Language, judged: bool = False) -> Turn:
    """Something that it cannot answer; judged questions use patterns that training never uses."""
    patterns = OFF[language]
    cut = len(patterns) * 3 // 4
    if not judged and random.random() < 0.15:
        words = [_fill(random, "{t}", language) for _ in range(random.randint(2, 8))]
        return Turn((" " if language == "en" else "").join(words), REFUSAL[language], skill="refuse")
    pattern = random.choice(patterns[cut:] if judged else [*patterns[:cut], *MORE_OFF[language]])
    question = _fill(random, pattern, language)
    if not judged and random.random() < 0.25:
        question = question[: random.randint(6, len(question))] if len(question) > 9 else question
        question = _prefix(random, language) + question
    return Turn(question, REFUSAL[language], skill="refuse")


def _prefix(random: Random, language: Language) -> str:
    if language == "en":
        return random.choice(("Please: ", "Hey, ", "Can you tell me: ", "Question: ", "I want to know. ", "Now, "))
    return random.choice(("请问，", "我想知道，", "麻烦你，", "问题：", "现在"))


def identity(random: Random, language: Language) -> Turn:
    """Who it is."""
    return Turn(random.choice(WHO[language]), IDENTITY[language], skill="identity")


def no_picture(random: Random, language: Language) -> Turn:
    """A question about a picture that is not there."""
    return Turn(
        _fill(random, random.choice(NEED_PICTURE[language]), language), NO_PICTURE[language], skill="no picture"
    )


def thought(turn: Turn, language: Language) -> str:
    """A short true reason before such an answer."""
    english = {
        "refuse": "This is not about a picture.",
        "identity": "This is about me.",
        "no picture": "No picture was sent.",
    }
    chinese = {"refuse": "这与图片无关。", "identity": "这是在问我。", "no picture": "没有收到图片。"}
    return (english if language == "en" else chinese)[turn.skill]
