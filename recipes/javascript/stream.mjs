// Print an answer as it arrives: node recipes/javascript/stream.mjs
// The SDK comes first: npm install --prefix recipes/javascript

import OpenAI from "openai";

const REPLAY = "python -m tensorloop_stream.replay cassettes -- node recipes/javascript/stream.mjs";

try {
  const apiKey = process.env.TENSORLOOP_KEY;
  if (!apiKey) throw new Error(`No Tensorloop key: set TENSORLOOP_KEY, or run recorded streams: ${REPLAY}`);
  const baseURL = process.env.TENSORLOOP_BASE_URL || "https://litellm.tensorloop.tech/v1";
  const client = new OpenAI({ apiKey, baseURL });
  const stream = await client.chat.completions.create({
    model: "gpt-4o-mini",
    messages: [{ role: "user", content: "Stream a haiku about caching." }],
    temperature: 0.2,
    max_tokens: 60,
    stream: true,
  });
  let text = "";
  let finishReason = null;
  for await (const chunk of stream) {
    const choice = chunk.choices?.[0]; // a chunk with the usage or a filter's verdict may have none
    const piece = choice?.delta?.content ?? "";
    process.stdout.write(piece);
    text += piece;
    finishReason = choice?.finish_reason ?? finishReason;
  }
  // To the SDK, a stream that merely stops is a whole one.
  if (!finishReason) throw new Error(`The stream ended after ${text.length} characters with no finish_reason.`);
  console.log(`\n--- final (${text.length} chars) ---`);
} catch (error) {
  // A connection cut in mid-stream is no error of the SDK's: fetch's bare `TypeError: terminated` reaches the loop.
  console.error(error.message === "terminated" ? "The connection was cut before the answer was whole." : error.message);
  process.exitCode = 1;
}
