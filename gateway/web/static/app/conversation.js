// A conversation as it was had, and as it is sent; pure but for reading the pictures' bytes.

import { newId } from "./dom.js";
import { dataUrl } from "./pictures.js";

/**
 * @typedef {{role: "user", id: string, text: string, pictures: import("./pictures.js").Picture[]}} Question
 * @typedef {{id: string, leaf: string}} Receipt
 * @typedef {object} Answer
 * @property {"assistant"} role
 * @property {string} id
 * @property {string} text
 * @property {string} thinking
 * @property {{id: string, name: string, arguments: string}[]} calls
 * @property {Receipt[]} receipts one, and one more for each time it was continued
 * @property {"running" | "whole" | "cut" | "stopped" | "failed"} ending `cut`: max_tokens was reached
 * @property {any} failure what failures.js shows
 * @property {string} model
 * @typedef {{id: string, title: string, created: number, updated: number, turns: (Question | Answer)[]}} Conversation
 */

/** @returns {Conversation} */
export function newConversation() {
  return { id: newId(), title: "", created: Date.now(), updated: Date.now(), turns: [] };
}

/** @returns {Question} */
export function newQuestion(/** @type {string} */ text, /** @type {import("./pictures.js").Picture[]} */ pictures) {
  return { role: "user", id: newId(), text, pictures };
}

/** @returns {Answer} */
export function newAnswer(/** @type {string} */ model) {
  return {
    role: "assistant",
    id: newId(),
    text: "",
    thinking: "",
    calls: [],
    receipts: [],
    ending: "running",
    failure: null,
    model,
  };
}

/** Add one event of a stream to an answer. */
export function hear(/** @type {Answer} */ answer, /** @type {any} */ event) {
  const choice = event.choices?.[0];
  if (!choice) return;
  const delta = choice.delta ?? {};
  answer.text += delta.content ?? "";
  answer.thinking += delta.reasoning ?? delta.reasoning_content ?? "";
  for (const part of delta.tool_calls ?? []) {
    const call = (answer.calls[part.index ?? 0] ??= { id: "", name: "", arguments: "" });
    call.id ||= part.id ?? "";
    call.name += part.function?.name ?? "";
    call.arguments += part.function?.arguments ?? "";
  }
  if (choice.finish_reason === "length") answer.ending = "cut";
}

/**
 * The messages of a request.
 * @param {(Question | Answer)[]} turns
 */
export function messagesOf(turns) {
  return Promise.all(turns.filter(counts).map((turn) => (turn.role === "user" ? question(turn) : answer(turn))));
}

/** A turn in which nothing was said is not sent. */
function counts(/** @type {Question | Answer} */ turn) {
  return turn.role === "user" || turn.text.trim() !== "" || turn.calls.length > 0;
}

/** The tool calls become text: no results were given for them, and a template may want one for each. */
function answer(/** @type {Answer} */ turn) {
  const calls = turn.calls.map((call) => `${call.name}(${call.arguments})`);
  return { role: "assistant", content: [turn.text, ...calls].filter(Boolean).join("\n") };
}

async function question(/** @type {Question} */ turn) {
  if (!turn.pictures.length) return { role: "user", content: turn.text };
  const pictures = await Promise.all(
    turn.pictures.map(async (picture) => ({ type: "image_url", image_url: { url: await dataUrl(picture.blob) } })),
  );
  return { role: "user", content: turn.text ? [...pictures, { type: "text", text: turn.text }] : pictures };
}

/** The pictures that an answer speaks of: those of the last question before it that had any. */
export function picturesBefore(/** @type {(Question | Answer)[]} */ turns, /** @type {Answer} */ answer) {
  const before = turns.slice(0, turns.indexOf(answer));
  for (const turn of before.reverse()) if (turn.role === "user" && turn.pictures.length) return turn.pictures;
  return [];
}
