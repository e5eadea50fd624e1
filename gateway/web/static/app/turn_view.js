// Shows one turn of a conversation: a question, or an answer as it grows.

import { t } from "../reader/language.js";
import { findBoxes } from "./boxes.js";
import { button, copy, el, icon } from "./dom.js";
import { notice } from "./failures.js";
import { rendered } from "./markdown.js";
import { boxedPicture, sizeText, thumbnail } from "./picture_view.js";
import { receiptLine } from "./receipt_view.js";

/** @typedef {import("./conversation.js").Answer} Answer */
/** @typedef {import("./conversation.js").Question} Question */

function copyButton(/** @type {() => string} */ text) {
  const act = button(
    t("copy"),
    async () => {
      await copy(text());
      act.setAttribute("aria-label", t("copied"));
      act.replaceChildren(icon("check"));
    },
    { icon: "copy", bare: true, kind: "tool" },
  );
  return act;
}

/**
 * @param {Question} turn
 * @param {{ask: (text: string) => void}} ways asking it again, changed
 */
export function questionView(turn, ways) {
  const body = el("div", { class: "question-body" });
  const article = el("article", { class: "turn question", "aria-label": t("you"), "data-turn": turn.id }, body);
  const show = () => {
    const pictures = turn.pictures.map((picture, index) =>
      el("figure", {}, thumbnail(picture, index), el("figcaption", {}, sizeText(picture)))
    );
    const tools = el(
      "div",
      { class: "tools" },
      button(t("edit"), change, { icon: "edit", bare: true, kind: "tool" }),
      turn.text ? copyButton(() => turn.text) : null,
    );
    body.replaceChildren(
      pictures.length ? el("div", { class: "pictures" }, ...pictures) : "",
      turn.text ? el("p", { class: "bubble" }, turn.text) : "",
      tools,
    );
  };
  const change = () => {
    const area = el("textarea", { ".value": turn.text, "aria-label": t("question"), rows: "3" });
    const send = () => ways.ask(area.value.trim());
    area.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      if (event.key === "Escape") show();
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        send();
      }
    });
    const actions = el("div", { class: "actions" }, button(t("cancel"), show), button(t("askAgain"), send, { kind: "main" }));
    body.replaceChildren(el("div", { class: "editing" }, area, actions));
    area.focus();
  };
  show();
  return { article, change };
}

/** An answer that is shown, and shown anew as it grows. */
export class AnswerView {
  /**
   * @param {Answer} turn
   * @param {import("./pictures.js").Picture[]} pictures those that its boxes are drawn on
   * @param {import("./failures.js").WaysOut} ways
   * @param {import("./server.js").Server} server
   */
  constructor(turn, pictures, ways, server) {
    Object.assign(this, { turn, pictures, ways, server });
    this.turn = turn;
    this.pictures = pictures;
    this.ways = ways;
    this.server = server;
    this.thoughts = el("details", { class: "thinking" }, el("summary", {}), el("div", { class: "thought" }));
    this.prose = el("div", { class: "prose" });
    this.below = el("div", { class: "below" });
    this.article = el(
      "article",
      { class: "turn answer", "aria-label": t("answer"), "data-turn": turn.id },
      this.thoughts,
      this.prose,
      this.below,
    );
    this.frame = 0;
    this.slow = 0;
    this.show();
  }

  /** Show it soon: a fast stream is not drawn for each of its words, a long text less often. */
  refresh() {
    if (this.frame) return;
    this.frame = window.setTimeout(
      () => {
        this.frame = 0;
        const before = performance.now();
        this.show();
        this.slow = performance.now() - before;
      },
      Math.max(40, 4 * this.slow),
    );
  }

  show() {
    clearTimeout(this.frame);
    this.frame = 0;
    const { turn } = this;
    const running = turn.ending === "running";
    const { text, boxes } = findBoxes(turn.text);
    this.article.setAttribute("aria-busy", String(running));
    this.thoughts.hidden = !turn.thinking;
    this.thoughts.firstElementChild.textContent = t(running && !turn.text ? "thinkingNow" : "thinking");
    this.thoughts.lastElementChild.textContent = turn.thinking;
    this.prose.replaceChildren(rendered(text));
    numbered(this.prose, this.article);
    if (running && !turn.text) this.prose.append(el("p", { class: "pulse" }, t(turn.thinking ? "thinkingNow" : "answering")));
    const figure = boxes.length && this.pictures.length ? boxedPicture(this.pictures, boxes) : "";
    this.below.replaceChildren(figure, ...turn.calls.filter(Boolean).map(callView), ...(running ? [] : this.footer()));
  }

  *footer() {
    const { turn, ways } = this;
    if (turn.ending === "stopped") yield el("p", { class: "quiet" }, t("stopped"));
    if (turn.ending === "failed" || turn.ending === "cut") {
      const failure = turn.failure ?? { kind: "cut" };
      yield notice(failure, turn.text ? ways : { ...ways, goOn: undefined });
    }
    const failedEmpty = turn.ending === "failed" && !turn.text;
    if (!failedEmpty) {
      yield el(
        "div",
        { class: "tools" },
        turn.text ? copyButton(() => turn.text) : null,
        button(t("askAgain"), () => ways.again?.(), { icon: "again", bare: true, kind: "tool" }),
      );
    }
    for (const receipt of turn.receipts) yield receiptLine(receipt, this.server);
  }
}

/** Each ⟦n⟧ in the text becomes a mark that lights up its box. */
function numbered(/** @type {HTMLElement} */ prose, /** @type {HTMLElement} */ article) {
  const walker = document.createTreeWalker(prose, NodeFilter.SHOW_TEXT);
  /** @type {Text[]} */
  const texts = [];
  while (walker.nextNode()) texts.push(/** @type {Text} */ (walker.currentNode));
  for (const text of texts.filter((node) => /⟦\d+⟧/.test(node.data))) {
    const parts = text.data.split(/⟦(\d+)⟧/).map((part, at) => (at % 2 ? mark(part, article) : part));
    text.replaceWith(...parts);
  }
}

function mark(/** @type {string} */ number, /** @type {HTMLElement} */ article) {
  const light = (/** @type {boolean} */ on) => () => {
    for (const box of article.querySelectorAll(`.box[data-box="${number}"]`)) box.classList.toggle("lit", on);
  };
  return el(
    "span",
    {
      class: `box-mark colour-${(Number(number) - 1) % 6}`,
      title: t("box", { number }),
      onmouseenter: light(true),
      onmouseleave: light(false),
    },
    number,
  );
}

function callView(/** @type {{name: string, arguments: string}} */ call) {
  let shown = call.arguments;
  try {
    shown = JSON.stringify(JSON.parse(call.arguments), null, 2);
  } catch {
    // Still coming, or cut short: shown as it is.
  }
  return el(
    "div",
    { class: "call" },
    el("p", {}, icon("tool"), t("toolCall", { name: "" }), el("code", {}, call.name)),
    el("pre", { tabindex: "0" }, el("code", {}, shown)),
  );
}
