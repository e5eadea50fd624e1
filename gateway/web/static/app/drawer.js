// The drawer with the model and its parameters.

import { t } from "../reader/language.js";
import { byId, el } from "./dom.js";
import { keepPreferences, readPreferences } from "./preferences.js";

export class Drawer {
  constructor() {
    this.preferences = readPreferences();
    /** @type {{id: string, max_model_len: number | null, demo?: boolean}[]} */
    this.models = [];
    this.dialog = byId("drawer");
    byId("open-drawer").addEventListener("click", () => this.open());
    byId("drawer-form").addEventListener("input", () => this.#read());
  }

  get ids() {
    return this.models.map((model) => model.id);
  }

  /** The model that is asked. */
  get model() {
    return this.ids.includes(this.preferences.model) ? this.preferences.model : (this.ids[0] ?? "");
  }

  open() {
    this.dialog.showModal();
  }

  /** @param {{id: string, max_model_len: number | null, demo?: boolean}[]} models */
  offer(models) {
    this.models = models;
    this.show();
  }

  show() {
    const chosen = this.model;
    byId("model").replaceChildren(...this.ids.map((id) => el("option", { value: id, ".selected": id === chosen }, id)));
    byId("model-name").textContent = chosen;
    this.#badge();
    const context = this.models.find((model) => model.id === chosen)?.max_model_len;
    byId("model-context").textContent = context ? t("modelContext", { count: context }) : "";
    byId("temperature").value = this.preferences.temperature;
    byId("max-tokens").value = this.preferences.maxTokens;
    byId("think").checked = this.preferences.thinking;
    byId("tools").value = this.preferences.tools;
  }

  /** A model that is only for trying out is shown as such. */
  #badge() {
    byId("demo").hidden = !this.models.find((model) => model.id === this.model)?.demo;
  }

  #read() {
    const tools = byId("tools");
    const wrong = tools.value.trim() !== "" && !isList(tools.value);
    byId("bad-tools").hidden = !wrong;
    tools.setAttribute("aria-invalid", String(wrong));
    const number = (/** @type {HTMLInputElement} */ input) => (input.validity.valid ? input.value : "");
    this.preferences = {
      model: byId("model").value,
      temperature: number(byId("temperature")),
      maxTokens: number(byId("max-tokens")),
      thinking: byId("think").checked,
      tools: wrong ? "" : tools.value,
    };
    byId("model-name").textContent = this.model;
    this.#badge();
    keepPreferences(this.preferences);
  }
}

function isList(/** @type {string} */ text) {
  try {
    return Array.isArray(JSON.parse(text));
  } catch {
    return false;
  }
}
