// Where a question is put together: text, and pictures that are chosen, dropped, pasted or photographed.

import { t } from "../reader/language.js";
import { button, byId, el } from "./dom.js";
import { MOST_PICTURES, takePicture } from "./pictures.js";
import { nameOf, sizeText, thumbnail } from "./picture_view.js";
import { Failure } from "./server.js";

/** What all pictures of a question may have together (docs/api.md). */
const MOST_TOGETHER_BYTES = 20_971_520;

export class Composer {
  /** @param {{ask: (text: string, pictures: import("./pictures.js").Picture[]) => void, stop: () => void}} ways */
  constructor(ways) {
    this.ways = ways;
    /** @type {import("./pictures.js").Picture[]} */
    this.pictures = [];
    this.preparing = 0;
    this.waits = false;
    this.running = false;
    this.area = byId("text");
    this.#listen();
    this.show();
  }

  #listen() {
    const files = byId("files"),
      camera = byId("camera");
    for (const input of [files, camera]) {
      input.addEventListener("change", async () => {
        const chosen = [...input.files];
        input.value = ""; // or the same file could not be chosen again
        await this.add(chosen);
      });
    }
    byId("attach").addEventListener("click", () => files.click());
    byId("photograph").addEventListener("click", () => camera.click());
    byId("send").addEventListener("click", () => (this.running ? this.ways.stop() : this.send()));
    this.area.addEventListener("input", () => this.show());
    this.area.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      // While a Chinese word is being chosen, Enter takes the word (229: Safari tells it only so).
      if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
      event.preventDefault();
      if (!this.running) this.send();
    });
    document.addEventListener("paste", (event) => {
      const pasted = [...(event.clipboardData?.files ?? [])];
      if (!pasted.length) return;
      event.preventDefault();
      this.add(pasted);
    });
    this.#listenForDrops();
  }

  #listenForDrops() {
    const carries = (/** @type {DragEvent} */ event) => event.dataTransfer?.types.includes("Files");
    const veil = byId("veil");
    document.addEventListener("dragover", (event) => {
      if (!carries(event)) return;
      event.preventDefault();
      veil.hidden = false;
    });
    document.addEventListener("dragleave", (event) => {
      if (event.relatedTarget === null) veil.hidden = true;
    });
    document.addEventListener("drop", (event) => {
      veil.hidden = true;
      if (!carries(event)) return;
      event.preventDefault();
      this.add([...(event.dataTransfer?.files ?? [])]);
    });
  }

  /** Take files in, each on its own: one that is no picture does not stop the others. */
  async add(/** @type {File[]} */ files) {
    byId("refused").replaceChildren();
    this.preparing += files.length;
    this.show();
    for (const file of files) {
      try {
        if (this.pictures.length >= MOST_PICTURES) throw new Failure("too_many_pictures");
        const picture = await takePicture(file);
        const together = [...this.pictures, picture].reduce((bytes, one) => bytes + one.blob.size, 0);
        if (together > MOST_TOGETHER_BYTES) throw new Failure("too_large");
        this.pictures.push(picture);
      } catch (error) {
        this.waits = false; // whoever asked did not mean it without this picture
        this.#refuse(error instanceof Failure ? error.kind : "not_a_picture", file.name);
      } finally {
        this.preparing -= 1;
        this.show();
      }
    }
    this.area.focus();
    if (this.waits && !this.preparing && !this.running) this.send();
  }

  #refuse(/** @type {string} */ kind, /** @type {string} */ name) {
    const line = el(
      "div",
      { class: "notice strong" },
      el("p", { role: "alert" }, t(`fail_${kind}`, { name, most: MOST_PICTURES })),
    );
    line.append(button(t("close"), () => line.remove(), { icon: "cross", bare: true, kind: "tool" }));
    byId("refused").append(line);
  }

  send() {
    this.waits = this.preparing > 0; // then it is sent as soon as its pictures are ready
    const text = this.area.value.trim();
    if (this.waits || (!text && !this.pictures.length)) return;
    const { pictures } = this;
    this.pictures = [];
    this.area.value = "";
    byId("refused").replaceChildren();
    this.show();
    this.ways.ask(text, pictures);
  }

  /** @param {boolean} running whether an answer is coming */
  setRunning(running) {
    this.running = running;
    this.show();
  }

  show() {
    const chips = this.pictures.map((picture, index) => {
      const name = nameOf(picture, index);
      const drop = () => {
        this.pictures = this.pictures.filter((other) => other !== picture);
        this.show();
        this.area.focus();
      };
      return el(
        "li",
        {},
        thumbnail(picture, index),
        el("span", { class: "size" }, sizeText(picture)),
        button(t("removePicture", { name }), drop, { icon: "cross", bare: true, kind: "remove" }),
      );
    });
    const wait = this.preparing ? el("li", { class: "preparing", role: "status" }, t("preparing", { count: this.preparing })) : "";
    byId("chips").replaceChildren(...chips, wait);
    const send = byId("send");
    const name = t(this.running ? "stop" : "send");
    send.setAttribute("aria-label", name);
    send.title = name;
    send.dataset.state = this.running ? "stop" : "send";
    send.disabled = !this.running && (this.preparing > 0 || (!this.area.value.trim() && !this.pictures.length));
    this.area.style.height = "auto";
    this.area.style.height = `${Math.min(this.area.scrollHeight, 240)}px`;
  }
}
