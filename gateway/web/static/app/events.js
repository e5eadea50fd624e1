// Reads server-sent events from bytes, however they are cut; pure.
// Format: https://html.spec.whatwg.org/multipage/server-sent-events.html

export class EventReader {
  #decoder = new TextDecoder();
  #tail = "";

  /**
   * @param {Uint8Array} bytes
   * @returns {string[]} the data of each event that is whole now
   */
  feed(bytes) {
    this.#tail += this.#decoder.decode(bytes, { stream: true });
    const blocks = this.#tail.split(/\r\n\r\n|\n\n|\r\r(?!\n)/);
    this.#tail = blocks.pop() ?? "";
    return blocks.map(dataOf).filter((data) => data !== null);
  }
}

/** @returns {string | null} an event's data lines; null for a comment or an event without any */
function dataOf(/** @type {string} */ block) {
  const lines = block.split(/\r\n|\n|\r/).filter((line) => line.startsWith("data:"));
  return lines.length ? lines.map((line) => line.slice(line[5] === " " ? 6 : 5)).join("\n") : null;
}
