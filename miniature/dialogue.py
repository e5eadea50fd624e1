"""Mixes all skills into conversations with the pictures they are about: the stream that training draws from."""

from dataclasses import dataclass
from random import Random

from PIL import Image, ImageFont

from miniature import describing, errands, pairs, questions, reading, sayings, smalltalk
from miniature.conversation import Conversation, Turn
from miniature.drawing import paint_scene, paint_text
from miniature.scene import Scene, random_scene
from miniature.words import LANGUAGES, Language

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
    return Sample([paint_text(random, text, size, fonts)], Conversation(turns, _system(random), [], thinking))


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
    tools, turn = errands.counting(random, language)
    chance = random.random()
    if chance < 0.25:
        name = turn.calls[0].name
        tools = [tool for tool in tools if tool["function"]["name"] != name] or tools
        turn = random.choice((describing.describe, questions.locate))(random, scene, language) or describing.describe(
            random, scene, language
        )
        turn.thought = describing.thought(scene, language)
    elif chance < 0.4:
        tools, turn = errands.errand(random, language)
        tools = tools[:2] if turn.calls[0].name in [tool["function"]["name"] for tool in tools[:2]] else tools[-2:]
    turn.pictures = 1
    conversation = Conversation([turn], _system(random) if random.random() < 0.3 else "", tools, random.random() < 0.4)
    return Sample([paint_scene(random, scene)], conversation, (scene,))


def talk_sample(random: Random) -> Sample:
    """No picture: tools, refusals, who it is, a picture that is missing."""
    language = _language(random)
    chance = random.random()
    if chance < 0.55:
        tools, turn = errands.errand(random, language)
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
