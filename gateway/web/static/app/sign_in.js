// The way in: an API key, or a name and a password of the organisation's directory where the server has one.

import { t } from "../reader/language.js";
import { byId, el } from "./dom.js";
import { countdown } from "./failures.js";

/** @typedef {{id: string, max_model_len: number | null, demo?: boolean}[]} Models */

export class SignIn {
  /**
   * @param {import("./session.js").Session} session
   * @param {import("./server.js").Server} server
   * @param {(models: Models) => void} entered
   */
  constructor(session, server, entered) {
    this.session = session;
    this.server = server;
    this.entered = entered;
    byId("key-form").addEventListener("submit", (/** @type {Event} */ event) => {
      event.preventDefault();
      this.#tryKey(byId("key").value);
    });
    byId("directory-form").addEventListener("submit", (/** @type {Event} */ event) => {
      event.preventDefault();
      this.#tryPassword();
    });
    byId("sign-out").addEventListener("click", () => this.leave());
  }

  /** Whoever is signed in already goes on; everyone else sees the forms. */
  async begin() {
    await this.session.discover();
    if (this.session.signedIn) await this.#enter(this.session.key === null ? "directory" : "key");
    else this.show();
  }

  show() {
    const [key, directory] = ["key", "ldap"].map((way) => this.session.methods.includes(way));
    byId("key-form").hidden = !key;
    byId("key-hint").hidden = !key;
    byId("directory-form").hidden = !directory;
    byId("or").hidden = !(key && directory);
    document.body.dataset.state = "out";
    byId(directory ? "user" : "key").focus();
  }

  async leave() {
    if (this.session.person) await this.server.signOut().catch(() => undefined); // a session that is over can't be ended
    this.session.forget();
    for (const way of ["key", "directory"]) byId(`${way}-error`).replaceChildren();
    this.show();
  }

  async #tryKey(/** @type {string} */ key) {
    // A header holds ASCII alone: anything else is no key, and fetch would throw at it.
    if (!/^[\x21-\x7e]+$/.test(key.trim())) return this.#refuse("key", { kind: "wrong_key" });
    this.session.useKey(key);
    await this.#enter("key");
  }

  async #tryPassword() {
    const submit = byId("directory-submit");
    submit.disabled = true;
    try {
      this.session.forget();
      this.session.usePerson(await this.server.signIn(byId("user").value.trim(), byId("password").value));
    } catch (error) {
      submit.disabled = false;
      return this.#refuse("directory", /** @type {any} */ (error));
    }
    await this.#enter("directory");
  }

  async #enter(/** @type {"key" | "directory"} */ way) {
    const submit = byId(`${way}-submit`);
    submit.disabled = true;
    try {
      const models = await this.server.models();
      document.body.dataset.state = "in";
      for (const field of ["key", "password"]) byId(field).value = "";
      byId(`${way}-error`).replaceChildren();
      byId("who").textContent = t("signedInAs", { name: this.session.name });
      this.entered(models);
    } catch (error) {
      const failure = /** @type {any} */ (error);
      if (failure.kind !== "unreachable") this.session.forget();
      this.#refuse(way, failure);
    } finally {
      submit.disabled = false;
    }
  }

  #refuse(/** @type {"key" | "directory"} */ way, /** @type {any} */ failure) {
    this.show();
    const waits = el("p", {});
    const sentence = el("p", { role: "alert" }, t(`fail_${failure.kind ?? "refused"}`));
    const more = failure.kind === "refused" && failure.said ? el("p", { lang: "en" }, failure.said) : null;
    byId(`${way}-error`).replaceChildren(...[sentence, more, waits].filter((part) => part !== null));
    byId(way === "key" ? "key" : "password").setAttribute("aria-invalid", "true");
    byId(way === "key" ? "key" : "password").focus();
    if (failure.retryAfter) countdown(byId(`${way}-submit`), waits, Date.now() + failure.retryAfter * 1000);
  }
}
