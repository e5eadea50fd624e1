"""Short texts to read, questions about them and true answers; paints nothing."""

from random import Random

from miniature.conversation import Turn
from miniature.describing import DESCRIBE, named
from miniature.words import COLOURS, SHAPES, SHORT_WORDS, Language, a

# Letters whose capital is only the small one grown: a word of these alone does not tell its case.
SAME_WHEN_SMALL = frozenset("COSUVWXZIL")
CONSONANTS = "BCDFGHJKLMNPQRSTVWXYZ"
VOWELS = "AEIOU"

READ = {
    "en": [
        "What does the text say?",
        "Read the text.",
        "What text is in the picture?",
        "What is written in the image?",
        "Read it.",
        "What does it say?",
        "Read the text in the image.",
        "What word or number is shown?",
        "Transcribe the text.",
        "OCR this image.",
    ],
    "zh": [
        "图中写了什么？",
        "读出图中的文字。",
        "图里的文字是什么？",
        "请识别图中的文字。",
        "图片上写着什么？",
        "这是什么字？",
        "读一下图里的内容。",
    ],
}
NUMBER = {
    "en": [
        "What number is shown?",
        "Which number is in the picture?",
        "Read the number.",
        "What number do you see?",
        "What is the number?",
    ],
    "zh": ["图中的数字是多少？", "图里是什么数字？", "读出这个数字。", "这个数是多少？", "请识别数字。"],
}
WORD = {
    "en": ["What word is shown?", "Which word is in the picture?", "Read the word.", "What is the word?"],
    "zh": ["图中是什么单词？", "图里的单词是什么？", "读出这个单词。"],
}


def random_text(random: Random, judged: bool = False) -> str:
    """One to six digits or a word of three to six letters; judged words come from the list of real words."""
    chance = random.random()
    if chance < 0.45:
        return "".join(random.choice("0123456789") for _ in range(random.choices(range(1, 7), (1, 2, 3, 4, 3, 2))[0]))
    if judged or chance < 0.75:
        word = random.choice(SHORT_WORDS)
        tells = not set(word) <= SAME_WHEN_SMALL
        return word.lower() if tells and random.random() < 0.25 else word
    letters = CONSONANTS + VOWELS
    if random.random() < 0.5:
        return "".join(random.choice(letters) for _ in range(random.randint(1, 6)))
    pairs = range(random.randint(1, 3))
    return "".join(random.choice(CONSONANTS) + random.choice(VOWELS) for _ in pairs) + random.choice(
        ("", "N", "T", "S")
    )


def description(text: str, language: Language) -> str:
    """A picture of text in one sentence."""
    return f'The text "{text}".' if language == "en" else f"文字“{text}”。"


def read(random: Random, text: str, language: Language) -> Turn:
    """The text itself."""
    asks = READ[language]
    if random.random() < 0.4:
        asks = (NUMBER if text.isdigit() else WORD)[language]
    return Turn(random.choice(asks), text, skill="read")


def about_text(random: Random, text: str, language: Language) -> Turn:
    """Another question about a picture of text."""
    chance = random.random()
    if chance < 0.4:
        return Turn(random.choice(DESCRIBE[language]), description(text, language), skill="describe text")
    if chance < 0.6:
        paint, kind = random.choice(COLOURS), random.choice(SHAPES)
        what = named(paint, kind, language)
        if language == "en":
            return Turn(f"Is there {a(what)} in the picture?", f"No, there is no {what}.", skill="question")
        return Turn(f"图中有{what}吗？", f"没有，图中没有{what}。", skill="question")
    count = len(text)
    if text.isdigit():
        if language == "en":
            told = f"It has {count} digit{'s' * (count > 1)}."
            return Turn(
                random.choice(("How many digits are there?", "How many digits does it have?")), told, skill="other"
            )
        return Turn(random.choice(("有几个数字？", "一共几位数字？")), f"有{count}位数字。", skill="other")
    if language == "en":
        told = f"It has {count} letter{'s' * (count > 1)}."
        return Turn(
            random.choice(("How many letters are there?", "How many letters does it have?")), told, skill="other"
        )
    return Turn(random.choice(("有几个字母？", "一共几个字母？")), f"有{count}个字母。", skill="other")


def thought(text: str, language: Language) -> str:
    """What one sees before answering."""
    return f"I see the text {text}." if language == "en" else f"看到文字{text}。"
