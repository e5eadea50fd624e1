// LangChain for Node.

import { HumanMessage, ToolMessage } from "@langchain/core/messages";
import { tool } from "@langchain/core/tools";
import { z } from "zod";

import { CALLED, FILL, FIRST, KEY, MODEL, SECOND, URL, WEATHER, WHAT, WHO } from "./tasks.mjs";
import { getWeather, perform, seen } from "./tasks.mjs";

// configuration
import { ChatOpenAI } from "@langchain/openai";

const model = new ChatOpenAI({ model: MODEL, apiKey: KEY, configuration: { baseURL: URL }, temperature: 0, maxTokens: 128 });
// end

const shown = (text) => new HumanMessage({ content: seen(text).content });
const weather = tool(getWeather, {
  name: "get_weather",
  description: "The weather in a city.",
  schema: z.object({ city: z.string() }),
});
const Picture = z.object({ shapes: z.array(z.object({ shape: z.string(), color: z.string() })) });

await perform({
  chat: async () => (await model.invoke(WHO)).content,
  image: async () => (await model.invoke([shown(WHAT)])).content,
  stream: async () => {
    const pieces = [];
    for await (const piece of await model.stream([shown(WHAT)])) pieces.push(piece.content);
    return pieces;
  },
  "second turn": async () => {
    const messages = [shown(FIRST)];
    messages.push(await model.invoke(messages), new HumanMessage(SECOND));
    return (await model.invoke(messages)).content;
  },
  tools: async () => {
    const able = model.bindTools([weather]);
    const messages = [new HumanMessage(WEATHER)];
    const first = await able.invoke(messages);
    messages.push(first);
    for (const call of first.tool_calls) {
      messages.push(new ToolMessage({ content: await weather.invoke(call.args), tool_call_id: call.id }));
    }
    return { cities: CALLED, text: (await able.invoke(messages)).content };
  },
  schema: () => model.withStructuredOutput(Picture, { method: "jsonSchema" }).invoke([shown(FILL)]),
});
