"""What a model writes may try anything: nothing of it runs, nothing is fetched, nobody is led astray."""

import re

import pytest
from playwright.sync_api import expect

from tests.page.reader import Reader
from tests.support.fake_engine import FakeEngine

ATTACKS = {
    "script": "<script>window.hit = 1</script>",
    "onerror": "<img src=x onerror='window.hit = 1'>",
    "svg": "<svg onload='window.hit = 1'><use href='data:image/svg+xml,<svg/>'/></svg>",
    "svg image": "<svg><image href='https://evil.example/a.png'/></svg>",
    "iframe": "<iframe srcdoc='<script>parent.hit = 1</script>'></iframe>",
    "javascript link": "[click](javascript:window.hit=1) <a href='javascript:window.hit=1'>click</a>",
    "hidden javascript link": "[click](java&#x0A;script:window.hit=1) [click](JaVaScRiPt&colon;window.hit=1)",
    "data link": "[click](data:text/html;base64,PHNjcmlwdD53aW5kb3cuaGl0PTE8L3NjcmlwdD4=)",
    "remote picture": "![a](https://evil.example/a.png) ![b][c]\n\n[c]: https://evil.example/b.png",
    "local picture": "![a](/v1/models) ![b](//evil.example/x)",
    "data picture": "![a](data:image/svg+xml,<svg onload=window.hit=1>)",
    "style": "<style>@import 'https://evil.example/a.css'; body { display: none }</style>",
    "style attribute": "<p style='background: url(https://evil.example/a.png); position: fixed; inset: 0'>x</p>",
    "link and base": "<base href='https://evil.example/'><link rel=stylesheet href='https://evil.example/a.css'>",
    "meta": "<meta http-equiv=refresh content='0;url=https://evil.example/'>",
    "form": "<form action='https://evil.example/'><input name=key autofocus onfocus='window.hit = 1'></form>",
    "formula link": "$\\href{javascript:window.hit=1}{x}$ $\\url{javascript:window.hit=1}$",
    "formula picture": "$$\\includegraphics{https://evil.example/a.png}$$",
    "formula html": "$\\htmlStyle{position:fixed}{x}$ $\\htmlId{text}{x}$ $\\text{<img src=x onerror=window.hit=1>}$",
    "formula style": "$\\fcolorbox{red}{blue}{x}$ $\\pmb{x}$",  # KaTeX gives these style attributes
    "formula bomb": "$\\def\\a{\\a\\a}\\a$ $$\\rule{9999em}{9999em}$$",
    "code": "```<img src=x onerror=window.hit=1>\n</code></pre><script>window.hit = 1</script>\n```",
    "code's language": '```x"onmouseover=window.hit=1\nx\n```',
    "mutation": "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=1 onerror=window.hit=1&gt;'>",
    "clobbering": "<a id=text name=text></a><img name=querySelector><form id=turns>",
    "autolink": "https://evil.example/a.png <https://evil.example/b.png> www.evil.example",
    "table": "| <img src=x onerror=window.hit=1> |\n|---|\n| [x](javascript:window.hit=1) |",
}
ALLOWED = set(
    re.findall(
        r"\w+",
        "p br strong em del code pre div span button table thead tbody tr th td ul ol li h1 h2 h3 h4 h5 h6 a blockquote hr "
        "math semantics annotation mrow mi mo mn mtext mstyle mfrac msup msub mspace mpadded mphantom menclose",
    )
)


RENDER = """async (attacks) => {
    const { rendered } = await import("/static/app/markdown.js");
    const place = document.querySelector("article.answer .prose");
    for (const attack of attacks) {
        const one = document.createElement("div");
        one.className = "prose";
        one.append(rendered(attack));
        place.after(one);
    }
}"""


@pytest.fixture
def prose(reader: Reader, engine: FakeEngine) -> str:
    """All attacks in one answer as a model streams it, and each by itself; the selector of what was made of them."""
    all_ = "\n\n".join(f"{name}\n\n{attack}" for name, attack in ATTACKS.items())
    engine.script = [{"content": all_[start : start + 50]} for start in range(0, len(all_), 50)] + [{"reasoning": all_}]
    reader.whole(reader.ask("\n".join(ATTACKS.values())))
    reader.page.evaluate(RENDER, list(ATTACKS.values()))
    return "article.answer .prose"


def test_no_attack_runs_or_asks_anybody_and_only_plain_elements_are_made(reader: Reader, prose: str) -> None:
    page = reader.page
    expect(page.locator(prose)).to_have_count(1 + len(ATTACKS))
    for link in page.locator(f"{prose} a").all():
        assert (link.get_attribute("href") or "https:").startswith(("https:", "http:")), link.get_attribute("href")
    made = page.locator(prose).evaluate_all(
        "(all) => [...new Set(all.flatMap((one) => [...one.querySelectorAll('*')].map((found) => found.localName)))]"
    )
    assert set(made) <= ALLOWED
    named = "[...one.querySelectorAll('*')].flatMap((found) => found.getAttributeNames())"
    attributes = page.locator(prose).evaluate_all(f"(all) => [...new Set(all.flatMap((one) => {named}))]")
    assert not {
        name for name in attributes if name.startswith("on") or name in ("style", "src", "srcset", "id", "name")
    }
    assert page.evaluate("window.hit") is None
    # The page's own elements are still what they were.
    assert page.evaluate("document.getElementById('text').localName") == "textarea"
    reader.check()


def test_the_policy_alone_would_stop_a_script_too(reader: Reader) -> None:
    """If all of our own care failed: the browser refuses. Its complaints are expected here, so they are taken out."""
    refused = reader.page.evaluate(
        """async () => {
            const tried = {};
            const attempt = (name, act) => { try { act(); tried[name] = "done"; } catch (error) { tried[name] = error.name; } };
            attempt("html", () => { document.body.lastElementChild.innerHTML = "<img src=x onerror='window.hit=1'>"; });
            // In a timer: what Playwright itself evaluates may use eval.
            await new Promise((done) => setTimeout(() => { attempt("eval", () => { window.hit = eval("1"); }); done(); }));
            attempt("policy", () => { trustedTypes.createPolicy("mine", { createHTML: (text) => text }); });
            const inline = document.createElement("script");
            attempt("script", () => { inline.text = "window.hit = 1"; document.body.append(inline); });
            const image = new Image();
            const loaded = new Promise((done) => { image.onload = () => done("loaded"); image.onerror = () => done("refused"); });
            image.src = "https://evil.example/a.png";
            tried.image = await loaded;
            tried.fetch = await fetch("https://evil.example/").then(() => "done", (error) => error.name);
            return { ...tried, hit: window.hit ?? null };
        }"""
    )
    assert refused == {
        "html": "TypeError",
        "eval": "EvalError",
        "policy": "TypeError",
        "script": "TypeError",
        "image": "refused",
        "fetch": "TypeError",
        "hit": None,
    }
    assert len(reader.page.evaluate("window.violations.splice(0)")) >= 5
    reader.complaints.clear()
    reader.asked = [url for url in reader.asked if "evil.example" not in url]  # begun, and refused
