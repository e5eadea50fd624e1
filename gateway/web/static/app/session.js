// Who is signed in: by an API key, kept for this tab alone, or by a cookie that this page can't read.

const STORED = "vitrine.key";

export class Session {
  constructor() {
    /** @type {string | null} */
    this.key = sessionStorage.getItem(STORED);
    /** @type {string[]} ways of signing in that the server offers */
    this.methods = ["key"];
    /** @type {{name: string, csrf: string} | null} whom the cookie stands for */
    this.person = null;
    this.token = "";
  }

  get signedIn() {
    return this.key !== null || this.person !== null;
  }

  /** What to call whoever is signed in: a name, or the key's beginning. */
  get name() {
    return this.key === null && this.person ? this.person.name : `${(this.key ?? "").slice(0, 6)}…`;
  }

  /** @returns {Record<string, string>} */
  get headers() {
    if (this.key !== null) return { Authorization: `Bearer ${this.key}` };
    return this.token ? { "X-CSRF-Token": this.token } : {};
  }

  /** @returns {RequestCredentials} */
  get credentials() {
    return this.key !== null ? "omit" : "same-origin";
  }

  /** Ask which ways of signing in there are, and whether a cookie is good already. */
  async discover() {
    const response = await fetch("/auth/methods", { credentials: "same-origin", cache: "no-store" }).catch(() => null);
    if (!response?.ok) return; // a gateway without a directory has keys alone
    const said = await response.json();
    this.methods = said.methods ?? ["key"];
    this.usePerson(said.signed_in ?? null);
  }

  /** Whom a cookie stands for, as the server says; null for nobody. */
  usePerson(/** @type {{name: string, csrf: string} | null} */ person) {
    this.person = person;
    this.token = person?.csrf ?? "";
  }

  /** @param {string} key */
  useKey(key) {
    this.key = key.trim();
    sessionStorage.setItem(STORED, this.key);
  }

  forget() {
    this.key = null;
    this.usePerson(null);
    sessionStorage.removeItem(STORED);
  }
}
