// What the drivers for Node share: the questions, the picture, the tool, and how results are told. It knows no client.

import { readFileSync } from "node:fs";

const environment = process.env;
export const URL = environment.VITRINE_API_URL;
export const KEY = environment.VITRINE_API_KEY;
export const MODEL = environment.VITRINE_MODEL;

export const PICTURE = readFileSync(environment.VITRINE_PICTURE);
export const DATA_URL = `data:image/png;base64,${PICTURE.toString("base64")}`;

export const WHO = "Who are you?";
export const WHAT = "What is in this picture?";
export const FIRST = "图里有什么？";
export const SECOND = "圆形是什么颜色？";
export const FILL = "Describe the picture.";
export const WEATHER = "What is the weather in Paris?";

// A message of the user with a question alone, and one with the picture too, as OpenAI's API has them.
export const asked = (text) => ({ role: "user", content: text });
export const seen = (text) => ({
  role: "user",
  content: [{ type: "image_url", image_url: { url: DATA_URL } }, { type: "text", text }],
});

export const CALLED = []; // the cities that getWeather was asked for
export function getWeather({ city }) {
  CALLED.push(city);
  return JSON.stringify({ city, weather: "sunny", temperature: 21 });
}
export const TOOL = {
  type: "function",
  function: {
    name: "get_weather",
    description: "The weather in a city.",
    parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
  },
};
const text = { type: "string" };
const shape = {
  type: "object",
  properties: { shape: text, color: text },
  required: ["shape", "color"],
  additionalProperties: false,
};
export const SCHEMA = {
  type: "object",
  properties: { shapes: { type: "array", items: shape } },
  required: ["shapes"],
  additionalProperties: false,
};

// Do the tasks that the environment names, and print a line of JSON for each: what came, or the error.
export async function perform(tasks) {
  for (const name of environment.VITRINE_TASKS.split(",")) {
    let line;
    try {
      line = { task: name, ok: true, got: await tasks[name]() };
    } catch (error) {
      line = { task: name, ok: false, got: String(error).slice(0, 2000) };
    }
    console.log("\n" + JSON.stringify(line));
  }
}
