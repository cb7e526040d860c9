// Print an answer as it arrives, typed: node recipes/javascript/stream.ts
// Node 22.18 and newer run TypeScript directly; for older ones: npx tsx recipes/javascript/stream.ts
// Install the SDK first: npm install --prefix recipes/javascript

import OpenAI from "openai";
import type { ChatCompletionChunk, ChatCompletionCreateParamsStreaming } from "openai/resources/chat/completions";

const REPLAY = "python -m tensorloop_stream.replay cassettes -- node recipes/javascript/stream.ts";
const HAIKU: ChatCompletionCreateParamsStreaming = {
  model: "gpt-4o-mini",
  messages: [{ role: "user", content: "Stream a haiku about caching." }],
  stream: true,
};

async function print(client: OpenAI, request: ChatCompletionCreateParamsStreaming): Promise<void> {
  let text = "", finishReason: ChatCompletionChunk.Choice["finish_reason"] = null;
  for await (const chunk of await client.chat.completions.create(request)) {
    const choice = chunk.choices?.[0]; // the type requires choices, but a chunk with the usage may have none
    const delta = choice?.delta?.content ?? "";
    process.stdout.write(delta);
    text += delta;
    finishReason = choice?.finish_reason ?? finishReason;
  }
  // The SDK takes a stream that stops without a finish reason for a complete one.
  if (!finishReason) throw new Error(`The stream ended after ${text.length} characters with no finish_reason.`);
  console.log(`\n--- final (${text.length} chars) ---`);
  if (["length", "content_filter"].includes(finishReason)) console.log(`(cut: ${finishReason})`);
}

try {
  const apiKey = process.env.TENSORLOOP_KEY;
  if (!apiKey) throw new Error(`No Tensorloop key: set TENSORLOOP_KEY, or run recorded streams: ${REPLAY}`);
  const baseURL = process.env.TENSORLOOP_BASE_URL || "https://litellm.tensorloop.tech/v1";
  await print(new OpenAI({ apiKey, baseURL }), HAIKU);
} catch (error) {
  const { message } = error as Error;
  // After a cut in mid-stream, the SDK raises no error of its own: fetch's `TypeError: terminated` reaches the loop.
  console.error(message === "terminated" ? "The connection was cut before the answer was whole." : message);
  process.exitCode = 1;
}
