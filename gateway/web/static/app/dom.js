// Makes elements; never from a string of HTML.

const SVG = "http://www.w3.org/2000/svg";

/**
 * An element with attributes, properties (`.name`), listeners (`onname`) and children; null and false are left out.
 * @param {string} tag
 * @param {Record<string, any>} [given]
 * @param {...(Node | string | null | false | undefined)} children
 * @returns {any}
 */
export function el(tag, given = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name.startsWith(".")) Object.assign(element, { [name.slice(1)]: value });
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/**
 * One of the drawings at the top of index.html; read by nobody, seen only.
 * @param {string} name
 */
export function icon(name) {
  const drawing = document.createElementNS(SVG, "svg");
  drawing.setAttribute("class", "icon");
  drawing.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#icon-${name}`);
  drawing.append(use);
  return drawing;
}

/**
 * A button: a drawing with a name, or a name alone.
 * @param {string} label
 * @param {(event: Event) => void} act
 * @param {{icon?: string, kind?: string, bare?: boolean, disabled?: boolean, more?: Record<string, any>}} [looks]
 *   `bare` shows the drawing alone
 */
export function button(label, act, looks = {}) {
  const name = looks.bare ? { "aria-label": label, title: label } : {};
  return el(
    "button",
    { type: "button", class: looks.kind ?? "plain", onclick: act, disabled: looks.disabled, ...name, ...looks.more },
    looks.icon ? icon(looks.icon) : null,
    looks.bare ? null : el("span", {}, label),
  );
}

/** @returns {any} the element with this id, which index.html has */
export function byId(/** @type {string} */ id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`no element ${id}`);
  return found;
}

/** An id for things of this browser. crypto.randomUUID is missing where the page came over plain HTTP. */
export function newId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * Put a text on the clipboard, also where the page came over plain HTTP and the newer way is missing.
 * @param {string} text
 */
export async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = el("textarea", { ".value": text, class: "unseen", "aria-hidden": "true" });
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

/**
 * Hand the reader a file.
 * @param {Blob} content @param {string} name
 */
export function save(content, name) {
  const url = URL.createObjectURL(content);
  el("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
