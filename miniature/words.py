"""The words of the miniature's world, in English and in Chinese; nouns only, no sentences, no chance."""

from typing import Literal

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = ("en", "zh")

SHAPES = ("circle", "square", "triangle", "star", "diamond", "cross")
COLOURS = ("red", "blue", "green", "yellow", "orange", "purple", "black", "white")
SIZES = ("small", "medium", "large")
# Row by row, as one reads: the order in which shapes are told.
PLACES = (
    "top left",
    "top",
    "top right",
    "left",
    "center",
    "right",
    "bottom left",
    "bottom",
    "bottom right",
)

SHAPES_ZH = {
    "circle": "圆形",
    "square": "正方形",
    "triangle": "三角形",
    "star": "五角星",
    "diamond": "菱形",
    "cross": "十字形",
}
COLOURS_ZH = {
    "red": "红色",
    "blue": "蓝色",
    "green": "绿色",
    "yellow": "黄色",
    "orange": "橙色",
    "purple": "紫色",
    "black": "黑色",
    "white": "白色",
}
SIZES_ZH = {"small": "小", "medium": "中等", "large": "大"}
PLACES_ZH = {
    "top left": "左上角",
    "top": "上方",
    "top right": "右上角",
    "left": "左边",
    "center": "中间",
    "right": "右边",
    "bottom left": "左下角",
    "bottom": "下方",
    "bottom right": "右下角",
}
PLURALS = {"circle": "circles", "cross": "crosses"}

CITIES_EN = [
    "Paris",
    "London",
    "Berlin",
    "Madrid",
    "Rome",
    "Vienna",
    "Oslo",
    "Helsinki",
    "Dublin",
    "Lisbon",
    "Athens",
    "Warsaw",
    "Prague",
    "Budapest",
    "Tokyo",
    "Kyoto",
    "Osaka",
    "Seoul",
    "Delhi",
    "Mumbai",
    "Cairo",
    "Nairobi",
    "Lagos",
    "Lima",
    "Bogota",
    "Toronto",
    "Vancouver",
    "Montreal",
    "Chicago",
    "Boston",
    "Seattle",
    "Denver",
    "Austin",
    "Miami",
    "Dallas",
    "Sydney",
    "Melbourne",
    "Auckland",
    "Singapore",
    "Bangkok",
    "Hanoi",
    "Jakarta",
    "Manila",
    "Dubai",
    "Moscow",
    "Istanbul",
    "Zurich",
    "Geneva",
    "Munich",
    "Hamburg",
    "Milan",
    "Naples",
    "Porto",
    "Bristol",
    "Leeds",
    "Havana",
    "Quito",
    "Beijing",
    "Shanghai",
    "Shenzhen",
    "Chengdu",
]
CITIES_ZH = [
    "北京",
    "上海",
    "广州",
    "深圳",
    "杭州",
    "成都",
    "重庆",
    "武汉",
    "南京",
    "西安",
    "天津",
    "苏州",
    "长沙",
    "青岛",
    "大连",
    "厦门",
    "昆明",
    "郑州",
    "沈阳",
    "哈尔滨",
    "济南",
    "福州",
    "合肥",
    "南昌",
    "贵阳",
    "兰州",
    "太原",
    "海口",
    "拉萨",
    "银川",
    "巴黎",
    "伦敦",
    "东京",
    "纽约",
    "柏林",
    "首尔",
    "悉尼",
    "莫斯科",
]
# Never seen in training: what is asked about them must be copied from the question.
HELD_OUT_CITIES_EN = [
    "Reykjavik",
    "Copenhagen",
    "Ljubljana",
    "Marrakesh",
    "Brisbane",
    "Houston",
    "Valencia",
    "Kathmandu",
    "Stuttgart",
    "Edinburgh",
    "Krakow",
    "Perth",
]
HELD_OUT_CITIES_ZH = ["宁波", "无锡", "珠海", "洛阳", "桂林", "温州", "罗马", "曼谷", "开罗", "多伦多"]

SHORT_WORDS = [
    "CAT",
    "DOG",
    "SUN",
    "MOON",
    "STAR",
    "TREE",
    "FISH",
    "BIRD",
    "MILK",
    "BOOK",
    "DOOR",
    "LAMP",
    "RAIN",
    "SNOW",
    "WIND",
    "FIRE",
    "GOLD",
    "IRON",
    "SALT",
    "CAKE",
    "EXIT",
    "OPEN",
    "STOP",
    "TAXI",
    "HOTEL",
    "CAFE",
    "BANK",
    "SHOP",
    "PARK",
    "ROAD",
    "CITY",
    "TOWN",
    "HELLO",
    "WORLD",
    "APPLE",
    "LEMON",
    "GRAPE",
    "BREAD",
    "WATER",
    "MUSIC",
    "PIANO",
    "TRAIN",
    "PLANE",
    "TIGER",
    "HORSE",
    "SHEEP",
    "MOUSE",
    "ZEBRA",
    "GREEN",
    "BLACK",
    "WHITE",
    "BROWN",
    "LIGHT",
    "NIGHT",
    "PAPER",
    "STONE",
    "GLASS",
    "TABLE",
    "CHAIR",
    "CLOCK",
    "PHONE",
    "RADIO",
    "VIDEO",
    "ROBOT",
    "SPACE",
    "EARTH",
    "OCEAN",
    "RIVER",
    "BEACH",
    "FIELD",
    "FORK",
    "KNIFE",
    "PLATE",
    "SUGAR",
    "HONEY",
    "PASTA",
    "PIZZA",
    "JAZZ",
    "QUIZ",
    "OXYGEN",
    "JACKET",
    "YELLOW",
    "ORANGE",
    "PURPLE",
    "SILVER",
    "GARDEN",
    "WINDOW",
    "BRIDGE",
    "MARKET",
    "SCHOOL",
    "DOCTOR",
    "POLICE",
    "OFFICE",
    "TICKET",
    "EXPERT",
    "VACUUM",
]


def shape(name: str, language: Language) -> str:
    """The shape's word: "circle" or "圆形"."""
    return name if language == "en" else SHAPES_ZH[name]


def colour(name: str, language: Language) -> str:
    """The colour's word: "red" or "红色"."""
    return name if language == "en" else COLOURS_ZH[name]


def size(name: str, language: Language) -> str:
    """The size's word: "small" or "小"."""
    return name if language == "en" else SIZES_ZH[name]


def plural(name: str) -> str:
    """The English plural of a shape's word."""
    return PLURALS.get(name, name + "s")


def a(word: str) -> str:
    """The English word with its article."""
    return ("an " if word[0] in "aeio" else "a ") + word


def place(name: str, language: Language) -> str:
    """Where: "on the left" or "左边"."""
    if language == "zh":
        return PLACES_ZH[name]
    if name == "center":
        return "in the center"
    return ("on the " if name in ("left", "right") else "at the ") + name
