// OpenAI's client for Node.

import { CALLED, FILL, FIRST, KEY, MODEL, SCHEMA, SECOND, TOOL, URL, WEATHER, WHAT, WHO } from "./tasks.mjs";
import { asked, getWeather, perform, seen } from "./tasks.mjs";

// configuration
import OpenAI from "openai";

const client = new OpenAI({ baseURL: URL, apiKey: KEY });
// await client.chat.completions.create({ model: MODEL, messages: ... })
// end

const options = { model: MODEL, temperature: 0, max_tokens: 128 };

async function answer(messages, more = {}) {
  const whole = await client.chat.completions.create({ messages, ...options, ...more });
  return whole.choices[0].message;
}

await perform({
  chat: async () => (await answer([asked(WHO)])).content,
  image: async () => (await answer([seen(WHAT)])).content,
  stream: async () => {
    const pieces = [];
    const stream = await client.chat.completions.create({ messages: [seen(WHAT)], stream: true, ...options });
    for await (const chunk of stream) pieces.push(chunk.choices[0]?.delta?.content ?? "");
    return pieces;
  },
  "second turn": async () => {
    const messages = [seen(FIRST)];
    messages.push(await answer(messages), asked(SECOND));
    return (await answer(messages)).content;
  },
  tools: async () => {
    const messages = [asked(WEATHER)];
    const first = await answer(messages, { tools: [TOOL] });
    messages.push(first);
    for (const call of first.tool_calls) {
      const content = getWeather(JSON.parse(call.function.arguments));
      messages.push({ role: "tool", tool_call_id: call.id, content });
    }
    return { cities: CALLED, text: (await answer(messages, { tools: [TOOL] })).content };
  },
  schema: async () => {
    const form = { type: "json_schema", json_schema: { name: "picture", schema: SCHEMA, strict: true } };
    return JSON.parse((await answer([seen(FILL)], { response_format: form })).content);
  },
});
