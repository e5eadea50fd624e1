// The auditor's view: who may look, the head, the records. Puts the parts together.

import { chooseLanguage, switchLanguage, t } from "../reader/language.js";
import { applyTheme, switchTheme } from "../reader/theme.js";
import { showHead } from "./head.js";
import { Picture } from "./picture.js";
import { Refused, Server } from "./server.js";
import { rowsOf } from "./table.js";
import { count, TEXTS } from "./words.js";

const KINDS = [
  "exchange",
  "deny",
  "key",
  "boot",
  "integrity",
  "gap",
  "recovery",
  "seal",
  "segment",
  "rhythm",
  "prune",
  "shred",
  "shutdown",
];
const OUTCOMES = ["completed", "client_left", "engine_broke", "refused", "timed_out", "running", "denied"];
const HEAD_EVERY_MS = 15_000;
const HEAD_SOON_MS = 1_500;

const byId = (/** @type {string} */ id) => /** @type {any} */ (document.getElementById(id));
const server = new Server();
const picture = new Picture(() => show(), (text) => fail("fault", text));

/** @type {any[]} */
let rows = [];
/** @type {any} */
let head = null;
/** @type {{sentence: string, values: Record<string, number>}} */
let said = { sentence: "", values: {} };
let turn = 0; // of several questions only the last one's answer is shown
let cursor = "";
let headTimer = 0;

/** @param {string} place @param {string} text */
function fail(place, text) {
  byId(place).textContent = text;
}

/** @param {unknown} error */
function sentenceOf(error) {
  if (!(error instanceof Refused)) return t("not-reached");
  if (error.code === "session_over") return t("session-over");
  if (error.status === 403 && error.code === "insufficient_permissions") return t("no-scope");
  return error.retry_s && error.status === 429 ? `${error.message} ${t("wait", { seconds: error.retry_s })}` : error.message;
}

/** @param {unknown} error @param {string} place */
function meet(error, place) {
  if (error instanceof Refused && [401, 403].includes(error.status)) {
    server.forget();
    signedOut();
    place = "way-in-fault";
  }
  fail(place, sentenceOf(error));
}

function signedOut() {
  document.body.dataset.state = "out";
  clearTimeout(headTimer);
  byId("who").textContent = "";
  rows = [];
  draw();
  byId("key-form").hidden = !server.methods.includes("key");
  byId("name-form").hidden = !server.methods.includes("ldap");
  byId(server.methods.includes("ldap") ? "user" : "key").focus();
}

async function enter() {
  fail("way-in-fault", "");
  fail("fault", "");
  try {
    head = await server.head();
  } catch (error) {
    if (!(error instanceof Refused && error.code === "log_unreadable")) return meet(error, "way-in-fault");
    fail("fault", sentenceOf(error));
  }
  document.body.dataset.state = "in";
  byId("who").textContent = server.name;
  drawHead();
  await show();
}

function drawHead() {
  if (head) showHead(head);
  else byId("head-verdict").textContent = t("unknown");
  clearTimeout(headTimer);
  headTimer = setTimeout(askHead, head?.checking ? HEAD_SOON_MS : HEAD_EVERY_MS);
}

async function askHead() {
  if (document.body.dataset.state !== "in") return;
  try {
    head = await server.head();
  } catch (error) {
    return meet(error, "fault");
  }
  drawHead();
}

function filters() {
  /** @type {Record<string, string>} */
  const found = picture.sha256 ? { image: picture.sha256 } : {};
  for (const [name, value] of new FormData(byId("filters"))) {
    if (!value || typeof value !== "string") continue;
    found[name] = name.endsWith("_ms") ? String(new Date(value).getTime()) : value.trim();
  }
  return found;
}

/** Show the newest that fit, or with `more` those before what is shown. */
async function show(more = false) {
  const mine = ++turn;
  if (!more) {
    rows = [];
    cursor = "";
  }
  fail("fault", "");
  say("reading");
  byId("older").disabled = true;
  const wanted = filters();
  let looked = 0;
  /** @type {Set<string>} */
  const blind = new Set();
  try {
    const before = rows.length;
    // A long log is read in pieces of some seconds: on, until something is found or it ends.
    do {
      const page = await server.records(cursor ? { ...wanted, before: cursor } : wanted);
      if (mine !== turn) return;
      looked += page.looked_at;
      for (const epoch of page.blind ?? []) blind.add(epoch);
      rows.push(...page.rows);
      cursor = page.next === null ? "" : String(page.next);
      if (rows.length === before && cursor) say("going-on", { looked });
      else if (rows.length) say(page.pruned && !cursor ? "pruned" : "found", { rows: rows.length, records: page.records, looked });
      else say("none", { looked });
    } while (rows.length === before && cursor);
    if (blind.size) fail("fault", t("blind", { epochs: [...blind].join(", ") }));
  } catch (error) {
    say("");
    meet(error, "fault");
  }
  draw();
}

function draw() {
  byId("rows").replaceChildren(...rows.flatMap(rowsOf));
  byId("older").hidden = !cursor || !rows.length;
  byId("older").disabled = false;
}

/** @param {string} sentence @param {Record<string, number>} [values] */
function say(sentence, values = {}) {
  said = { sentence, values };
  const shown = Object.fromEntries(Object.entries(values).map(([name, value]) => [name, count(value)]));
  byId("said").textContent = sentence && t(sentence, shown);
}

/** @param {string} name @param {string[]} values */
function choices(name, values) {
  const select = byId("filters").elements[name];
  const chosen = select.value;
  const options = ["", ...values].map((value) => {
    const word = value === "" ? "any" : value === "key" ? "key-change" : value;
    return new Option(t(word), value);
  });
  select.replaceChildren(...options);
  select.value = chosen;
}

function drawAll() {
  choices("kind", KINDS);
  choices("outcome", OUTCOMES);
  if (head) showHead(head);
  say(said.sentence, said.values);
  draw();
}

function listen() {
  byId("language").addEventListener("click", () => {
    switchLanguage();
    drawAll();
  });
  byId("theme").addEventListener("click", switchTheme);
  byId("leave").addEventListener("click", async () => {
    await server.leave().catch(() => server.forget());
    signedOut();
  });
  byId("check-again").addEventListener("click", askHead);
  byId("older").addEventListener("click", () => show(true));
  byId("filters").addEventListener("submit", (/** @type {Event} */ event) => {
    event.preventDefault();
    show();
  });
  byId("filters").addEventListener("reset", () => {
    picture.clear();
    setTimeout(() => show()); // when the fields are empty
  });
  byId("key-form").addEventListener("submit", (/** @type {Event} */ event) => {
    event.preventDefault();
    server.useKey(byId("key").value.trim());
    byId("key").value = "";
    enter();
  });
  byId("name-form").addEventListener("submit", async (/** @type {Event} */ event) => {
    event.preventDefault();
    const password = byId("password").value;
    byId("password").value = "";
    try {
      await server.signIn(byId("user").value, password);
    } catch (error) {
      return fail("way-in-fault", sentenceOf(error));
    }
    enter();
  });
}

async function begin() {
  applyTheme();
  chooseLanguage(TEXTS);
  drawAll();
  listen();
  await server.discover().catch((error) => fail("way-in-fault", sentenceOf(error)));
  if (server.signedIn) await enter();
  else signedOut();
}

begin();
