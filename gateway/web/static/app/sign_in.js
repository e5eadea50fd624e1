// The way in: an API key. Other ways that the server offers get their forms here, by their names in FORMS.

import { byId, el } from "./dom.js";
import { countdown } from "./failures.js";
import { t } from "./language.js";

export class SignIn {
  /**
   * @param {import("./session.js").Session} session
   * @param {import("./server.js").Server} server
   * @param {(models: {id: string, max_model_len: number | null}[]) => void} entered
   */
  constructor(session, server, entered) {
    this.session = session;
    this.server = server;
    this.entered = entered;
    byId("key-form").addEventListener("submit", (/** @type {Event} */ event) => {
      event.preventDefault();
      this.#tryKey(byId("key").value);
    });
    byId("sign-out").addEventListener("click", () => this.leave());
  }

  /** Whoever is signed in already goes on; everyone else sees the form. */
  async begin() {
    await this.session.discover();
    byId("key-form").hidden = !this.session.methods.includes("key");
    if (this.session.signedIn) await this.#enter();
    else this.show();
  }

  show() {
    document.body.dataset.state = "out";
    byId("key").focus();
  }

  leave() {
    this.session.forget();
    byId("key-error").replaceChildren();
    this.show();
  }

  async #tryKey(/** @type {string} */ key) {
    // A header holds ASCII alone: anything else is no key, and fetch would throw at it.
    if (!/^[\x21-\x7e]+$/.test(key.trim())) return this.#refuse({ kind: "wrong_key" });
    this.session.useKey(key);
    await this.#enter();
  }

  async #enter() {
    const submit = byId("key-submit");
    submit.disabled = true;
    try {
      const models = await this.server.models();
      document.body.dataset.state = "in";
      byId("key").value = "";
      byId("key-error").replaceChildren();
      byId("who").textContent = t("signedInAs", { name: this.session.name });
      this.entered(models);
    } catch (error) {
      const failure = /** @type {any} */ (error);
      if (failure.kind !== "unreachable") this.session.forget();
      this.#refuse(failure);
    } finally {
      submit.disabled = false;
    }
  }

  #refuse(/** @type {any} */ failure) {
    this.show();
    const waits = el("p", {});
    byId("key-error").replaceChildren(el("p", { role: "alert" }, t(`fail_${failure.kind ?? "refused"}`)), waits);
    byId("key").setAttribute("aria-invalid", "true");
    if (failure.retryAfter) countdown(byId("key-submit"), waits, Date.now() + failure.retryAfter * 1000);
  }
}
