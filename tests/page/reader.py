"""Someone at the page, as tests use it: what they do, what they see, and whether the page broke its rules meanwhile."""

import io
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import BrowserContext, ConsoleMessage, Locator, Request, expect

AXE = (Path(__file__).parent / "vendor" / "axe.js").read_text(encoding="utf-8")
# Told by the page itself, before any of its own code runs.
WATCH = """
    window.violations = [];
    document.addEventListener("securitypolicyviolation", (event) => {
        window.violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`);
    });
"""
FORGET = """async () => {
    localStorage.clear();
    const open = await new Promise((done) => {
        const request = indexedDB.open("vitrine");
        request.onsuccess = () => done(request.result);
    });
    const stores = [...open.objectStoreNames];
    await new Promise((done) => {
        const transaction = open.transaction(stores, "readwrite");
        for (const store of stores) transaction.objectStore(store).clear();
        transaction.oncomplete = done;
    });
}"""


class Reader:
    """One page in one browser context. ``check`` fails if a policy was violated or another host was asked."""

    def __init__(self, context: BrowserContext) -> None:
        self.page = context.new_page()
        self.page.add_init_script(WATCH)
        self.asked: list[str] = []
        self.homes: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", self._note_request)
        self.page.on("console", self._note_message)
        self.page.on("pageerror", lambda error: self.complaints.append(f"uncaught: {error}"))

    def _note_request(self, request: Request) -> None:
        self.asked.append(request.url)

    def _note_message(self, message: ConsoleMessage) -> None:
        # A status that is no 200 is logged by the browser; those are what the tests of failures are about.
        if message.type in ("error", "warning") and not message.text.startswith("Failed to load resource"):
            self.complaints.append(message.text)

    def open(self, path: str = "/") -> None:
        self.page.goto(path)
        expect(self.page.locator("body:not([data-state=starting])")).to_be_attached()
        self.homes.append(self.page.url)

    def sign_in(self, key: str) -> None:
        self.page.locator("#key").fill(key)
        self.page.locator("#key-submit").click()
        expect(self.page.locator("#text")).to_be_visible()

    def ask(self, text: str) -> Locator:
        """Type and press Enter; the answer's article."""
        self.page.locator("#text").fill(text)
        self.page.locator("#text").press("Enter")
        return self.answers.last

    @property
    def answers(self) -> Locator:
        return self.page.locator("article.answer")

    @property
    def questions(self) -> Locator:
        return self.page.locator("article.question")

    def whole(self, answer: Locator | None = None) -> Locator:
        """Wait until an answer, the last unless said, has ended."""
        found = answer or self.answers.last
        expect(found).to_have_attribute("aria-busy", "false")
        return found

    def choose(self, *pictures: bytes, name: str = "picture", kind: str = "image/png") -> None:
        files: list[Any] = [
            {"name": f"{name}-{number}.png", "mimeType": kind, "buffer": data} for number, data in enumerate(pictures)
        ]
        self.page.locator("#files").set_input_files(files)

    def accessibility_faults(self) -> list[str]:
        """What axe-core calls serious or critical, a line each."""
        # Not by a script element: the page's policy forbids it, as it should.
        self.page.evaluate(AXE)
        found = self.page.evaluate("() => axe.run(document, {resultTypes: ['violations']})")
        return [
            f"{fault['id']}: {node['target']} {node['failureSummary']}"
            for fault in found["violations"]
            if fault["impact"] in ("serious", "critical")
            for node in fault["nodes"]
        ]

    def leave(self) -> None:
        """Check, and leave nothing behind for the next who uses this browser."""
        try:
            self.check()
        finally:
            self.page.evaluate(FORGET)
            self.page.close()

    def check(self) -> None:
        """No rule was broken. Raises AssertionError."""
        violations = self.page.evaluate("window.violations")
        assert not violations, violations
        assert not self.complaints, self.complaints
        strangers = [url for url in self.asked if not url.startswith((*self.homes, "blob:", "data:"))]
        assert not strangers, strangers


def drawn(width: int = 60, height: int = 40, colour: str = "#d02020", kind: str = "PNG", **options: Any) -> bytes:
    """A picture's file."""
    file = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(file, kind, **options)
    return file.getvalue()
