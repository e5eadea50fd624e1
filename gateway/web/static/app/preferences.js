// What the reader set in the drawer, kept in this browser.

const STORED = "vitrine.preferences";

/** @typedef {{model: string, temperature: string, maxTokens: string, thinking: boolean, tools: string}} Preferences */

/** @returns {Preferences} */
export function readPreferences() {
  const none = { model: "", temperature: "", maxTokens: "", thinking: false, tools: "" };
  try {
    return { ...none, ...JSON.parse(localStorage.getItem(STORED) ?? "{}") };
  } catch {
    return none;
  }
}

export function keepPreferences(/** @type {Preferences} */ preferences) {
  localStorage.setItem(STORED, JSON.stringify(preferences));
}

/**
 * A request's body but for its messages.
 * @param {Preferences} preferences @param {string[]} models those that are served
 */
export function bodyOf(preferences, models) {
  const number = (/** @type {string} */ text) => (text === "" ? undefined : Number(text));
  const tools = preferences.tools.trim();
  return {
    model: models.includes(preferences.model) ? preferences.model : models[0],
    stream: true,
    temperature: number(preferences.temperature),
    max_tokens: number(preferences.maxTokens),
    thinking: { type: preferences.thinking ? "enabled" : "disabled" },
    tools: tools ? JSON.parse(tools) : undefined,
  };
}
