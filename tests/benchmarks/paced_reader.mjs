// Reads the streams of paced_server.py with the SDK for Node, as its documentation does. Runs come as lines of JSON;
// a line with the CPU per chunk, and the ages of the chunks, answers each.
import { createInterface } from "node:readline";
import OpenAI from "openai";
import { VERSION } from "openai/version";

const now = process.hrtime.bigint;

async function run({ url, model, messages, streams, chunks }) {
  const client = new OpenAI({ apiKey: "none", baseURL: url, maxRetries: 0 });
  const ages = [];
  let opened = 0, ended = 0, before, spent;

  async function read() {
    const sent = [], arrived = [];
    const stream = await client.chat.completions.create({ model, messages, stream: true });
    for await (const chunk of stream) {
      const text = chunk.choices[0]?.delta?.content;
      if (text) {
        arrived.push(now());
        sent.push(text);
        if (sent.length === 1) {
          if (++opened === streams) before = process.cpuUsage();
        } else if (sent.length === chunks) {
          if (++ended === streams) spent = process.cpuUsage(before);
        }
      }
    }
    if (sent.length !== chunks) throw new Error(`${sent.length} chunks of ${chunks}`);
    for (let at = 1; at < chunks; at++) ages.push(Number(arrived[at] - BigInt(sent[at])) / 1e6);
  }

  await Promise.all(Array.from({ length: streams }, read));
  return { cpu: (spent.user + spent.system) / (streams * (chunks - 1)), ages };
}

console.log(JSON.stringify(`openai ${VERSION}, Node ${process.versions.node}`));
for await (const line of createInterface({ input: process.stdin })) console.log(JSON.stringify(await run(JSON.parse(line))));
