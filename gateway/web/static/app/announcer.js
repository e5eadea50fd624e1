// Tells a screen reader what a streaming answer says: whole sentences, and not more often than every few seconds.

import { byId } from "./dom.js";

const EVERY_MS = 3000;

export class Announcer {
  #said = 0;
  #last = 0;

  /** Say one sentence now. */
  say(/** @type {string} */ sentence) {
    byId("announcements").textContent = sentence;
  }

  begin() {
    [this.#said, this.#last] = [0, performance.now()];
  }

  /** What the answer is so far. */
  hear(/** @type {string} */ text) {
    if (performance.now() - this.#last < EVERY_MS) return;
    const sentences = /^[\s\S]*[.!?。！？\n]/.exec(text.slice(this.#said));
    if (sentences) this.#speak(sentences[0]);
  }

  /** The answer's rest. */
  end(/** @type {string} */ text) {
    this.#speak(text.slice(this.#said));
  }

  #speak(/** @type {string} */ part) {
    this.#said += part.length;
    this.#last = performance.now();
    const plain = part.replace(/<\|[^|]*\|>|[*_`#|$]/g, " ").trim();
    if (plain) this.say(plain);
  }
}
