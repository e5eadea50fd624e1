"""A scene in words: a shape's name, the whole in a sentence or as JSON, in both languages; asks about no part of it."""

import json
from random import Random

from miniature.conversation import Turn
from miniature.scene import Scene, Shape
from miniature.words import Language, colour, place, shape, size

DESCRIBE = {
    "en": [
        "Describe the picture.",
        "Describe this image.",
        "What is in the picture?",
        "What do you see?",
        "What's in this image?",
        "Describe the image.",
        "What does the picture show?",
        "Tell me what you see.",
        "What is shown here?",
        "Describe what you see in the image.",
        "What is in this image?",
        "Please describe the picture.",
        "Describe it.",
        "What shapes are in the picture and where are they?",
        "Describe this picture in detail.",
        "What can you see here?",
    ],
    "zh": [
        "描述这张图片。",
        "请描述这张图。",
        "图里有什么？",
        "你看到了什么？",
        "图片中有什么？",
        "这张图片里有什么？",
        "描述一下图片",
        "图中有什么",
        "请说说图里的内容。",
        "这是什么图？",
        "请描述图片内容。",
        "描述图中的图形。",
        "图上画了什么？",
        "看图说话。",
        "请详细描述这张图片。",
    ],
}
JSON = {
    "en": [
        "Describe the picture as JSON.",
        "List the shapes as JSON.",
        "Return JSON.",
        "Give me the shapes in JSON format.",
        "Answer in JSON: what is in the picture?",
        "What is in the image? Reply in JSON.",
        "Output the scene as JSON.",
        "Describe the image in JSON format.",
        "JSON please: which shapes are there?",
    ],
    "zh": [
        "用JSON描述这张图片。",
        "请以JSON格式列出图形。",
        "输出JSON。",
        "图里有什么？请用JSON回答。",
        "请返回JSON格式的描述。",
        "以JSON格式描述图片",
    ],
}


def phrase(one: Shape, language: Language) -> str:
    """ "small red circle" or “红色的小圆形”."""
    if language == "en":
        return f"{one.size} {one.colour} {one.kind}"
    return f"{colour(one.colour, 'zh')}的{size(one.size, 'zh')}{shape(one.kind, 'zh')}"


def name(one: Shape, language: Language) -> str:
    """ "red circle" or “红色的圆形”."""
    return named(one.colour, one.kind, language)


def named(paint: str, kind: str, language: Language) -> str:
    """ "red circle" or “红色的圆形” of a colour and a kind."""
    return f"{paint} {kind}" if language == "en" else f"{colour(paint, 'zh')}的{shape(kind, 'zh')}"


def description(scene: Scene, language: Language) -> str:
    """The whole scene in one sentence, in reading order."""
    if language == "en":
        parts = [f"a {phrase(one, 'en')} {place(one.place, 'en')}" for one in scene.shapes]
        text = ", ".join(parts)
        return text[0].upper() + text[1:] + "."
    return "，".join(f"{place(one.place, 'zh')}有一个{phrase(one, 'zh')}" for one in scene.shapes) + "。"


def as_json(scene: Scene) -> str:
    """The whole scene as compact JSON."""
    shapes = [{"shape": s.kind, "color": s.colour, "size": s.size, "position": s.place} for s in scene.shapes]
    return json.dumps({"shapes": shapes}, separators=(",", ":"))


def thought(scene: Scene, language: Language) -> str:
    """What one sees before answering."""
    if language == "en":
        return "I see " + ", ".join(f"{phrase(one, 'en')} ({one.place})" for one in scene.shapes) + "."
    return "看到" + "、".join(f"{phrase(one, 'zh')}（{place(one.place, 'zh')}）" for one in scene.shapes) + "。"


def describe(random: Random, scene: Scene, language: Language) -> Turn:
    """The whole picture."""
    return Turn(random.choice(DESCRIBE[language]), description(scene, language), skill="describe")


def in_json(random: Random, scene: Scene, language: Language) -> Turn:
    """The whole picture as JSON."""
    return Turn(random.choice(JSON[language]), as_json(scene), skill="json")
