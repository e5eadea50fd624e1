// The line under an answer that says what was recorded, and what "verify" found.

import { locale, t } from "../reader/language.js";
import { button, el, icon, save } from "./dom.js";
import { checkReceipt, Refused } from "./proof.js";

const TRIES = 12;
const KEYS = "vitrine.log-keys";

/** @typedef {import("./conversation.js").Receipt} Receipt */

/** The time in a UUIDv7: its first 48 bits are Unix milliseconds. */
function timeOf(/** @type {string} */ id) {
  return new Date(Number.parseInt(id.replaceAll("-", "").slice(0, 12), 16));
}

function clock(/** @type {Date} */ time) {
  return new Intl.DateTimeFormat(locale(), { dateStyle: "medium", timeStyle: "medium" }).format(time);
}

/**
 * @param {Receipt} receipt
 * @param {import("./server.js").Server} server
 */
export function receiptLine(receipt, server) {
  const [, index, leaf] = receipt.leaf.split(" ");
  const found = el("div", { class: "verified", "aria-live": "polite" });
  const act = button(
    t("verify"),
    async () => {
      act.disabled = true;
      found.replaceChildren(el("p", { class: "quiet" }, t("verifying")));
      found.replaceChildren(await verified(receipt, server));
      act.disabled = false;
    },
    { kind: "small verify" },
  );
  const facts = el(
    "span",
    { class: "receipt-facts" },
    el("time", { datetime: timeOf(receipt.id).toISOString() }, t("recorded", { time: clock(timeOf(receipt.id)) })),
    el("code", { title: receipt.id }, `…${receipt.id.slice(-12)}`),
    el("span", { title: leaf }, t("leaf", { index: index ?? "?" })),
  );
  return el("div", { class: "receipt" }, el("div", { class: "receipt-line" }, icon("seal"), facts, act), found);
}

async function verified(/** @type {Receipt} */ receipt, /** @type {import("./server.js").Server} */ server) {
  if (!globalThis.crypto?.subtle) return verdict("part", t("noCrypto"));
  try {
    const given = await fetched(receipt, server);
    if (!given) return verdict("part", t("notYet"));
    const proofs = await checkReceipt(receipt, given);
    return report(proofs, given, keyOf(/** @type {any} */ (proofs[0]).origin, given.key));
  } catch (error) {
    if (error instanceof Refused) return verdict("bad", t("refused"), t(error.message, { date: remembered() }));
    const failure = /** @type {any} */ (error);
    if (failure.status === 404) return verdict("part", t("notYours"));
    return verdict("part", failure.kind ? t(`fail_${failure.kind}`) : String(failure.message));
  }
}

/** The proofs, once a signed head covers the exchange's end, too: at most a second later while the log is busy. */
async function fetched(/** @type {Receipt} */ receipt, /** @type {import("./server.js").Server} */ server) {
  let given = null;
  for (let attempt = 0; attempt < TRIES; attempt++) {
    given = await server.receipt(receipt);
    if (given?.proofs.length === 2) break;
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
  return given;
}

/** When the key that the last check asked for was remembered. */
let since = "";
function remembered() {
  return since;
}

/**
 * The log's key comes from the server, so a server that lies could bring its own: the first one seen is remembered.
 * @returns {string} what to say of it @throws {Refused} if it is another one
 */
function keyOf(/** @type {string} */ origin, /** @type {string} */ key) {
  const known = JSON.parse(localStorage.getItem(KEYS) ?? "{}");
  const before = known[origin];
  if (!before) {
    localStorage.setItem(KEYS, JSON.stringify({ ...known, [origin]: { key, since: Date.now() } }));
    return t("keyFirst");
  }
  since = new Intl.DateTimeFormat(locale(), { dateStyle: "medium" }).format(new Date(before.since));
  if (before.key !== key) throw new Refused("proof_other_key");
  return t("keySame", { date: since });
}

function verdict(
  /** @type {"good" | "part" | "bad"} */ kind,
  /** @type {string} */ head,
  /** @type {(string | Node)[]} */ ...more
) {
  const drawing = icon({ good: "check", part: "warn", bad: "cross" }[kind]);
  return el("div", { class: `verdict ${kind}` }, el("p", { class: "verdict-head" }, drawing, el("strong", {}, head)), ...more);
}

function report(/** @type {any[]} */ proofs, /** @type {any} */ given, /** @type {string} */ aboutKey) {
  const signed = proofs.every((proof) => proof.signature);
  const steps = [t("stepLeaf"), t("stepPath", { size: proofs[0].size }), t(signed ? "stepSignature" : "stepNoSignature")];
  const facts = [...factsOf(proofs.map((proof) => proof.record))];
  const rows = facts.flatMap(([name, value, digest]) => [
    el("dt", {}, t(name)),
    el("dd", {}, value, digest ? el("code", { class: "digest" }, digest) : null),
  ]);
  const keep = () =>
    given.proofs.forEach((/** @type {string} */ text, /** @type {number} */ at) => {
      save(new Blob([text], { type: "text/plain" }), `${proofs[at].record.id}-${proofs[at].record.kind}.tlog-proof`);
    });
  return verdict(
    signed ? "good" : "part",
    t(signed ? "verifiedAll" : "verifiedPart"),
    el("ol", { class: "steps" }, ...steps.map((step) => el("li", {}, step))),
    el("p", { class: "key" }, aboutKey, " ", el("code", {}, given.key)),
    el(
      "details",
      { open: true },
      el("summary", {}, t("logKnows")),
      el("p", { class: "quiet" }, t("logKnowsMore")),
      el("dl", {}, ...rows),
    ),
    button(t("saveProof"), keep, { kind: "small", icon: "save" }),
  );
}

/** @returns {Generator<[string, string, string?]>} name of a text, value, digest */
function* factsOf(/** @type {any[]} */ records) {
  const chars = (/** @type {any} */ text) => t("characters", { count: text.chars });
  for (const record of records) {
    if (record.kind === "admit") {
      yield ["fact_time", clock(new Date(record.time_ms))];
      yield ["fact_id", record.id];
      yield ["fact_caller", `${record.key} · ${record.tenant}`];
      yield ["fact_from", record.ip];
      yield ["fact_model", record.model];
      if (record.prompt) yield ["fact_prompt", chars(record.prompt), record.prompt.digest];
      if (record.conversation) yield ["fact_conversation", chars(record.conversation), record.conversation.digest];
      for (const image of record.images ?? []) {
        yield ["fact_image", `${image.type}, ${image.width} × ${image.height}, ${image.bytes} B`, image.digest];
      }
      const params = Object.entries(record.params ?? {}).map(([name, value]) => `${name} ${value}`);
      if (params.length) yield ["fact_params", params.join(", ")];
    } else if (record.kind === "complete") {
      yield ["fact_outcome", [record.outcome, record.finish].filter(Boolean).join(", ")];
      if (record.answer) yield ["fact_answer", chars(record.answer), record.answer.digest];
      if (record.answer_tokens !== null) {
        yield ["fact_tokens", t("tokens", { asked: record.prompt_tokens, answered: record.answer_tokens })];
      }
      if (record.ttft_ms !== null) yield ["fact_took", t("took", { first: record.ttft_ms, total: record.total_ms })];
    }
  }
}
