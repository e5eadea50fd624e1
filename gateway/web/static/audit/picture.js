// A picture's SHA-256, made in this browser; the picture itself goes nowhere.

import { t } from "../reader/language.js";

const MOST_BYTES = 64 << 20;
const byId = (/** @type {string} */ id) => /** @type {any} */ (document.getElementById(id));

export class Picture {
  /** @param {() => void} changed @param {(text: string) => void} failed */
  constructor(changed, failed) {
    this.sha256 = "";
    this.changed = changed;
    this.failed = failed;
    const place = byId("picture");
    byId("file").addEventListener("change", () => this.take(byId("file").files[0]));
    byId("picture-clear").addEventListener("click", () => {
      this.clear();
      byId("file").focus();
      this.changed();
    });
    // Anywhere on the page: a picture that misses the frame must not replace the page.
    for (const name of ["dragover", "dragleave", "drop"]) {
      document.addEventListener(name, (event) => {
        event.preventDefault();
        place.dataset.over = String(name === "dragover");
        const file = name === "drop" ? /** @type {DragEvent} */ (event).dataTransfer?.files[0] : null;
        if (file) this.take(file);
      });
    }
  }

  /** @param {File | undefined} file */
  async take(file) {
    if (!file) return;
    if (!crypto.subtle) return this.failed(t("no-sha"));
    if (file.size > MOST_BYTES) return this.failed(t("too-large"));
    const digest = await crypto.subtle.digest("SHA-256", await file.arrayBuffer());
    this.sha256 = Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
    byId("picture-name").textContent = `${file.name} · SHA-256 ${this.sha256}`;
    this.#show(true);
    this.changed();
  }

  clear() {
    this.sha256 = "";
    byId("file").value = "";
    this.#show(false);
  }

  /** @param {boolean} there */
  #show(there) {
    byId("picture-name").hidden = !there;
    byId("picture-clear").hidden = !there;
  }
}
