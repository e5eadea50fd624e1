// One row for each record, newest first; its digests and lengths unfold below it.

import { t } from "../reader/language.js";
import { count, when } from "./words.js";

const GOOD = ["completed"];
const BAD = ["engine_broke", "refused", "timed_out", "denied", "integrity", "gap"];

/** @param {any} row what /v1/audit/records says of one @returns {HTMLTableRowElement[]} */
export function rowsOf(row) {
  const { record, end } = row;
  const outcome = outcomeOf(row);
  const line = document.createElement("tr");
  const more = document.createElement("tr");
  more.hidden = true;
  const images = (record.images ?? []).map((/** @type {any} */ image) => `${image.width}×${image.height}`);
  line.append(
    cell(opener(record, row.index, more)),
    cell(badge(outcome, record)),
    cell(record.tenant ?? record.facts?.tenant ?? "–"),
    cell(record.key ?? "–"),
    cell(record.model ?? record.route ?? record.room ?? "–"),
    cell(images.join(" ") || "–"),
    cell(end ? `${count(end.prompt_tokens)} + ${count(end.answer_tokens)}` : "–", "number"),
    cell(count(end?.total_ms), "number"),
    cell(count(row.index), "number"),
  );
  const text = document.createElement("pre");
  text.textContent = JSON.stringify(end ? { record, end, end_leaf: row.end_index } : record, null, 2);
  const whole = cell(text, "more");
  whole.colSpan = 9;
  more.append(whole);
  return [line, more];
}

/** @param {any} row */
function outcomeOf(row) {
  const kind = row.record.kind;
  if (kind === "admit") return row.end ? row.end.outcome : row.end_unknown ? "unknown-end" : "running";
  return kind === "deny" ? "denied" : kind === "key" ? "key-change" : kind;
}

/** @param {string} outcome @param {any} record */
function badge(outcome, record) {
  const mark = document.createElement("span");
  mark.className = "outcome";
  mark.dataset.kind = GOOD.includes(outcome) ? "good" : BAD.includes(outcome) ? "bad" : "neither";
  const why = outcome === "denied" ? `: ${record.reason}${record.count ? ` ×${count(record.count)}` : ""}` : "";
  const event = outcome === "key-change" ? `: ${record.event}` : "";
  mark.textContent = t(outcome) + why + event;
  return mark;
}

/** @param {any} record @param {number} index @param {HTMLTableRowElement} more */
function opener(record, index, more) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = when(record.time_ms);
  button.title = t("details", { index: count(index) });
  button.setAttribute("aria-expanded", "false");
  button.addEventListener("click", () => {
    more.hidden = !more.hidden;
    button.setAttribute("aria-expanded", String(!more.hidden));
  });
  return button;
}

/** @param {Node | string} content @param {string} [kind] */
function cell(content, kind) {
  const element = document.createElement("td");
  if (kind) element.className = kind;
  element.append(content);
  return element;
}
