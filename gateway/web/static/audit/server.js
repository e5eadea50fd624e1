// Asks the gateway as whoever is signed in: by a key kept for this tab alone, or by a cookie that no script can read.

const STORED = "vitrine.key";

/** What the gateway refused: its sentence, status, and after how many seconds to ask again. */
export class Refused extends Error {
  /** @param {string} message @param {number} status @param {string} code @param {number} retry_s */
  constructor(message, status, code, retry_s) {
    super(message);
    this.status = status;
    this.code = code;
    this.retry_s = retry_s;
  }
}

export class Server {
  constructor() {
    this.key = sessionStorage.getItem(STORED);
    /** @type {any} */
    this.person = null;
    /** @type {string[]} */
    this.methods = ["key"];
  }

  get signedIn() {
    return this.key !== null || this.person !== null;
  }

  get name() {
    return this.key !== null ? `${this.key.slice(0, 6)}…` : this.person?.name ?? "";
  }

  /** Which ways of signing in there are, and whether a cookie is good already. */
  async discover() {
    const said = await this.#ask("GET", "/auth/methods");
    this.methods = said.methods;
    this.person = said.signed_in;
  }

  /** @param {string} key */
  useKey(key) {
    this.key = key;
    sessionStorage.setItem(STORED, key);
  }

  /** @param {string} user @param {string} password */
  async signIn(user, password) {
    this.person = (await this.#ask("POST", "/auth/sign-in", { user, password })).signed_in;
  }

  async leave() {
    sessionStorage.removeItem(STORED);
    const person = this.person;
    this.key = null;
    if (person) await this.#ask("POST", "/auth/sign-out");
    this.person = null;
  }

  /** Forget what is no longer good. */
  forget() {
    sessionStorage.removeItem(STORED);
    this.key = null;
    this.person = null;
  }

  /** @param {Record<string, string>} filters */
  records(filters) {
    return this.#ask("GET", `/v1/audit/records?${new URLSearchParams(filters)}`);
  }

  head() {
    return this.#ask("GET", "/v1/audit/head");
  }

  /** @param {string} method @param {string} path @param {any} [body] @returns {Promise<any>} */
  async #ask(method, path, body) {
    /** @type {Record<string, string>} */
    const headers = {};
    if (this.key !== null) headers.Authorization = `Bearer ${this.key}`;
    else if (this.person && method !== "GET") headers["X-CSRF-Token"] = this.person.csrf;
    if (body) headers["Content-Type"] = "application/json";
    const response = await fetch(path, {
      method,
      headers,
      body: body && JSON.stringify(body),
      credentials: this.key === null ? "same-origin" : "omit",
      cache: "no-store",
    });
    const said = await response.json();
    if (response.ok) return said;
    throw new Refused(said.error.message, response.status, said.error.code ?? "", Number(response.headers.get("Retry-After") ?? 0));
  }
}
