// Conversations in this browser's IndexedDB: turns as objects, pictures as blobs, each once. Nothing goes to the server.

import { dataUrl } from "./pictures.js";

const NAME = "vitrine";
const STORES = /** @type {const} */ (["conversations", "pictures"]);

/** @typedef {import("./conversation.js").Conversation} Conversation */

/** @template T @returns {Promise<T>} */
function done(/** @type {IDBRequest<T>} */ request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** @returns {Promise<void>} */
function committed(/** @type {IDBTransaction} */ transaction) {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = transaction.onerror = () => reject(transaction.error);
  });
}

export class History {
  /** @param {IDBDatabase} database */
  constructor(database) {
    this.database = database;
  }

  static async open() {
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => {
      for (const store of STORES) request.result.createObjectStore(store, { keyPath: "id" });
    };
    return new History(await done(request));
  }

  /** @returns {Promise<Conversation[]>} the newest first, their pictures not read yet */
  async list() {
    const all = await done(this.database.transaction("conversations").objectStore("conversations").getAll());
    return all.sort((one, other) => other.updated - one.updated);
  }

  /** @returns {Promise<Conversation | null>} */
  async read(/** @type {string} */ id) {
    const transaction = this.database.transaction(STORES);
    const found = await done(transaction.objectStore("conversations").get(id));
    if (!found) return null;
    for (const turn of found.turns) {
      if (turn.role !== "user") continue;
      const kept = turn.pictures.map((/** @type {string} */ picture) => done(transaction.objectStore("pictures").get(picture)));
      turn.pictures = (await Promise.all(kept)).filter(Boolean);
    }
    return found;
  }

  /** Keep a conversation as it is now. Its pictures are stored apart, by their ids. */
  async keep(/** @type {Conversation} */ conversation) {
    const transaction = this.database.transaction(STORES, "readwrite");
    const pictures = transaction.objectStore("pictures");
    const turns = conversation.turns.map((turn) => {
      if (turn.role !== "user") return { ...turn };
      for (const picture of turn.pictures) pictures.put(picture);
      return { ...turn, pictures: turn.pictures.map((picture) => picture.id) };
    });
    transaction.objectStore("conversations").put({ ...conversation, turns });
    await committed(transaction);
  }

  async remove(/** @type {string} */ id) {
    const transaction = this.database.transaction(STORES, "readwrite");
    const conversations = transaction.objectStore("conversations");
    const [gone, all] = [await done(conversations.get(id)), await done(conversations.getAll())];
    // A question asked again shares its pictures with the first: what another conversation shows stays.
    const shown = new Set(all.filter((other) => other.id !== id).flatMap(pictureIds));
    for (const picture of gone ? pictureIds(gone) : []) {
      if (!shown.has(picture)) transaction.objectStore("pictures").delete(picture);
    }
    conversations.delete(id);
    await committed(transaction);
  }

  async wipe() {
    const transaction = this.database.transaction(STORES, "readwrite");
    for (const store of STORES) transaction.objectStore(store).clear();
    await committed(transaction);
  }

  /** Everything as one JSON file, the pictures in it as data URLs. */
  async exported() {
    const conversations = [];
    for (const { id } of await this.list()) {
      const whole = /** @type {Conversation} */ (await this.read(id));
      conversations.push({ ...whole, turns: await Promise.all(whole.turns.map(written)) });
    }
    const file = { format: "vitrine-history", version: 1, exported: new Date().toISOString(), conversations };
    return new Blob([JSON.stringify(file, null, 1)], { type: "application/json" });
  }
}

function pictureIds(/** @type {any} */ kept) {
  return kept.turns.flatMap((/** @type {any} */ turn) => (turn.role === "user" ? turn.pictures : []));
}

async function written(/** @type {any} */ turn) {
  if (turn.role !== "user") return turn;
  const pictures = turn.pictures.map(async (/** @type {any} */ { blob, ...rest }) => ({ ...rest, data: await dataUrl(blob) }));
  return { ...turn, pictures: await Promise.all(pictures) };
}
