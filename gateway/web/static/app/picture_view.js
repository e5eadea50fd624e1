// Shows pictures: small, large, and with the boxes that an answer named.

import { language, locale, t } from "../reader/language.js";
import { button, byId, el } from "./dom.js";
import { shownUrl } from "./pictures.js";

/** @typedef {import("./pictures.js").Picture} Picture */
/** @typedef {import("./boxes.js").Box} Box */

const COLOURS = 6;

function sizeOf(/** @type {number} */ bytes) {
  const [size, unit] = bytes < 1_000_000 ? [bytes / 1000, "kilobyte"] : [bytes / 1_000_000, "megabyte"];
  return new Intl.NumberFormat(locale(), { style: "unit", unit, maximumFractionDigits: size < 10 ? 1 : 0 }).format(size);
}

/** What is said of a picture's size: what the model sees, and what it was if it was larger. */
export function sizeText(/** @type {Picture} */ { width, height, original }) {
  if (original.width === width && original.height === height) return t("pictureSize", { width, height });
  const bytes = sizeOf(original.bytes);
  return t("pictureShrunk", { width, height, originalWidth: original.width, originalHeight: original.height, bytes });
}

/** A picture's name, or its place among the others. */
export function nameOf(/** @type {Picture} */ picture, /** @type {number} */ index) {
  return picture.name || t("picture", { number: index + 1 });
}

function image(/** @type {Picture} */ picture, /** @type {string} */ name) {
  return el("img", { src: shownUrl(picture), alt: name, width: picture.width, height: picture.height });
}

/** A small picture that opens the large one. */
export function thumbnail(/** @type {Picture} */ picture, /** @type {number} */ index) {
  const name = nameOf(picture, index);
  const act = () => enlarge(picture, name);
  return el(
    "button",
    { type: "button", class: "thumbnail", "aria-label": t("enlarge", { name }), onclick: act },
    image(picture, name),
  );
}

function enlarge(/** @type {Picture} */ picture, /** @type {string} */ name) {
  const dialog = byId("enlarged");
  dialog.querySelector(".shown").replaceChildren(image(picture, name));
  dialog.querySelector(".caption").textContent = `${name} · ${sizeText(picture)}`;
  dialog.showModal();
}

/**
 * A picture with boxes on it, and a list of them for those who don't see it.
 * @param {Picture[]} pictures those that the answer may mean; the reader chooses where there are several
 * @param {Box[]} boxes
 */
export function boxedPicture(pictures, boxes) {
  const stage = el("div", { class: "stage" });
  const choice = el("div", { class: "choice", role: "group", "aria-label": t("onPicture") });
  const show = (/** @type {number} */ index) => {
    const picture = /** @type {Picture} */ (pictures[index]);
    stage.replaceChildren(image(picture, nameOf(picture, index)), ...boxes.map((box, number) => drawn(box, number)));
    for (const [at, act] of [...choice.children].entries()) act.setAttribute("aria-pressed", String(at === index));
  };
  if (pictures.length > 1) {
    choice.append(el("span", {}, t("onPicture")));
    choice.replaceChildren(
      ...pictures.map((picture, index) => button(nameOf(picture, index), () => show(index), { kind: "small" })),
    );
  }
  show(0);
  const listed = boxes.map((box, number) =>
    el("li", { "data-box": number + 1 }, titled(box, number), " ", el("span", { class: "quiet" }, t("boxAt", rounded(box))))
  );
  return el("figure", { class: "boxed", "aria-label": t("found") }, stage, choice, el("figcaption", {}, el("ul", {}, ...listed)));
}

function titled(/** @type {Box} */ box, /** @type {number} */ number) {
  return box.label ? t("boxOf", { number: number + 1, label: box.label }) : t("box", { number: number + 1 });
}

function rounded(/** @type {Box} */ { left, top, right, bottom }) {
  return { left: Math.round(left), top: Math.round(top), right: Math.round(right), bottom: Math.round(bottom) };
}

function drawn(/** @type {Box} */ box, /** @type {number} */ number) {
  const label = el("span", { class: "box-label" }, box.label ? `${number + 1} ${box.label}` : `${number + 1}`);
  const frame = el(
    "div",
    { class: `box colour-${number % COLOURS}`, "data-box": number + 1, "aria-hidden": "true", lang: language() },
    label,
  );
  if (box.top < 60) frame.classList.add("label-inside");
  frame.style.left = `${box.left / 10}%`;
  frame.style.top = `${box.top / 10}%`;
  frame.style.width = `${(box.right - box.left) / 10}%`;
  frame.style.height = `${(box.bottom - box.top) / 10}%`;
  return frame;
}
