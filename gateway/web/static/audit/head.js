// The head: green, red or not known yet, and what exactly was checked and when.

import { t } from "../reader/language.js";
import { count, when } from "./words.js";

const byId = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(id));

/** @param {any} head what /v1/audit/head says */
export function showHead(head) {
  const checked = head.checked;
  const verdict = checked === null ? "unknown" : checked.good ? "good" : "bad";
  byId("head").dataset.verdict = verdict;
  byId("head-verdict").textContent = t(verdict);
  byId("head-words").textContent = words(head, checked);
  const told = checked?.lost ? [t("lost", { lost: count(checked.lost) })] : [];
  const fault = checked?.fault ?? [...told, ...(checked?.silences ?? [])].join(" ");
  byId("head-fault").textContent = fault;
  byId("head-fault").hidden = !fault;
  byId("head-note").textContent = head.head.note;
  byId("head-facts").replaceChildren(...facts(head, checked).flatMap(([name, value]) => row(t(name), value)));
}

/** @param {any} head @param {any} checked */
function words(head, checked) {
  const parts = [];
  if (checked?.good) {
    parts.push(t("good-words", {
      time: when(checked.at_ms),
      took: count(checked.took_ms),
      signed: count(checked.signed_records),
      unsigned: count(checked.unsigned_records),
    }));
  } else if (checked) {
    parts.push(t("bad-words", { time: when(checked.at_ms), code: checked.exit_code }));
  }
  if (head.checking) parts.push(t("checking", { at: count(head.checking_at_record) }));
  return parts.join(" ");
}

/** @param {any} head @param {any} checked @returns {[string, string][]} */
function facts(head, checked) {
  /** @type {[string, string][]} */
  const known = [
    ["fact-origin", head.origin],
    ["fact-root", head.head.root],
    ["fact-signed", when(head.head.signed_ms)],
    ["fact-key", head.public_key],
  ];
  if (checked?.heads === undefined) return known;
  const kinds = Object.entries(checked.kinds).map(([kind, number]) => `${kind} ${count(Number(number))}`);
  return [
    ...known,
    ["fact-heads", count(checked.heads)],
    ["fact-segments", count(checked.segments)],
    ["fact-anchors", count(checked.anchors)],
    ["fact-first", when(checked.first_ms)],
    ["fact-last", when(checked.last_ms)],
    ["fact-kinds", kinds.join(", ")],
    ["fact-open", count(checked.open_exchanges)],
    ["fact-pruned", count(checked.pruned_records)],
    ["fact-torn", count(checked.torn_bytes)],
  ];
}

/** @param {string} name @param {string} value */
function row(name, value) {
  const term = document.createElement("dt");
  const text = document.createElement("dd");
  const code = document.createElement("code");
  term.textContent = name;
  code.textContent = value;
  text.append(code);
  return [term, text];
}
