// Print an answer as it arrives: node recipes/javascript/stream.mjs
// Install the SDK first: npm install --prefix recipes/javascript

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
    stream: true,
  });
  let text = "";
  let finishReason = null;
  for await (const chunk of stream) {
    const choice = chunk.choices?.[0]; // a chunk with the usage or with filter results may have none
    const delta = choice?.delta?.content ?? "";
    process.stdout.write(delta);
    text += delta;
    finishReason = choice?.finish_reason ?? finishReason;
  }
  // The SDK takes a stream that stops without a finish reason for a complete one.
  if (!finishReason) throw new Error(`The stream ended after ${text.length} characters with no finish_reason.`);
  console.log(`\n--- final (${text.length} chars) ---`);
  if (["length", "content_filter"].includes(finishReason)) console.log(`(cut: ${finishReason})`);
} catch (error) {
  // After a cut in mid-stream, the SDK raises no error of its own: fetch's `TypeError: terminated` reaches the loop.
  console.error(error.message === "terminated" ? "The connection was cut before the answer was whole." : error.message);
  process.exitCode = 1;
}
