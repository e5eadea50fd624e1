// From a model's text to elements: Markdown, formulas, code. Whatever the text holds, nothing of it runs or is fetched.

import { t } from "../reader/language.js";
import { Marked } from "../vendor/marked.js";
import "../vendor/dompurify.js";
import { button, copy, el } from "./dom.js";

const DOMPurify = /** @type {any} */ (globalThis).DOMPurify;
/** @type {Promise<any> | null} */
let katex = null;

const mathBlock = {
  name: "mathBlock",
  level: "block",
  start: (/** @type {string} */ text) => text.match(/\$\$|\\\[/)?.index,
  tokenizer(/** @type {string} */ text) {
    const found = /^\$\$([\s\S]+?)\$\$(?:\n|$)/.exec(text) ?? /^\\\[([\s\S]+?)\\\](?:\n|$)/.exec(text);
    return found ? { type: "mathBlock", raw: found[0], text: found[1].trim() } : undefined;
  },
  renderer: (/** @type {any} */ token) => `<div class="formula">${escape(token.text)}</div>`,
};
const mathInline = {
  name: "mathInline",
  level: "inline",
  start: (/** @type {string} */ text) => text.match(/\$|\\[([]/)?.index,
  tokenizer(/** @type {string} */ text) {
    // A dollar before a digit's end is money: "$5 and $6" is no formula.
    const found = /^\\\(([\s\S]+?)\\\)/.exec(text) ??
      /^\\\[([\s\S]+?)\\\]/.exec(text) ??
      /^\$\$([^$]+?)\$\$/.exec(text) ??
      /^\$((?:[^\s$\\]|\\.)(?:(?:[^$\\\n]|\\.)*?(?:[^\s$\\]|\\.))?)\$(?!\d)/.exec(text);
    return found ? { type: "mathInline", raw: found[0], text: found[1] } : undefined;
  },
  renderer: (/** @type {any} */ token) => `<span class="formula">${escape(token.text)}</span>`,
};

const marked = new Marked({
  gfm: true,
  breaks: true,
  extensions: [mathBlock, mathInline],
  renderer: {
    html: (/** @type {any} */ token) => escape(token.raw), // HTML in an answer is shown, not followed
    image: (/** @type {any} */ token) => escape(token.raw), // nor is a picture fetched that a model names
  },
});

/**
 * @param {string} text
 * @returns {DocumentFragment}
 */
export function rendered(text) {
  const fragment = DOMPurify.sanitize(marked.parse(text), {
    USE_PROFILES: { html: true },
    FORBID_TAGS: ["img", "style", "form", "input", "button", "video", "audio", "svg"],
    FORBID_ATTR: ["style", "id", "name"],
    ALLOW_DATA_ATTR: false,
    ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i,
    ADD_URI_SAFE_ATTR: ["align", "start"], // their values are no addresses, or the line above would drop them
    RETURN_DOM_FRAGMENT: true,
  });
  for (const link of fragment.querySelectorAll("a")) {
    link.target = "_blank";
    link.rel = "noopener noreferrer nofollow";
  }
  for (const table of fragment.querySelectorAll("table")) {
    const wide = el("div", { class: "wide", tabindex: "0", role: "region", "aria-label": t("table") });
    table.replaceWith(wide);
    wide.append(table);
  }
  for (const code of fragment.querySelectorAll("pre > code")) dressCode(/** @type {HTMLElement} */ (code));
  for (const formula of fragment.querySelectorAll(".formula")) typeset(/** @type {HTMLElement} */ (formula));
  return fragment;
}

function dressCode(/** @type {HTMLElement} */ code) {
  const pre = /** @type {HTMLElement} */ (code.parentElement);
  const language = [...code.classList].find((name) => name.startsWith("language-"))?.slice(9) ?? "";
  const frame = el("div", { class: "code" });
  pre.replaceWith(frame);
  pre.tabIndex = 0;
  const act = button(
    t("copyCode"),
    async () => {
      await copy(code.textContent ?? "");
      act.textContent = t("copied");
    },
    { kind: "small" },
  );
  frame.append(el("div", { class: "code-head" }, el("span", {}, language), act), pre);
}

/** MathML, which the browser sets itself: it needs no fonts and no styles of ours. What is no formula stays as it was written. */
async function typeset(/** @type {HTMLElement} */ place) {
  const tex = place.textContent ?? "";
  katex ??= import("../vendor/katex.js").then(() => /** @type {any} */ (globalThis).katex);
  const { __renderToDomTree: treeOf } = await katex;
  try {
    const tree = treeOf(tex, {
      output: "mathml",
      displayMode: place.tagName === "DIV",
      trust: false,
      maxExpand: 200,
      maxSize: 20,
      strict: false,
    });
    place.replaceChildren(unstyled(tree).toNode());
  } catch {
    place.classList.add("unset");
  }
}

/** Without the style attributes that KaTeX gives to a few elements: the page's policy would refuse them. */
function unstyled(/** @type {any} */ node) {
  if (node.attributes) delete node.attributes.style;
  for (const child of node.children ?? []) unstyled(child);
  return node;
}

function escape(/** @type {string} */ text) {
  return text.replace(/[&<>"']/g, (letter) => `&#${letter.charCodeAt(0)};`);
}
