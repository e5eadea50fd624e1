// The language that people read, and how it is chosen; a page brings its own sentences.

const STORED = "vitrine.language";
/** @type {Record<string, Record<string, string>>} */
let texts = {};
let current = "en";

/**
 * The reader's own choice, or the browser's first language that we have.
 * @param {Record<string, Record<string, string>>} sentences the page's, by language and name
 */
export function chooseLanguage(sentences) {
  texts = sentences;
  const wishes = [localStorage.getItem(STORED) ?? "", ...navigator.languages];
  apply(wishes.map((tag) => tag.slice(0, 2).toLowerCase()).find((tag) => tag in texts) ?? "en");
}

export function switchLanguage() {
  const next = current === "en" ? "zh" : "en";
  localStorage.setItem(STORED, next);
  apply(next);
}

export function language() {
  return current;
}

/** The locale for numbers and times. */
export function locale() {
  return current === "zh" ? "zh-CN" : "en-GB";
}

/**
 * A sentence in the reader's language.
 * @param {string} name @param {Record<string, string | number>} [values] for its {places}
 */
export function t(name, values = {}) {
  const text = texts[current][name];
  if (text === undefined) throw new Error(`no text ${name}`);
  return text.replace(/\{(\w+)\}/g, (_, place) => String(values[place] ?? ""));
}

/** @param {string} next */
function apply(next) {
  current = next;
  document.documentElement.lang = next === "zh" ? "zh-CN" : "en";
  for (const element of document.querySelectorAll("[data-t]")) {
    element.textContent = t(/** @type {HTMLElement} */ (element).dataset.t ?? "");
  }
  for (const element of document.querySelectorAll("[data-label]")) {
    const name = t(/** @type {HTMLElement} */ (element).dataset.label ?? "");
    element.setAttribute("aria-label", name);
    if (element.tagName === "BUTTON") element.setAttribute("title", name);
  }
  for (const element of document.querySelectorAll("[data-hint]")) {
    element.setAttribute("placeholder", t(/** @type {HTMLElement} */ (element).dataset.hint ?? ""));
  }
}
