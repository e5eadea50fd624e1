// Speaks to the gateway, and tells what went wrong as a Failure; shows nothing.

import { EventReader } from "./events.js";

/**
 * Why something was not answered. `kind` says which sentence people read: failures.js has one for each.
 */
export class Failure extends Error {
  /**
   * @param {string} kind
   * @param {{status?: number, code?: string, message?: string, retryAfter?: number | null, never?: boolean}} [more]
   *   `message` is the server's own sentence; `retryAfter` in seconds; `never`: asking the same again is in vain
   */
  constructor(kind, more = {}) {
    super(more.message ?? kind);
    this.kind = kind;
    this.status = more.status ?? 0;
    this.code = more.code ?? "";
    this.said = more.message ?? "";
    this.retryAfter = more.retryAfter ?? null;
    this.never = more.never ?? false;
  }
}

/** @type {Record<string, string>} */
const KINDS = {
  too_many_failed_logins: "too_many_logins",
  rate_limit_exceeded: "over_limit",
  context_length_exceeded: "too_long",
  invalid_image: "not_a_picture",
  control_token: "control_token",
  engine_broke: "broke",
  model_not_found: "no_model",
  timed_out: "timed_out",
  insufficient_permissions: "forbidden",
  invalid_api_key: "wrong_key",
  session_over: "session_over",
  wrong_password: "wrong_password",
  directory_away: "directory_away",
  not_secure: "not_secure",
  no_group: "no_group",
};
/** @type {Record<number, string>} */
const BY_STATUS = { 401: "wrong_key", 403: "forbidden", 413: "too_large", 429: "over_limit", 502: "broke", 504: "timed_out" };

/** @param {Response} response */
async function failureOf(response) {
  const error = (await response.json().catch(() => null))?.error ?? {};
  const after = Number.parseInt(response.headers.get("retry-after") ?? "", 10);
  let kind = KINDS[error.code] ?? BY_STATUS[response.status] ?? (response.status >= 500 ? "busy" : "refused");
  // Not ready is told apart from busy: there is something to watch then.
  if (kind === "busy" && error.code === "unavailable") kind = "loading";
  return new Failure(kind, {
    status: response.status,
    code: error.code ?? "",
    message: error.message ?? "",
    retryAfter: Number.isFinite(after) ? after : null,
    never: response.headers.get("x-should-retry") === "false",
  });
}

export class Server {
  /** @param {import("./session.js").Session} session */
  constructor(session) {
    this.session = session;
  }

  /**
   * @param {string} path @param {RequestInit} [init] @param {boolean} [again] whether this is the second try
   * @returns {Promise<Response>} only good ones @throws {Failure}
   */
  async request(path, init = {}, again = false) {
    let response;
    try {
      response = await fetch(path, {
        ...init,
        cache: "no-store",
        redirect: "error",
        credentials: this.session.credentials,
        headers: { ...this.session.headers, ...init.headers },
      });
    } catch (error) {
      if (init.signal?.aborted) throw error;
      throw new Failure("unreachable");
    }
    if (response.ok) return response;
    const failure = await failureOf(response);
    if (failure.kind === "wrong_key" && this.session.key === null) failure.kind = "session_over";
    if (failure.code === "csrf" && !again) {
      // Another tab signed in anew: the cookie is its, and so must the token be.
      await this.session.discover();
      return this.request(path, init, true);
    }
    throw failure;
  }

  /** @returns {Promise<{name: string, csrf: string}>} who is signed in now, by a cookie */
  async signIn(/** @type {string} */ user, /** @type {string} */ password) {
    const body = JSON.stringify({ user, password });
    const headers = { "Content-Type": "application/json" };
    return (await (await this.request("/auth/sign-in", { method: "POST", body, headers })).json()).signed_in;
  }

  async signOut() {
    await this.request("/auth/sign-out", { method: "POST" });
  }

  /** @returns {Promise<{id: string, max_model_len: number | null, demo?: boolean}[]>} */
  async models() {
    return (await (await this.request("/v1/models")).json()).data;
  }

  /** @returns {Promise<string[]>} what is waited for; empty when a question can be answered */
  async waitingFor() {
    const response = await fetch("/readyz", { cache: "no-store", credentials: "omit" });
    if (response.ok) return [];
    return (await response.json()).waiting_for ?? [];
  }

  /**
   * The proofs of an exchange, or null while no signed head covers it.
   * @param {{id: string, leaf: string}} receipt
   */
  async receipt(receipt) {
    const headers = { "X-Audit-Leaf": receipt.leaf }; // several hosts have several logs
    const response = await this.request(`/v1/audit/receipts/${encodeURIComponent(receipt.id)}`, { headers });
    return response.status === 202 ? null : response.json();
  }

  /**
   * Ask, and hand on what comes. Returns when the answer is whole.
   * @param {object} body
   * @param {AbortSignal} signal
   * @param {{head: (receipt: {id: string, leaf: string}) => void, event: (event: any) => void}} hears
   * @throws {Failure} `lost` or `broke` when it ends before it is whole
   */
  async ask(body, signal, hears) {
    const response = await this.request("/v1/chat/completions", {
      method: "POST",
      signal,
      body: JSON.stringify(body),
      headers: { "Content-Type": "application/json" },
    });
    const id = response.headers.get("x-audit-id");
    if (id) hears.head({ id, leaf: response.headers.get("x-audit-leaf") ?? "" });
    const reader = /** @type {ReadableStream<Uint8Array>} */ (response.body).getReader();
    const events = new EventReader();
    for (;;) {
      let piece;
      try {
        piece = await reader.read();
      } catch (error) {
        if (signal.aborted) throw error;
        throw new Failure("lost");
      }
      if (piece.done) throw new Failure("lost"); // only [DONE] ends an answer
      for (const data of events.feed(piece.value)) {
        if (data === "[DONE]") return;
        const event = JSON.parse(data);
        if (event.error) {
          const kind = event.error.code === "timed_out" ? "timed_out" : "broke";
          throw new Failure(kind, { code: event.error.code, message: event.error.message });
        }
        hears.event(event);
      }
    }
  }
}
