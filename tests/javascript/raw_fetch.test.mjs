// Tests of the function to copy in recipes/javascript/raw_fetch.mjs, on bytes split by hand (RECIPE: its path).

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { describe, test } from "node:test";

const copied = (await readFile(process.env.RECIPE, "utf8")).split("// Copy from here on.")[1];
const code = encodeURIComponent(`//${copied}\nexport { streamChat };`);
const { streamChat } = await import(`data:text/javascript,${code}`);

const ASKED = { apiKey: "tl_none", baseURL: "https://gateway.test/v1" };
const HELLO = ["Hé", "l\u2028l", "o 🍃"].map((content) => ({ choices: [{ index: 0, delta: { content } }] }));
const DONE = "data: [DONE]\n\n";

function sse(...chunks) {
  return chunks.map((chunk) => `data: ${JSON.stringify(chunk)}\n\n`).join("");
}

/** Let fetch answer with these reads, then end, or break with an error, or stay open with null. */
function answerWith(t, reads, { status = 200, end } = {}) {
  const left = reads.map((read) => (typeof read === "string" ? new TextEncoder().encode(read) : read));
  const answer = { cancelled: false };
  const body = new ReadableStream({
    pull(controller) {
      if (left.length) controller.enqueue(left.shift());
      else if (end) controller.error(end);
      else if (end === undefined) controller.close();
      else return new Promise(() => {});
    },
    cancel: () => void (answer.cancelled = true),
  });
  answer.fetch = t.mock.method(globalThis, "fetch", async () => new Response(body, { status }));
  return answer;
}

async function chunksOf(stream = streamChat({}, ASKED)) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
}

describe("streamChat", () => {
  test("sends the body with stream and the key", async (t) => {
    const { fetch } = answerWith(t, [DONE]);
    await chunksOf(streamChat({ model: "gpt-4o-mini", own_field: [1] }, ASKED));
    const [url, { method, headers, body }] = fetch.mock.calls[0].arguments;

    assert.deepEqual([method, url], ["POST", "https://gateway.test/v1/chat/completions"]);
    assert.equal(headers.authorization, "Bearer tl_none");
    assert.deepEqual(JSON.parse(body), { model: "gpt-4o-mini", own_field: [1], stream: true });
  });

  for (const [name, lineEnd] of Object.entries({ LF: "\n", CRLF: "\r\n", CR: "\r" })) {
    test(`reads the same for any cut: ${name}`, async (t) => {
      const text = `\ufeff: ping\n\nretry: 5\nid: 1\ndata:\n\n${sse(...HELLO)}${DONE}`.replaceAll("\n", lineEnd);
      const bytes = new TextEncoder().encode(text);
      for (let size = 1; size <= 40; size++) {
        const reads = [];
        for (let at = 0; at < bytes.length; at += size) reads.push(bytes.slice(at, at + size));
        answerWith(t, reads);

        assert.deepEqual(await chunksOf(), HELLO, `${size} bytes a read`);
      }
    });

    test(`yields a chunk as soon as it is complete: ${name}`, async (t) => {
      answerWith(t, [sse(HELLO[0]).replaceAll("\n", lineEnd)], { end: null });
      const { value } = await streamChat({}, ASKED).next();

      assert.deepEqual(value, HELLO[0]);
    });
  }

  test("joins the lines of an event", async (t) => {
    answerWith(t, ['event: message\ndata: {"choices":\ndata: []}\n\n', DONE]);

    assert.deepEqual(await chunksOf(), [{ choices: [] }]);
  });

  test("ends at [DONE] while the connection stays open", async (t) => {
    const answer = answerWith(t, [sse(...HELLO) + DONE], { end: null });

    assert.deepEqual(await chunksOf(), HELLO);
    assert.ok(answer.cancelled);
  });

  test("closes the connection when the loop ends early", async (t) => {
    const answer = answerWith(t, [sse(...HELLO)], { end: null });
    for await (const chunk of streamChat({}, ASKED)) if (chunk) break;

    assert.ok(answer.cancelled);
  });

  const refusal = JSON.stringify({ error: { message: "Rate limit exceeded", type: "rate_limit_error", code: "429" } });
  for (const [what, reads, options, says] of [
    ["a refusal in JSON", [refusal], { status: 429 }, /^429 Rate limit exceeded$/],
    ["a refusal by something before the gateway", ["Bad Gateway"], { status: 502 }, /^502 Bad Gateway$/],
    ["a refusal without a word", [], { status: 503 }, /^503 no message$/],
    ["an error among the chunks", [sse(HELLO[0]), sse({ error: { message: "It broke" } }), DONE], {}, /^It broke$/],
    ["an event that is an error", [sse(HELLO[0]), "event: error\ndata: It broke\n\n", DONE], {}, /^It broke$/],
    ["an event that is an error in JSON", ['event: error\ndata: {"message":"It broke"}\n\n'], {}, /^It broke$/],
    ["a missing end", [sse(...HELLO)], {}, /^The stream ended without \[DONE\]\.$/],
    ["an end inside an event", [sse(...HELLO), "data: [DONE]"], {}, /^The stream ended without \[DONE\]\.$/],
    ["nothing at all", [], {}, /^The stream ended without \[DONE\]\.$/],
    ["a cut", [sse(...HELLO)], { end: new TypeError("terminated") }, /^The connection was cut/],
    ["what is not JSON", ["data: {\n\n"], {}, /JSON/],
    ["what is not UTF-8", [new Uint8Array([0x64, 0xff, 0x0a])], {}, /utf-8/],
    ["the signal's reason", [sse(HELLO[0])], { end: new Error("Stopped.") }, /^Stopped\.$/],
  ]) {
    test(`throws ${what}`, async (t) => {
      answerWith(t, reads, options);

      await assert.rejects(chunksOf(), { message: says });
    });
  }
});
