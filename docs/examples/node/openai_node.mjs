// Ask about a picture with OpenAI's client for Node (npm ci in this folder); the answer is printed as it comes.

import { readFileSync } from "node:fs";
import OpenAI from "openai";

const client = new OpenAI({
  baseURL: process.env.VITRINE_API_URL ?? "http://127.0.0.1:8080/v1",
  apiKey: process.env.VITRINE_API_KEY,
});
const picture = readFileSync(process.argv[2]).toString("base64");
const stream = await client.chat.completions.create({
  model: "glm-4v",
  messages: [
    {
      role: "user",
      content: [
        { type: "image_url", image_url: { url: `data:image/png;base64,${picture}` } },
        { type: "text", text: "What is in this picture?" },
      ],
    },
  ],
  max_tokens: 128,
  temperature: 0,
  stream: true,
});
for await (const chunk of stream) process.stdout.write(chunk.choices[0]?.delta?.content ?? "");
process.stdout.write("\n");
