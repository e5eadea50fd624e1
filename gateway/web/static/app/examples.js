// Pictures to begin with, and good questions about them. The miniature is asked what it can answer.

import { language } from "../reader/language.js";
import { byId, el } from "./dom.js";

/** @typedef {{file: string, en: string, zh: string}} Example */

/** @type {Example[]} */
const FOR_MINIATURE = [
  { file: "circle-and-square.png", en: "Locate the red circle.", zh: "描述这张图片。" },
  { file: "three-shapes.png", en: "Describe the picture.", zh: "描述这张图片。" },
  { file: "word.png", en: "What does the text say?", zh: "图中写了什么？" },
];
/** @type {Example[]} */
const FOR_LARGE = [
  {
    file: "chart.png",
    en: "Read this chart into a table and say what stands out.",
    zh: "把这张图表整理成表格，并说明最突出的一点。",
  },
  { file: "bill.png", en: "Check the sum on this bill, step by step.", zh: "逐步核对这张账单的合计。" },
  {
    file: "three-shapes.png",
    en: "Find each shape and give its bounding box.",
    zh: "找出每个图形，并给出它的边界框。",
  },
];

/**
 * @param {string[]} models those that are served
 * @param {(picture: Blob & {name?: string}, question: string) => void} ask
 */
export function showExamples(models, ask) {
  const examples = models.some((model) => model.includes("miniature")) ? FOR_MINIATURE : FOR_LARGE;
  byId("examples").replaceChildren(
    ...examples.map((example) => {
      const question = language() === "zh" ? example.zh : example.en;
      const url = `/static/examples/${example.file}`;
      const act = async () => ask(new File([await (await fetch(url)).blob()], example.file, { type: "image/png" }), question);
      return el(
        "li",
        {},
        el(
          "button",
          { type: "button", class: "example", onclick: act },
          el("img", { src: url, alt: "", width: 336, height: 336 }),
          el("span", {}, question),
        ),
      );
    }),
  );
}
