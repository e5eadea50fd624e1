// The AI SDK (Vercel) with its package for APIs like OpenAI's.

import { generateText, Output, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

import { CALLED, FILL, FIRST, KEY, MODEL, PICTURE, SECOND, URL, WEATHER, WHAT, WHO } from "./tasks.mjs";
import { getWeather, perform } from "./tasks.mjs";

// configuration
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";

const vitrine = createOpenAICompatible({ name: "vitrine", baseURL: URL, apiKey: KEY, supportsStructuredOutputs: true });
const model = vitrine(MODEL);
// end

const options = { model, temperature: 0, maxOutputTokens: 128, maxRetries: 0 };
const asked = (text) => ({ role: "user", content: text });
const shown = (text) => ({
  role: "user",
  content: [{ type: "image", image: PICTURE, mediaType: "image/png" }, { type: "text", text }],
});
const weather = tool({
  description: "The weather in a city.",
  inputSchema: z.object({ city: z.string() }),
  execute: getWeather,
});
const Picture = z.object({ shapes: z.array(z.object({ shape: z.string(), color: z.string() })) });

await perform({
  chat: async () => (await generateText({ ...options, prompt: WHO })).text,
  image: async () => (await generateText({ ...options, messages: [shown(WHAT)] })).text,
  stream: async () => {
    const pieces = [];
    for await (const piece of streamText({ ...options, messages: [shown(WHAT)] }).textStream) pieces.push(piece);
    return pieces;
  },
  "second turn": async () => {
    const first = await generateText({ ...options, messages: [shown(FIRST)] });
    const messages = [shown(FIRST), ...first.response.messages, asked(SECOND)];
    return (await generateText({ ...options, messages })).text;
  },
  tools: async () => {
    const tools = { get_weather: weather };
    const { text } = await generateText({ ...options, tools, stopWhen: stepCountIs(4), prompt: WEATHER });
    return { cities: CALLED, text };
  },
  schema: async () => {
    const form = Output.object({ schema: Picture });
    return (await generateText({ ...options, output: form, messages: [shown(FILL)] })).output;
  },
});
