"""Mixes all skills into conversations with the pictures they are about: the stream that training draws from."""

from dataclasses import dataclass
from random import Random

from PIL import Image, ImageFont

from miniature import (
    describing,
    facts,
    forms,
    manners,
    pairs,
    questions,
    reading,
    sayings,
    smalltalk,
    tool_calls,
    toolbox,
    unclear,
)
from miniature.conversation import Conversation, Turn
from miniature.drawing import paint_scene, paint_text
from miniature.scene import Scene, random_scene
from miniature.words import LANGUAGES, Language

TOKENS_A_WORD = 3.6
Fonts = list[ImageFont.FreeTypeFont]


@dataclass
class Sample:
    """Pictures of one size and a conversation about them; `scenes` is what they truly show."""

    pictures: list[Image.Image]
    conversation: Conversation
    scenes: tuple[Scene, ...] = ()


def _language(random: Random) -> Language:
    return random.choice(LANGUAGES)


def _system(random: Random) -> str:
    return random.choice(sayings.SYSTEMS) if random.random() < 0.2 else ""


def _mixed(random: Random, language: Language) -> Language:
    return language if random.random() < 0.85 else random.choice(LANGUAGES)


def scene_sample(random: Random, size: tuple[int, int]) -> Sample:
    """A picture of shapes and several turns about it."""
    scene = random_scene(random, *size)
    language = _language(random)
    system = _system(random)
    thinking = random.random() < 0.22
    turns: list[Turn] = []
    in_json = random.random() < 0.05
    if in_json:
        system = random.choice(sayings.JSON_SYSTEMS)
    count = random.choices((1, 2, 3), (6, 3, 1))[0] if thinking else random.randint(3, 6)
    for _ in range(1 if in_json else count):
        language = _mixed(random, language)
        chance = random.random()
        if in_json:
            turn = Turn(random.choice(describing.DESCRIBE[language]), describing.as_json(scene), skill="json")
        elif chance < 0.22 and not any(t.skill == "describe" for t in turns):
            turn = describing.describe(random, scene, language)
        elif chance < 0.45:
            turn = questions.locate(random, scene, language) or questions.ask(random, scene, language)
        elif chance < 0.51 and len(turns) < 4:
            turn = describing.in_json(random, scene, language)
        elif chance < 0.54:
            turn = random.choice((smalltalk.off_topic, smalltalk.identity))(random, language)
        else:
            turn = questions.ask(random, scene, language)
        if any(turn.question == other.question for other in turns):
            continue
        turn.thought = _scene_thought(turn, scene, language)
        turns.append(turn)
    turns[0].pictures = 1
    return Sample([paint_scene(random, scene)], Conversation(turns, system, [], thinking), (scene,))


def _scene_thought(turn: Turn, scene: Scene, language: Language) -> str:
    if turn.skill in ("refuse", "identity"):
        return smalltalk.thought(turn, language)
    return describing.thought(scene, language)


def unclear_sample(random: Random, size: tuple[int, int], fonts: Fonts) -> Sample:
    """A picture that cannot be made out, and one to three questions about it."""
    language = _language(random)
    thinking = random.random() < 0.15
    turns: list[Turn] = []
    for _ in range(1 if thinking else random.randint(1, 3)):
        turn = unclear.ask(random, language)
        if random.random() < 0.04:
            turn = smalltalk.identity(random, language)
            turn.thought = smalltalk.thought(turn, language)
        if not any(turn.question == other.question for other in turns):
            turns.append(turn)
        language = _mixed(random, language)
    turns[0].pictures = 1
    return Sample([unclear.unclear_picture(random, size, fonts)], Conversation(turns, _system(random), [], thinking))


def manner_sample(random: Random, size: tuple[int, int]) -> Sample:
    """A picture of shapes and an instruction, a begun answer or a question of two languages."""
    scene = random_scene(random, *size)
    system, thinking = _system(random), False
    chance = random.random()
    turns: list[Turn] = []
    if chance < 0.5:
        system, turn = manners.instructed(random, scene)
        thinking = random.random() < 0.15
        turn.thought = describing.thought(scene, _language(random))
        turns.append(turn)
    elif chance < 0.7:
        if random.random() < 0.4:
            turns.append(questions.ask(random, scene, _language(random)))
        turns.append(manners.begun(random, scene))
    else:
        for _ in range(random.randint(1, 3)):
            turns.append(manners.mixed(random, scene))
    turns[0].pictures = 1
    return Sample([paint_scene(random, scene)], Conversation(turns, system, [], thinking), (scene,))


def form_sample(random: Random, size: tuple[int, int], fonts: Fonts) -> Sample:
    """A picture and a form to fill in as JSON."""
    language = _language(random)
    chance = random.random()
    scenes: tuple[Scene, ...] = ()
    if chance < 0.78:
        scene = random_scene(random, *size, count=1 if random.random() < 0.35 else None)
        picture, seen, scenes = paint_scene(random, scene), forms.seen_scene(random, scene, language), (scene,)
    elif chance < 0.91:
        text = reading.random_text(random)
        picture, seen = paint_text(random, text, size, fonts), forms.Seen(text=text, language=language)
    else:
        picture, seen = unclear.unclear_picture(random, size, fonts), forms.Seen(language=language)
    system, turn = forms.form(random, seen)
    if not system and random.random() < 0.3:
        system = random.choice((*sayings.SYSTEMS, *sayings.JSON_SYSTEMS))
    turn.pictures = 1
    return Sample([picture], Conversation([turn], system), scenes)


def long_sample(random: Random, size: tuple[int, int], room_tokens: int, pictured: bool) -> Sample:
    """Many tools or long instructions, and maybe a picture behind them; a tool is called only when asked."""
    language = _language(random)
    scene = random_scene(random, *size)
    thinking = random.random() < 0.25
    aim = room_tokens * random.uniform(0.05, 0.92)
    system, tools = _system(random), []
    chance = random.random()
    turn: Turn | None = None
    if chance < 0.45:
        wanted, turn = tool_calls.errand(random, language)
        tools = [one for one in wanted if one["function"]["name"] == turn.calls[0].name]
    elif chance < 0.52 and pictured:
        wanted, turn = tool_calls.counting(random, language)
        tools = [one for one in wanted if one["function"]["name"] == turn.calls[0].name]
    prose = random.random() < (0.25 if room_tokens < 16_000 else 0.85)
    chatty = random.uniform(0.0, 1.0)
    taken = {one["function"]["name"] for one in tools}
    if prose:
        system = toolbox.instructions(random, int(aim * 0.6 / TOKENS_A_WORD))
        aim *= 0.4
    many = 0 if prose and random.random() < 0.3 else max(1, min(34, int(aim / (110 + 260 * chatty))))
    more = toolbox.others(random, many, chatty, taken)
    if 0.52 <= chance < 0.64 and more:
        turn = toolbox.named(random, more, language, lambda: smalltalk.random_name(random, language))
    tools += more
    if random.random() < 0.3 and (turn is None or not turn.calls or turn.skill == "tool"):
        # One more tool that could be asked for, and is not.
        asked = [one for one in tool_calls.ERRANDS if not tools or tools[0]["function"]["name"] not in one.names]
        extra, _ = tool_calls.tool_of(random, random.choice(asked))
        if extra["function"]["name"] not in {one["function"]["name"] for one in tools}:
            tools.append(extra)
    random.shuffle(tools)
    if turn is None and pictured:
        turn = _direct(random, scene, language)
    elif turn is None:
        turn = random.choice((smalltalk.identity, smalltalk.no_picture))(random, language)
        turn.thought = smalltalk.thought(turn, language)
    if turn.calls and turn.results and random.random() < 0.4:
        turn.results, turn.conclusion = [], ""
    turn.pictures = 1 if pictured else 0
    pictures = [paint_scene(random, scene)] if pictured else []
    return Sample(pictures, Conversation([turn], system, tools, thinking), (scene,) if pictured else ())


def _direct(random: Random, scene: Scene, language: Language) -> Turn:
    """A turn that needs no tool."""
    chance = random.random()
    if chance < 0.4:
        turn = describing.describe(random, scene, language)
    elif chance < 0.75:
        turn = questions.ask(random, scene, language)
        if "几个" in turn.question or "多少" in turn.question or "ow many" in turn.question or "ount" in turn.question:
            # Beside a tool that counts it would be a request for the tool.
            turn = describing.describe(random, scene, language)
    elif chance < 0.85:
        turn = questions.locate(random, scene, language) or describing.describe(random, scene, language)
    elif chance < 0.92:
        turn = smalltalk.identity(random, language)
    else:
        found = facts.fact(random, scene, (facts.colour_of, facts.kind_at, facts.place_of))
        turn = Turn(found.question[language], found.answer[language], skill="question")
    turn.thought = _scene_thought(turn, scene, language)
    return turn


def text_sample(random: Random, size: tuple[int, int], fonts: Fonts) -> Sample:
    """A picture of a short text and a few turns about it."""
    text = reading.random_text(random)
    language = _language(random)
    thinking = random.random() < 0.15
    turns = [reading.read(random, text, language)]
    while not thinking and random.random() < 0.45 and len(turns) < 3:
        language = _mixed(random, language)
        turns.append(reading.about_text(random, text, language))
    if random.random() < 0.3:
        random.shuffle(turns)
    for turn in turns:
        turn.thought = reading.thought(text, language)
    turns[0].pictures = 1
    picture = paint_text(random, text, size, fonts)
    if random.random() < 0.12:
        # A scan that is still to be read: gray, a little out of focus.
        smallest = min(font.size for font in fonts)
        picture = unclear.slightly_blurred(random, picture.convert("L").convert("RGB"), smallest)
    return Sample([picture], Conversation(turns, _system(random), [], thinking))


def pair_sample(random: Random, size: tuple[int, int]) -> Sample:
    """Two pictures of shapes and turns that compare them."""
    scenes = (random_scene(random, *size), random_scene(random, *size))
    if random.random() < 0.5:
        kind = random.choice(scenes[0].shapes).kind
        for _ in range(8):
            if any(one.kind == kind for one in scenes[1].shapes):
                break
            scenes = (scenes[0], random_scene(random, *size))
    language = _language(random)
    thinking = random.random() < 0.15
    turns: list[Turn] = []
    for _ in range(1 if thinking else random.randint(2, 4)):
        turn = pairs.ask(random, scenes, language)
        if not any(turn.question == other.question for other in turns):
            turn.thought = (
                f"First: {describing.thought(scenes[0], 'en')} Second: {describing.thought(scenes[1], 'en')}"
                if language == "en"
                else f"第一张：{describing.thought(scenes[0], 'zh')}第二张：{describing.thought(scenes[1], 'zh')}"
            )
            turns.append(turn)
    turns[0].pictures = 2
    pictures = [paint_scene(random, scene) for scene in scenes]
    return Sample(pictures, Conversation(turns, _system(random), [], thinking), scenes)


def counting_sample(random: Random, size: tuple[int, int], fonts: Fonts) -> Sample:
    """A picture together with tools: sometimes a tool fits, sometimes the picture alone answers."""
    scene = random_scene(random, *size)
    language = _language(random)
    tools, turn = tool_calls.counting(random, language)
    chance = random.random()
    if chance < 0.25:
        name = turn.calls[0].name
        tools = [tool for tool in tools if tool["function"]["name"] != name] or tools
        turn = random.choice((describing.describe, questions.locate))(random, scene, language) or describing.describe(
            random, scene, language
        )
        turn.thought = describing.thought(scene, language)
    elif chance < 0.4:
        tools, turn = tool_calls.errand(random, language)
        tools = tools[:2] if turn.calls[0].name in [tool["function"]["name"] for tool in tools[:2]] else tools[-2:]
    turn.pictures = 1
    conversation = Conversation([turn], _system(random) if random.random() < 0.3 else "", tools, random.random() < 0.4)
    return Sample([paint_scene(random, scene)], conversation, (scene,))


def talk_sample(random: Random) -> Sample:
    """No picture: tools, refusals, who it is, a picture that is missing."""
    language = _language(random)
    chance = random.random()
    if chance < 0.55:
        tools, turn = tool_calls.errand(random, language)
        if random.random() < 0.12:
            # Tools are there, but none fits: an honest refusal.
            turn = smalltalk.off_topic(random, language)
            fitting = (
                "weather",
                "time",
                "search",
                "plus",
                "flight",
                "price",
                "天气",
                "几点",
                "加",
                "机票",
                "多少钱",
                "查",
            )
            if any(word in turn.question for word in fitting):
                turn = smalltalk.identity(random, language)
            turn.thought = smalltalk.thought(turn, language)
        return Sample([], Conversation([turn], _system(random), tools, random.random() < 0.4))
    thinking = random.random() < 0.3
    makers = (smalltalk.off_topic, smalltalk.identity, smalltalk.no_picture)
    turns: list[Turn] = []
    for _ in range(1 if thinking else random.randint(1, 4)):
        turn = random.choices(makers, (6, 1.5, 1.5))[0](random, language)
        turn.thought = smalltalk.thought(turn, language)
        turns.append(turn)
        language = _mixed(random, language)
    return Sample([], Conversation(turns, _system(random), [], thinking))
