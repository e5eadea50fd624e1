"""Tools, requests that fit them, the right calls and what is said of their results; calls nothing itself."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from miniature.conversation import Call, Turn
from miniature.sayings import THINGS
from miniature.smalltalk import random_name
from miniature.words import (
    CITIES_EN,
    CITIES_ZH,
    COLOURS,
    HELD_OUT_CITIES_EN,
    HELD_OUT_CITIES_ZH,
    SHAPES,
    SHORT_WORDS,
    Language,
    colour,
    plural,
    shape,
)

Value = str | int


@dataclass(frozen=True)
class ToolTask:
    """A kind of tool: names it may have, parameters by role, and requests in which {role} is filled in."""

    names: Sequence[str]
    about: Sequence[str]
    roles: dict[str, Sequence[str]]
    english: Sequence[str]
    chinese: Sequence[str]


ERRANDS = (
    ToolTask(
        ("get_weather", "get_weather", "get_weather", "weather", "get_current_weather", "weather_lookup"),
        (
            "Get the weather of a city",
            "Current weather",
            "Get current weather for a location",
            "查询城市天气",
            "获取天气",
        ),
        {"city": ("city", "city", "location", "place", "city_name")},
        (
            "What is the weather in {city}?",
            "What's the weather like in {city}?",
            "How is the weather in {city} today?",
            "Weather in {city}?",
            "Tell me the weather in {city}.",
            "Is it raining in {city}?",
            "Check the weather in {city} please.",
            "Please get the weather for {city}.",
        ),
        (
            "{city}天气怎么样？",
            "{city}今天天气怎么样？",
            "查一下{city}的天气。",
            "{city}今天下雨吗？",
            "请告诉我{city}的天气。",
            "{city}的天气如何？",
        ),
    ),
    ToolTask(
        ("get_time", "current_time", "get_current_time", "world_clock"),
        ("Get the time in a city", "Current local time", "查询当地时间"),
        {"city": ("city", "location", "timezone", "place")},
        (
            "What time is it in {city}?",
            "Tell me the time in {city}.",
            "Current time in {city}?",
            "What's the time in {city} now?",
        ),
        ("{city}现在几点？", "{city}现在是什么时间？", "查一下{city}的时间。"),
    ),
    ToolTask(
        ("search", "web_search", "search_web", "lookup"),
        ("Search the web", "Look something up", "搜索"),
        {"thing": ("query", "query", "q", "keyword")},
        ("Search for {thing}.", "Look up {thing}.", "Find information about {thing}.", "Search the web for {thing}."),
        ("搜索{thing}。", "查一下{thing}。", "帮我搜一下{thing}。"),
    ),
    ToolTask(
        ("add", "add_numbers", "sum", "calculate_sum"),
        ("Add two numbers", "Sum of a and b", "两数相加"),
        {"one": ("a", "x", "first"), "two": ("b", "y", "second")},
        ("What is {one} plus {two}?", "Add {one} and {two}.", "{one} + {two} = ?", "Calculate {one} plus {two}."),
        ("{one}加{two}等于多少？", "计算{one}加{two}。", "{one}+{two}等于几？"),
    ),
    ToolTask(
        ("set_timer", "start_timer", "timer"),
        ("Set a timer", "Start a countdown in minutes", "设置定时器"),
        {"one": ("minutes", "duration", "minutes")},
        ("Set a timer for {one} minutes.", "Start a {one} minute timer.", "Timer {one} minutes please."),
        ("设置{one}分钟的定时器。", "定时{one}分钟。", "请计时{one}分钟。"),
    ),
    ToolTask(
        ("send_message", "send_email", "send_sms", "notify"),
        ("Send a message to a person", "Send a note", "发送消息"),
        {"person": ("to", "recipient", "name"), "thing": ("text", "subject", "message", "body")},
        ("Send {person} a message: {thing}", "Tell {person}: {thing}", "Write to {person} about {thing}"),
        ("给{person}发消息：{thing}", "告诉{person}：{thing}", "发给{person}：{thing}"),
    ),
    ToolTask(
        ("book_flight", "find_flight", "search_flights"),
        ("Find a flight", "Book a flight between two cities", "订机票"),
        {"city": ("from", "origin", "from_city"), "other": ("to", "destination", "to_city")},
        (
            "Book a flight from {city} to {other}.",
            "Find flights from {city} to {other}.",
            "I want to fly from {city} to {other}.",
        ),
        ("订一张从{city}到{other}的机票。", "查从{city}到{other}的航班。", "我想从{city}飞到{other}。"),
    ),
    ToolTask(
        ("get_stock_price", "stock_price", "get_price"),
        ("Get a price", "Price of a stock", "查询价格"),
        {"person": ("symbol", "name", "ticker")},
        ("What is the price of {person}?", "Get the stock price of {person}.", "How much is {person}?"),
        ("{person}的价格是多少？", "查询{person}的股价。"),
    ),
)
COUNTING = ToolTask(
    ("count_shapes", "count_shapes", "count_shapes", "count_objects", "shape_counter"),
    ("Count the shapes in the picture", "Count shapes of a kind", "Counts shapes in an image", "统计图中的图形"),
    {"colour": ("color", "color", "colour"), "kind": ("shape", "shape", "kind", "shape_type")},
    (
        "How many {look} are there?",
        "Count the {look}.",
        "How many {look} are in the picture?",
        "Use the tool to count the {look}.",
        "Please count the {look} in the picture.",
        "How many {look} do you see?",
    ),
    ("图中有几个{look}？", "数一数有几个{look}。", "用工具数一下{look}。", "有多少个{look}？", "请统计{look}的数量。"),
)


def _value(random: Random, role: str, language: Language, judged: bool) -> Value:
    if role in ("one", "two"):
        return random.randint(1, random.choice((9, 99, 999)))
    if role in ("city", "other"):
        if judged:
            return random.choice(HELD_OUT_CITIES_EN if language == "en" else HELD_OUT_CITIES_ZH)
        if random.random() < 0.75:
            return random_name(random, language) + (
                " " + random_name(random, "en") if language == "en" and random.random() < 0.15 else ""
            )
        return random.choice(CITIES_EN if language == "en" else CITIES_ZH)
    if role == "person":
        return random_name(random, language)
    words = [random.choice(THINGS[language]).replace("-", " ") for _ in range(random.randint(1, 3))]
    if language == "en" and random.random() < 0.3:
        words.append(random.choice(SHORT_WORDS).lower())
    return (" " if language == "en" else "").join(words)


def definition(
    random: Random, name: str, about: str, parameters: list[tuple[str, str, Sequence[str]]], required: list[str]
) -> dict[str, Any]:
    """A tool as the API's clients send it; `parameters` are name, type and allowed values."""
    properties: dict[str, Any] = {}
    described = random.random() < 0.4
    for key, kind, values in parameters:
        properties[key] = {"type": kind}
        if described:
            properties[key]["description"] = random.choice((f"The {key}", key, f"{key} to use"))
        if values:
            properties[key]["enum"] = list(values)
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    if random.random() < 0.8:
        schema["required"] = required
    function: dict[str, Any] = {"name": name}
    if random.random() < 0.85:
        function["description"] = about
    function["parameters"] = schema
    return {"type": "function", "function": function}


def tool_of(random: Random, errand: ToolTask) -> tuple[dict[str, Any], dict[str, str]]:
    """A tool of this kind, and the parameter that each role got."""
    keys = {role: random.choice(names) for role, names in errand.roles.items()}
    numbers = {"one", "two"}
    parameters: list[tuple[str, str, Sequence[str]]] = []
    for role, key in keys.items():
        values: Sequence[str] = ()
        if role in ("kind", "colour") and random.random() < 0.3:
            values = SHAPES if role == "kind" else COLOURS
        parameters.append((key, "integer" if role in numbers else "string", values))
    required = [] if errand is COUNTING else list(keys.values())
    return definition(random, random.choice(errand.names), random.choice(errand.about), parameters, required), keys


def errand(random: Random, language: Language, judged: bool = False) -> tuple[list[dict[str, Any]], Turn]:
    """One to three tools and a request that one of them fits, its result and what is then said."""
    kind = random.choices(ERRANDS, (5, 1.5, 1.5, 1.5, 1, 1, 1.2, 1))[0]
    others = [other for other in ERRANDS if other is not kind]
    chosen = [kind, *random.sample([*others, COUNTING], random.choices((0, 1, 2), (50, 35, 15))[0])]
    made = [tool_of(random, one) for one in chosen]
    tool, keys = made[0]
    values = {role: _value(random, role, language, judged) for role in kind.roles}
    question = random.choice(kind.english if language == "en" else kind.chinese)
    for role, value in values.items():
        question = question.replace("{" + role + "}", str(value))
    name = tool["function"]["name"]
    call = Call(name, {keys[role]: value for role, value in values.items()})
    result, conclusion = _result(random, kind, values, language)
    tools = [one for one, _ in made]
    random.shuffle(tools)
    thought = f"I should call {name}." if language == "en" else f"应该调用{name}。"
    turn = Turn(question, "", thought, calls=[call], results=[result], conclusion=conclusion, skill="tool")
    return tools, turn


def _result(random: Random, kind: ToolTask, values: dict[str, Value], language: Language) -> tuple[str, str]:
    if kind is ERRANDS[0]:
        degrees = random.randint(-15, 39)
        sky = random.choice(
            ("sunny", "rainy", "cloudy", "snowy", "windy") if language == "en" else ("晴", "雨", "多云", "雪", "大风")
        )
        words = {"temperature": degrees, random.choice(("condition", "weather", "sky")): sky}
        shown = {"city": values["city"]} | words if random.random() < 0.4 else words
        told = (
            f"The weather in {values['city']}: {sky}, {degrees} degrees."
            if language == "en"
            else f"{values['city']}的天气：{sky}，{degrees}度。"
        )
        if random.random() < 0.25:
            return f"{sky}, {degrees}", told
        return json.dumps(shown, ensure_ascii=False), told
    value: Value = random.choice((random.randint(0, 999), random_name(random, language), "ok", "done"))
    told = f"The result is {value}." if language == "en" else f"结果是{value}。"
    if random.random() < 0.4:
        return str(value), told
    return json.dumps({random.choice(("result", "value", "answer")): value}, ensure_ascii=False), told


def counting(random: Random, language: Language) -> tuple[list[dict[str, Any]], Turn]:
    """A counting tool, maybe another, and a request about the picture that it fits."""
    tool, keys = tool_of(random, COUNTING)
    kind, paint = random.choice(SHAPES), random.choice(COLOURS)
    which = random.random()
    arguments: dict[str, Any] = {}
    if which < 0.4:
        arguments[keys["colour"]], arguments[keys["kind"]] = paint, kind
        look = f"{paint} {plural(kind)}" if language == "en" else f"{colour(paint, 'zh')}的{shape(kind, 'zh')}"
    elif which < 0.75:
        arguments[keys["kind"]] = kind
        look = plural(kind) if language == "en" else shape(kind, "zh")
    else:
        arguments[keys["colour"]] = paint
        look = f"{paint} shapes" if language == "en" else f"{colour(paint, 'zh')}的图形"
    # The arguments keep the schema's order; some schemas have only one of the two parameters.
    properties = tool["function"]["parameters"]["properties"]
    if random.random() < 0.4:
        for key in [key for key in properties if key not in arguments]:
            del properties[key]
    count = random.randint(0, 5)
    result = str(count) if random.random() < 0.4 else json.dumps({random.choice(("count", "result", "value")): count})
    question = random.choice(COUNTING.english if language == "en" else COUNTING.chinese).format(look=look)
    told = f"The result is {count}." if language == "en" else f"结果是{count}。"
    name = tool["function"]["name"]
    thought = f"I should call {name}." if language == "en" else f"应该调用{name}。"
    tools = [tool]
    if random.random() < 0.3:
        tools.append(tool_of(random, random.choice(ERRANDS))[0])
        random.shuffle(tools)
    call = Call(name, arguments)
    return tools, Turn(question, "", thought, calls=[call], results=[result], conclusion=told, skill="tool")
