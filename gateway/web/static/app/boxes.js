// Finds the boxes that a model wrote: `<|begin_of_box|>[[x1,y1,x2,y2],...]<|end_of_box|>` on a grid of 0 to 1000; pure.

/** @typedef {{left: number, top: number, right: number, bottom: number, label: string}} Box */

const MARKED = /<\|begin_of_box\|>([\s\S]*?)(?:<\|end_of_box\|>|$)/g;
const GRID = 1000;
const LONGEST_LABEL = 40;

/**
 * Takes the marks out of a text. Boxes become their numbers (⟦1⟧), which markdown.js turns into buttons; whatever else
 * stands between the marks is the model's final word, and becomes bold.
 * @param {string} text
 * @returns {{text: string, boxes: Box[]}}
 */
export function findBoxes(text) {
  /** @type {Box[]} */
  const boxes = [];
  const plain = text.replace(MARKED, (_whole, inside, at) => {
    const found = read(inside);
    if (!found.length) return inside.includes("[[") ? "" : emphasised(inside);
    const before = labelBefore(text.slice(0, at));
    return found
      .map((box) => {
        boxes.push({ ...box, label: box.label || (found.length === 1 ? before : "") });
        return `⟦${boxes.length}⟧`;
      })
      .join(" ");
  });
  return { text: plain.replace(/<\|begin_of_b?o?x?\|?$/, ""), boxes };
}

/** @returns {Box[]} */
function read(/** @type {string} */ inside) {
  let value;
  try {
    value = JSON.parse(inside);
  } catch {
    return [];
  }
  const list = Array.isArray(value) && value.every((edge) => typeof edge === "number") ? [value] : value;
  return (Array.isArray(list) ? list : [list]).map(boxOf).filter((box) => box !== null);
}

/** @returns {Box | null} of four numbers, or of an object with a name and four numbers, as some prompts ask for */
function boxOf(/** @type {any} */ value) {
  const edges = Array.isArray(value) ? value : (value?.bbox_2d ?? value?.bbox ?? value?.box);
  if (!Array.isArray(edges) || edges.length !== 4 || !edges.every((edge) => Number.isFinite(edge))) return null;
  const [x1, y1, x2, y2] = edges.map((edge) => Math.min(GRID, Math.max(0, edge)));
  const box = { left: Math.min(x1, x2), right: Math.max(x1, x2), top: Math.min(y1, y2), bottom: Math.max(y1, y2) };
  if (box.left === box.right || box.top === box.bottom) return null;
  return { ...box, label: String(value.label ?? value.name ?? "").slice(0, LONGEST_LABEL) };
}

/** What the line said before the box, if it is short enough to be its name. */
function labelBefore(/** @type {string} */ text) {
  const words = text
    .slice(text.lastIndexOf("\n") + 1)
    .replace(/<\|[^>]*\|>/g, "")
    .split(/[。.;；,，、]|\]\]/)
    .pop()
    ?.replace(/^[\s\-*#\d)]+|[\s::：**]+$/g, "");
  return words && words.length <= LONGEST_LABEL ? words : "";
}

function emphasised(/** @type {string} */ inside) {
  const word = inside.trim();
  return word && !/[\n*]/.test(word) ? `**${word}**` : inside;
}
