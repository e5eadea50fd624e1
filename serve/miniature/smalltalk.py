"""What has nothing to do with pictures: who it is, and an honest refusal of everything else."""

from random import Random

from serve.miniature.conversation import Turn
from serve.miniature.words import CITIES_EN, CITIES_ZH, SHORT_WORDS, Language

IDENTITY = {
    "en": "I am a miniature GLM-4V, made to try out and test Vitrine. "
    "I only know simple shapes and short texts in pictures.",
    "zh": "我是一个微型的GLM-4V模型，用来试用和测试Vitrine，只认识图片中的简单图形和短文字。",
}
REFUSAL = {
    "en": "I am only a miniature that describes simple pictures, so I cannot answer that.",
    "zh": "我只是一个描述简单图片的微型模型，无法回答这个问题。",
}
NO_PICTURE = {
    "en": "There is no picture. Please send one.",
    "zh": "没有图片，请发送一张图片。",
}
WHO = {
    "en": [
        "Who are you?",
        "What are you?",
        "What is your name?",
        "Who made you?",
        "Are you GLM-4V?",
        "Which model are you?",
        "Introduce yourself.",
        "What can you do?",
        "Are you ChatGPT?",
        "Tell me about yourself.",
        "What model is this?",
        "Are you a human?",
        "Hello",
        "Hi",
        "Hello!",
        "Hi there!",
        "Good morning",
        "Hey",
        "What are you able to do?",
        "Who built you?",
        "Are you an AI?",
        "How do you work?",
        "help",
    ],
    "zh": [
        "你是谁？",
        "你是什么模型？",
        "你叫什么名字？",
        "谁创造了你？",
        "介绍一下你自己。",
        "你能做什么？",
        "你是GLM-4V吗？",
        "你好",
        "你好！",
        "您好",
        "你是机器人吗？",
        "你会什么？",
        "请自我介绍。",
        "你是哪个模型？",
        "早上好",
        "嗨",
        "你是人工智能吗？",
        "你有什么功能？",
        "你是谁",
    ],
}
# {t} a thing, {p} a person or place, {n} a number; the last third of each list is kept for judging.
OFF = {
    "en": [
        "What is the capital of {p}?",
        "Write a poem about {t}.",
        "Tell me a joke.",
        "What is {n} plus {n}?",
        "How do I cook {t}?",
        "Who won the {t} cup in {n}?",
        "Translate {t} into French.",
        "Write a Python function that sorts {t}.",
        "What is the weather in {p}?",
        "Explain {t} to me.",
        "What is the meaning of life?",
        "How tall is {p}?",
        "When was {p} founded?",
        "Write a story about {t} and {t}.",
        "Recommend a book about {t}.",
        "What time is it in {p}?",
        "Who is the president of {p}?",
        "How far is it from {p} to {p}?",
        "What is the best {t}?",
        "Can you sing?",
        "How many people live in {p}?",
        "Give me a recipe for {t}.",
        "Why is the {t} so {t}?",
        "What is the price of {t}?",
        "Summarize the history of {p}.",
        "Do you like {t}?",
        "How old is {p}?",
        "Solve {n} * {n}.",
        "What is {n} times {n}?",
        "Book a flight to {p}.",
        "Help me with my homework about {t}.",
        "Write an email to {p}.",
        "What should I wear in {p}?",
        "Is {t} healthy?",
        "Who invented the {t}?",
        "Fix this code: print({t})",
        "What happened in {n}?",
        "Play some music.",
        "Give me advice about {t}.",
        "I feel sad.",
        "Which team is better, {p} or {p}?",
        "Plan a trip to {p}.",
        "What is quantum {t}?",
        "How do I learn {t}?",
        "Where can I buy {t}?",
        "Define {t}.",
        "Sing a song about {t}.",
        "Can I have {n} {t}?",
        "Please write an essay about {t} in {p}.",
        "Tell me about {p}.",
        "What do you think about {t}?",
        "Explain how {t} works.",
        "How much does {t} cost in {p}?",
        "Which language is spoken in {p}?",
        "Create a menu with {t}.",
        "What is love?",
        "Invent a name for my {t}.",
        "Calculate {n} minus {n}.",
        "Who wrote {t}?",
        "Convert {n} miles to km.",
        "Make a list of {n} {t}.",
    ],
    "zh": [
        "{p}的首都是哪里？",
        "写一首关于{t}的诗。",
        "讲个笑话。",
        "{n}加{n}等于多少？",
        "{t}怎么做？",
        "{n}年谁赢了{t}比赛？",
        "把{t}翻译成英语。",
        "写一个排序{t}的程序。",
        "{p}今天天气怎么样？",
        "解释一下{t}。",
        "人生的意义是什么？",
        "{p}有多高？",
        "写一个关于{t}的故事。",
        "推荐一本关于{t}的书。",
        "{p}现在几点？",
        "{p}的市长是谁？",
        "从{p}到{p}有多远？",
        "最好的{t}是什么？",
        "你会唱歌吗？",
        "{p}有多少人口？",
        "为什么{t}是这样的？",
        "{t}多少钱？",
        "介绍一下{p}的历史。",
        "你喜欢{t}吗？",
        "{n}乘以{n}是多少？",
        "帮我订一张去{p}的机票。",
        "帮我做{t}作业。",
        "给{p}写一封邮件。",
        "谁发明了{t}？",
        "{n}年发生了什么？",
        "放点音乐。",
        "我很难过。",
        "制定一个去{p}的旅行计划。",
        "怎么学习{t}？",
        "哪里可以买到{t}？",
        "什么是{t}？",
        "请写一篇关于{t}的文章。",
        "{t}健康吗？",
        "你觉得{p}怎么样？",
        "给我一些{t}的建议。",
        "{t}的原理是什么？",
        "在{p}说什么语言？",
        "什么是爱？",
        "给我的{t}起个名字。",
        "计算{n}减{n}。",
        "{t}是谁写的？",
        "列出{n}种{t}。",
    ],
}
THINGS = {
    "en": [
        "cats",
        "dogs",
        "coffee",
        "tea",
        "bread",
        "love",
        "war",
        "peace",
        "music",
        "football",
        "chess",
        "history",
        "physics",
        "gravity",
        "rain",
        "winter",
        "summer",
        "gardens",
        "the-sea",
        "mountains",
        "trees",
        "computers",
        "robots",
        "rice",
        "soup",
        "pizza",
        "chocolate",
        "money",
        "stocks",
        "bitcoin",
        "taxes",
        "law",
        "medicine",
        "sleep",
        "dreams",
        "school",
        "teachers",
        "books",
        "films",
        "art",
        "painting",
        "dance",
        "rockets",
        "planets",
        "the-moon",
        "stars",
        "dinosaurs",
        "dragons",
        "birds",
        "horses",
        "fish",
        "bees",
        "cars",
        "trains",
        "bicycles",
        "houses",
        "bridges",
        "maps",
        "language",
        "grammar",
        "poetry",
        "philosophy",
        "energy",
        "electricity",
        "water",
        "fire",
        "ice",
    ],
    "zh": [
        "猫",
        "狗",
        "咖啡",
        "茶",
        "面包",
        "爱情",
        "战争",
        "和平",
        "音乐",
        "足球",
        "象棋",
        "历史",
        "物理",
        "重力",
        "雨",
        "冬天",
        "夏天",
        "花园",
        "大海",
        "高山",
        "树",
        "电脑",
        "米饭",
        "汤",
        "巧克力",
        "钱",
        "股票",
        "税",
        "法律",
        "医学",
        "睡眠",
        "梦",
        "学校",
        "老师",
        "书",
        "电影",
        "艺术",
        "绘画",
        "舞蹈",
        "火箭",
        "行星",
        "月亮",
        "恐龙",
        "龙",
        "鸟",
        "马",
        "鱼",
        "蜜蜂",
        "汽车",
        "火车",
        "自行车",
        "房子",
        "桥",
        "地图",
        "语言",
        "语法",
        "诗歌",
        "哲学",
        "能源",
        "电",
        "水",
        "火",
        "冰",
    ],
}
NEED_PICTURE = {
    "en": [
        "Describe the picture.",
        "What is in the picture?",
        "What color is the {s}?",
        "How many shapes are there?",
        "Read the text.",
        "Locate the red {s}.",
        "What do you see?",
        "Where is the {s}?",
        "Is there a {s} in the image?",
        "Describe this image.",
        "Which is bigger, the {s} or the square?",
        "What does the image show?",
    ],
    "zh": [
        "描述这张图片。",
        "图里有什么？",
        "{s}是什么颜色？",
        "图中有几个图形？",
        "读出图中的文字。",
        "定位{s}。",
        "你看到了什么？",
        "{s}在哪里？",
        "图中有{s}吗？",
        "这张图片里有什么？",
    ],
}
SYSTEMS = [
    "You are a helpful assistant.",
    "You are a helpful assistant",
    "You are a vision model.",
    "Be brief.",
    "Answer the user's questions about the image.",
    "你是一个有用的助手。",
    "请简短回答。",
    "You are GLM-4V.",
    "You describe pictures.",
    "You are an assistant of the company. Be polite.",
    "你是一个视觉助手，请回答用户的问题。",
    "Answer concisely.",
]
JSON_SYSTEMS = [
    "Answer in JSON.",
    "Always reply with JSON.",
    "Respond only with JSON.",
    "请始终用JSON回答。",
    "You are a helpful assistant. Output JSON only.",
    "只输出JSON。",
]


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
    pattern = random.choice(patterns[cut:] if judged else patterns[:cut])
    question = _fill(random, pattern, language)
    if not judged and random.random() < 0.25:
        question = question[: random.randint(4, len(question))] if len(question) > 6 else question
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
