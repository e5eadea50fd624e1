// Watches whether questions can be answered, and says what is waited for until they can.

import { t } from "../reader/language.js";
import { byId, el } from "./dom.js";

const EVERY_MS = 2000;

export class Readiness {
  #since = 0;
  #timer = 0;
  /** @type {(() => void)[]} */
  #waiting = [];

  /** @param {import("./server.js").Server} server */
  constructor(server) {
    this.server = server;
  }

  /** Look now, and go on looking while there is something to wait for. */
  async look() {
    clearTimeout(this.#timer);
    const reasons = await this.server.waitingFor().catch(() => null);
    const place = byId("readiness");
    if (reasons !== null && !reasons.length) {
      this.#since = 0;
      place.replaceChildren();
      for (const tell of this.#waiting.splice(0)) tell();
      return;
    }
    this.#since ||= Date.now();
    this.#show(place, reasons);
    this.#timer = window.setTimeout(() => this.look(), EVERY_MS);
  }

  /** @returns {Promise<void>} when a question can be answered */
  ready() {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      this.look();
    });
  }

  #show(/** @type {HTMLElement} */ place, /** @type {string[] | null} */ reasons) {
    const seconds = Math.round((Date.now() - this.#since) / 1000);
    const lines = (reasons ?? []).map((reason) => el("li", {}, reason));
    const head = el("p", {}, el("strong", {}, t(reasons ? "loading" : "unreachable")), " ", t("waitingSince", { seconds }));
    // Made once: a screen reader would read it again each time.
    if (!place.firstElementChild) {
      place.append(el("div", { class: "banner" }, el("progress", { "aria-label": t("loading") }), el("div", { class: "said" })));
    }
    place.querySelector(".said")?.replaceChildren(head, el("ul", {}, ...lines));
  }
}
