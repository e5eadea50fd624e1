// Checks a receipt in the browser, as gateway/ledger/readers/verify_proof.py does it, step by step; shows nothing, asks nobody.
// Formats: C2SP tlog-proof v1, signed-note, tlog-checkpoint; tree: RFC 6962.

/** The proof does not hold; `message` is the name of a text. */
export class Refused extends Error {}

/** @typedef {Uint8Array<ArrayBuffer>} Bytes */
/** @typedef {{name: string, id: Bytes, bytes: Bytes}} Key */
/** @typedef {{record: Bytes, index: number, path: Bytes[], note: string}} Proof */

/** Base64, strictly: each value has one spelling. */
export function decode(/** @type {string} */ text) {
  let data;
  try {
    data = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  } catch {
    throw new Refused("proof_malformed");
  }
  if (encode(data) !== text) throw new Refused("proof_malformed");
  return data;
}

export function encode(/** @type {Bytes} */ data) {
  return btoa(Array.from(data, (byte) => String.fromCharCode(byte)).join(""));
}

function decimal(/** @type {string} */ text) {
  if (!/^(0|[1-9][0-9]*)$/.test(text)) throw new Refused("proof_malformed");
  return Number(text);
}

/** @returns {Promise<Bytes>} */
async function sha256(/** @type {Bytes[]} */ ...parts) {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", joined(...parts)));
}

function joined(/** @type {Bytes[]} */ ...parts) {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

const bytes = (/** @type {string} */ text) => new TextEncoder().encode(text);
const same = (/** @type {Bytes} */ one, /** @type {Bytes} */ other) => encode(one) === encode(other);

/** NAME+HASH+BASE64(0x01 || Ed25519 public key). @returns {Promise<Key>} */
export async function readKey(/** @type {string} */ text) {
  const [, name, hash, coded] = /^([^+]+)\+([0-9a-f]{8})\+(.+)$/.exec(text.trim()) ?? [];
  if (!coded) throw new Refused("proof_malformed");
  const key = decode(coded);
  const id = (await sha256(bytes(`${name}\n`), key)).slice(0, 4);
  const hexed = Array.from(id, (byte) => byte.toString(16).padStart(2, "0")).join("");
  if (key.length !== 33 || key[0] !== 1 || hexed !== hash) throw new Refused("proof_malformed");
  return { name, id, bytes: key.slice(1) };
}

/** @returns {Proof} */
export function readProof(/** @type {string} */ text) {
  const end = text.indexOf("\n\n");
  const lines = text.slice(0, end).split("\n");
  if (end < 0 || lines.shift() !== "c2sp.org/tlog-proof@v1") throw new Refused("proof_malformed");
  const extra = lines.shift() ?? "",
    index = lines.shift() ?? "";
  if (!extra.startsWith("extra ") || !index.startsWith("index ")) throw new Refused("proof_malformed");
  const path = lines.map(decode);
  if (path.some((step) => step.length !== 32)) throw new Refused("proof_malformed");
  return { record: decode(extra.slice(6)), index: decimal(index.slice(6)), path, note: text.slice(end + 2) };
}

/**
 * The signed head: its signature is checked where the browser has Ed25519.
 * @returns {Promise<{origin: string, size: number, root: Bytes, signature: boolean}>} `signature`: whether it was checked
 */
async function readHead(/** @type {string} */ note, /** @type {Key} */ key) {
  const end = note.lastIndexOf("\n\n");
  if (end < 0 || !note.endsWith("\n")) throw new Refused("proof_malformed");
  const text = note.slice(0, end + 1);
  let signed = null;
  for (const line of note.slice(end + 2, -1).split("\n")) {
    const [dash, signer, coded] = line.split(" ");
    if (dash !== "\u2014" || signer !== key.name) continue;
    const data = decode(coded ?? "");
    if (same(data.slice(0, 4), key.id)) signed = data.slice(4);
  }
  if (!signed) throw new Refused("proof_unsigned");
  const held = await verifies(key, signed, bytes(text));
  if (held === false) throw new Refused("proof_unsigned");
  const [origin, size, root] = text.split("\n");
  if (origin !== key.name) throw new Refused("proof_other_log");
  const head = { origin, size: decimal(size ?? ""), root: decode(root ?? ""), signature: held === true };
  if (head.root.length !== 32) throw new Refused("proof_malformed");
  return head;
}

/** @returns {Promise<boolean | null>} null where the browser has no Ed25519 */
async function verifies(/** @type {Key} */ key, /** @type {Bytes} */ signature, /** @type {Bytes} */ message) {
  let imported;
  try {
    imported = await crypto.subtle.importKey("raw", key.bytes, { name: "Ed25519" }, false, ["verify"]);
  } catch (error) {
    if (/** @type {Error} */ (error).name === "NotSupportedError") return null;
    throw new Refused("proof_malformed");
  }
  return crypto.subtle.verify({ name: "Ed25519" }, imported, signature, message);
}

/** From the leaf to the root (RFC 9162 section 2.1.3.2). Division, not shifts: those have 32 bits. */
async function rootFrom(
  /** @type {Bytes} */ leaf,
  /** @type {number} */ index,
  /** @type {number} */ size,
  /** @type {Bytes[]} */ path,
) {
  if (!(index < size)) throw new Refused("proof_path");
  let position = index,
    last = size - 1,
    found = leaf;
  const node = Uint8Array.of(1);
  for (const step of path) {
    if (last === 0) throw new Refused("proof_path");
    if (position % 2 === 1 || position === last) {
      found = await sha256(node, step, found);
      while (position !== 0 && position % 2 === 0) {
        position /= 2;
        last = Math.floor(last / 2);
      }
    } else {
      found = await sha256(node, found, step);
    }
    position = Math.floor(position / 2);
    last = Math.floor(last / 2);
  }
  if (last !== 0) throw new Refused("proof_path");
  return found;
}

/**
 * Check one record's proof.
 * @param {string} text the proof @param {string} keyText the log's public key
 * @returns {Promise<{origin: string, index: number, size: number, leaf: string, record: any, signature: boolean}>}
 * @throws {Refused}
 */
export async function checkProof(text, keyText) {
  const proof = readProof(text);
  const head = await readHead(proof.note, await readKey(keyText));
  const leaf = await sha256(Uint8Array.of(0), proof.record);
  if (!same(await rootFrom(leaf, proof.index, head.size, proof.path), head.root)) throw new Refused("proof_path");
  const record = JSON.parse(new TextDecoder().decode(proof.record));
  return { ...head, index: proof.index, leaf: encode(leaf), record };
}

/**
 * Check what the server gave for an exchange against what came with its answer.
 * @param {{id: string, leaf: string}} receipt of the answer's headers
 * @param {{proofs: string[], key: string}} given
 * @throws {Refused}
 */
export async function checkReceipt(receipt, given) {
  const [origin, index, leaf] = receipt.leaf.split(" ");
  const proofs = [];
  for (const text of given.proofs) proofs.push(await checkProof(text, given.key));
  const admit = proofs.find((proof) => proof.record.kind === "admit");
  // The answer said beforehand which record it would be: nobody can show another one now.
  if (!admit || admit.origin !== origin || String(admit.index) !== index || admit.leaf !== leaf) {
    throw new Refused("proof_other_record");
  }
  if (proofs.some((proof) => proof.record.id !== receipt.id)) throw new Refused("proof_other_record");
  return proofs;
}
