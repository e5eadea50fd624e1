"""Makes the pictures of the page in docs/page: ``python -m tests.page.pictures``. A fake engine says what they show."""

import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, expect

from tests.page.reader import Reader
from tests.support.audit import Ledger
from tests.support.browser import chromium
from tests.support.fake_engine import Behaviour, FakeEngine
from tests.support.gateway import Gateway

TOP = Path(__file__).parents[2]
FOLDER = TOP / "docs" / "page"
WIDE, PHONE = (1280, 860), (390, 844)
ENGLISH = """There are **two shapes** on a white ground:

1. a red circle <|begin_of_box|>[[75,335,405,665]]<|end_of_box|>
2. a blue square <|begin_of_box|>[[580,340,925,670]]<|end_of_box|>

| shape | area, pixels |
| :-- | --: |
| circle | $\\pi r^2 \\approx 9{,}330$ |
| square | $s^2 \\approx 12{,}300$ |

So the circle covers about three quarters of the square's area:
$$\\frac{\\pi r^2}{s^2} \\approx 0.76$$
"""
CHINESE = """白色背景上有**两个图形**：

1. 红色圆形 <|begin_of_box|>[[75,335,405,665]]<|end_of_box|>
2. 蓝色正方形 <|begin_of_box|>[[580,340,925,670]]<|end_of_box|>

| 图形 | 面积（像素） |
| :-- | --: |
| 圆形 | $\\pi r^2 \\approx 9{,}330$ |
| 正方形 | $s^2 \\approx 12{,}300$ |

圆形的面积约为正方形的四分之三：
$$\\frac{\\pi r^2}{s^2} \\approx 0.76$$
"""


class Studio:
    """One gateway and one browser, and a visitor of a language, a theme and a size for each picture."""

    def __init__(self, browser: Browser, gateway: Gateway, engine: FakeEngine, key: str) -> None:
        self._browser, self._gateway, self._engine, self._key = browser, gateway, engine, key

    def visitor(self, locale: str, theme: str, size: tuple[int, int], *, signed_in: bool = True) -> Reader:
        context = self._browser.new_context(
            locale=locale,
            color_scheme="dark" if theme == "dark" else "light",
            base_url=self._gateway.url,
            viewport={"width": size[0], "height": size[1]},
            has_touch=size is PHONE,
            is_mobile=size is PHONE,
        )
        reader = Reader(context)
        reader.open()
        if signed_in:
            reader.sign_in(self._key)
            reader.page.wait_for_load_state("networkidle")
        return reader

    def asks(self, reader: Reader, text: str, question: str) -> None:
        """The picture of circle and square is asked about, and the engine says ``text``."""
        self._engine.behaviour = Behaviour.ANSWERS
        self._engine.script = [{"reasoning": "..."}, *({"content": part + " "} for part in text.split(" "))]
        picture = TOP / "docs" / "examples" / "pictures" / "circle-and-square.png"
        reader.page.locator("#files").set_input_files(picture)
        reader.whole(reader.ask(question))
        reader.page.wait_for_timeout(300)

    def breaks(self, reader: Reader, question: str) -> None:
        self._engine.script, self._engine.behaviour = [], Behaviour.CUTS_AFTER_TWO_EVENTS
        reader.whole(reader.ask(question))
        reader.page.wait_for_timeout(300)


def take(reader: Reader, name: str) -> None:
    """Keep what is seen as docs/page/NAME.png, in few colours: it is a page, not a photo."""
    path = FOLDER / f"{name}.png"
    reader.page.mouse.move(0, 0)
    reader.page.screenshot(path=path)
    Image.open(path).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
    reader.page.context.close()


def take_all(studio: Studio) -> None:
    take(studio.visitor("en-GB", "light", WIDE, signed_in=False), "sign-in-en-light")
    take(studio.visitor("zh-CN", "dark", WIDE), "begin-zh-dark")
    take(studio.visitor("en-GB", "light", PHONE), "phone-begin-en-light")
    reader = studio.visitor("en-GB", "light", (1280, 1240))
    studio.asks(reader, ENGLISH, "Where are the shapes, and how large are they?")
    take(reader, "answer-en-light")
    reader = studio.visitor("zh-CN", "light", (1280, 1240))
    studio.asks(reader, CHINESE, "图形在哪里？各有多大？")
    take(reader, "answer-zh-light")
    reader = studio.visitor("zh-CN", "dark", (1280, 1000))
    studio.asks(reader, CHINESE, "图形在哪里？各有多大？")
    reader.answers.last.locator(".verify").click()
    expect(reader.answers.last.locator(".verdict")).to_be_visible(timeout=10_000)
    reader.answers.last.locator(".receipt").evaluate("(receipt) => receipt.scrollIntoView()")
    take(reader, "verified-zh-dark")
    reader = studio.visitor("en-GB", "light", WIDE)
    reader.page.locator("#open-drawer").click()
    reader.page.wait_for_timeout(300)
    take(reader, "settings-en-light")
    reader = studio.visitor("zh-CN", "light", PHONE)
    studio.asks(reader, CHINESE, "图形在哪里？")
    take(reader, "phone-zh-light")
    reader = studio.visitor("en-GB", "dark", PHONE)
    studio.breaks(reader, "Describe the picture.")
    take(reader, "phone-broken-en-dark")


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    home = Path(tempfile.mkdtemp())
    names = ("glm-4v", "glm-4v-miniature")
    with FakeEngine(home / "run", served_names=names) as engine, Ledger(home), Gateway(home) as gateway:
        key = gateway.create_key("--scope", "inference")
        with chromium() as browser:
            take_all(Studio(browser, gateway, engine, key))


if __name__ == "__main__":
    main()
