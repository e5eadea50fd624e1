// What went wrong, as people meet it: a sentence in their language and the ways out.

import { t } from "../reader/language.js";
import { button, el, icon } from "./dom.js";

/** Those after which the same question may be asked again; the others need a change first. */
const AGAIN = new Set(["over_limit", "busy", "loading", "unreachable", "lost", "broke", "timed_out", "too_many_logins"]);
/** Those in the middle of an answer: what came stays, and the model can go on. */
const BROKEN = new Set(["lost", "broke"]);

/**
 * @typedef {{again?: () => void, goOn?: () => void, edit?: () => void, signIn?: () => void, fresh?: () => void,
 *   settings?: () => void, ready?: () => Promise<void>}} WaysOut
 */

/**
 * @param {any} failure a Failure, or what is left of one in the history
 * @param {WaysOut} ways
 * @returns {HTMLElement}
 */
export function notice(failure, ways) {
  const { kind } = failure;
  const actions = el("div", { class: "actions" });
  const never = failure.never && kind === "over_limit" ? "_never" : "";
  const nothing = BROKEN.has(kind) && !ways.goOn ? "_nothing" : "";
  const sentence = `fail_${kind}${never}${nothing}`;
  const waits = el("p", { class: "wait" });
  const looks = BROKEN.has(kind) ? "notice" : "notice strong";
  const text = el("div", { class: "notice-text" }, el("p", { role: "alert" }, t(sentence)), waits);
  if (failure.said && kind !== "wrong_key" && kind !== "session_over") {
    text.append(el("details", {}, el("summary", {}, t("serverSaid")), el("p", { lang: "en" }, failure.said)));
  }
  const give = (/** @type {string} */ label, /** @type {(() => void) | undefined} */ act, kinds = "plain") => {
    if (act) actions.append(button(t(label), act, { kind: kinds }));
  };
  if (BROKEN.has(kind) || kind === "cut") give("continue", ways.goOn, "main");
  if (kind === "wrong_key" || kind === "session_over" || kind === "forbidden") give("signInAgain", ways.signIn, "main");
  if (kind === "no_model") give("settings", ways.settings, "main");
  if (kind === "too_long") give("newConversation", ways.fresh, "main");
  if (AGAIN.has(kind) && !failure.never && ways.again) again(failure, ways, actions, waits);
  if (!AGAIN.has(kind) || failure.never) give("edit", ways.edit);
  text.append(actions);
  return el("div", { class: looks }, icon("warn"), text);
}

/** "Ask again", once the time has come that the server named, or once an engine is ready. */
function again(
  /** @type {any} */ failure,
  /** @type {WaysOut} */ ways,
  /** @type {HTMLElement} */ actions,
  /** @type {HTMLElement} */ waits,
) {
  const act = button(t("askAgain"), () => ways.again?.(), { kind: "plain again" });
  actions.append(act);
  if (failure.kind === "loading" && ways.ready) {
    act.disabled = true;
    waits.textContent = t("untilReady");
    ways.ready().then(() => {
      act.disabled = false;
      waits.textContent = t("readyNow");
    });
    return;
  }
  if (failure.retryAfter === null) return;
  countdown(act, waits, (failure.at ?? Date.now()) + failure.retryAfter * 1000);
}

/** Disable a button until then, and say how long that is. */
export function countdown(/** @type {HTMLButtonElement} */ act, /** @type {HTMLElement} */ waits, /** @type {number} */ until) {
  const tick = () => {
    const seconds = Math.ceil((until - Date.now()) / 1000);
    act.disabled = seconds > 0;
    waits.replaceChildren();
    if (seconds <= 0) {
      waits.append(t("waitOver"));
      return;
    }
    waits.append(el("span", { role: "timer" }, t("waitFor", { seconds })));
    setTimeout(tick, 250);
  };
  tick();
}
