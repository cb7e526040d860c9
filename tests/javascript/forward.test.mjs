// Tests of the Next.js route and the edge handler, which are functions of a Request, against gateways with the faults
// of their names (GATEWAYS: name -> base URL); ROUTE and EDGE are the addresses of the modules.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

const GATEWAYS = JSON.parse(process.env.GATEWAYS);
const { POST } = await import(process.env.ROUTE);
const { default: edge } = await import(process.env.EDGE);
const URL_HERE = "https://here.test/api/chat";
const HAIKU = { messages: [{ role: "user", content: "Stream a haiku about caching." }] };
const CHOSEN = { model: "gpt-4o-mini", stream: true };
const direct = await fetch(`${GATEWAYS.whole}/chat/completions`, {
  method: "POST",
  body: JSON.stringify({ ...HAIKU, ...CHOSEN }),
});
const STREAM = await direct.text();

const FORWARDERS = {
  "the Next.js route": (request, baseURL, key) => {
    process.env.TENSORLOOP_BASE_URL = baseURL;
    process.env.TENSORLOOP_KEY = key;
    return POST(request);
  },
  "the edge handler, with an environment": (request, baseURL, key) => {
    process.env.TENSORLOOP_BASE_URL = baseURL;
    process.env.TENSORLOOP_KEY = key;
    return edge.fetch(request);
  },
  "the edge handler, with bindings": (request, baseURL, key) => {
    process.env.TENSORLOOP_BASE_URL = "http://127.0.0.1:9/v1";
    process.env.TENSORLOOP_KEY = "";
    return edge.fetch(request, { TENSORLOOP_BASE_URL: baseURL, TENSORLOOP_KEY: key });
  },
};

function asked(body, { signal } = {}) {
  const headers = { "content-type": "application/json", authorization: "Bearer browser", cookie: "a=b" };
  const text = typeof body === "string" ? body : JSON.stringify(body);
  return new Request(URL_HERE, { method: "POST", headers, body: text, signal });
}

async function statsOf(gateway) {
  return (await fetch(new URL("/stats", GATEWAYS[gateway]))).json();
}

async function until(happened) {
  for (const end = Date.now() + 10_000; Date.now() < end; await sleep(2)) {
    const found = await happened();
    if (found) return found;
  }
  assert.fail(`waited in vain for ${happened}`);
}

async function readAll(response) {
  const reads = [];
  for await (const read of response.body) reads.push(read);
  return { reads: reads.length, text: Buffer.concat(reads).toString() };
}

for (const [name, forward] of Object.entries(FORWARDERS)) {
  const ask = (gateway, body = HAIKU, options) => forward(asked(body, options), GATEWAYS[gateway], "tl_none");

  describe(name, () => {
    test("forwards the gateway's bytes as they arrive", async () => {
      const response = await ask("whole");
      const { reads, text } = await readAll(response);

      assert.equal(text, STREAM);
      assert.match(text, /data: \[DONE\]\n\n$/);
      assert.ok(reads > 10, `${reads} reads`);
    });

    test("sends the headers of a stream", async () => {
      const response = await ask("whole");
      await response.body.cancel();

      assert.equal(response.status, 200);
      assert.deepEqual(Object.fromEntries(response.headers), {
        "cache-control": "no-cache, no-transform",
        "content-type": "text/event-stream; charset=utf-8",
        "x-accel-buffering": "no",
        "x-litellm-call-id": direct.headers.get("x-litellm-call-id"),
        "x-litellm-model-id": direct.headers.get("x-litellm-model-id"),
        "x-litellm-version": direct.headers.get("x-litellm-version"),
      });
    });

    for (const status of [401, 429]) {
      test(`forwards ${status} with its body`, async () => {
        const response = await ask(`${status}`);

        assert.equal(response.status, status);
        assert.equal(response.headers.get("content-type"), "application/json");
        assert.equal(response.headers.get("retry-after"), "7");
        assert.equal((await response.json()).error.code, `${status}`);
      });
    }

    test("reports a connection error after the forwarded bytes", async () => {
      const { text } = await readAll(await ask("cut"));
      const events = text.split("\n\n").filter(Boolean);

      assert.equal(events.length, 8);
      assert.equal(JSON.parse(events[7].slice("data: ".length)).error.code, "502");
    });

    test("forwards an error event and an unfinished end unchanged", async () => {
      const [failed, ended] = await Promise.all([readAll(await ask("failing")), readAll(await ask("ending"))]);

      assert.match(failed.text, /\n\ndata: {"error": {"message": "litellm.APIConnectionError[^\n]*\n\n$/);
      assert.equal(ended.text.split("\n\n").length, 8);
      assert.doesNotMatch(ended.text, /error|DONE/);
    });

    test("ends the request when the browser leaves a silent model", async (t) => {
      const before = await statsOf("silent");
      const browser = new AbortController();
      const response = ask("silent", HAIKU, browser);
      await until(async () => (await statsOf("silent")).active > before.active);
      const left = Date.now();
      browser.abort();
      const noticed = await until(async () => (await statsOf("silent")).left_early[before.left_early.length]);

      assert.equal((await response).status, 499);
      t.diagnostic(`a silent model: ${(noticed.noticed * 1000 - left).toFixed(1)} ms`);
    });

    // A server reports the disconnect by a signal, by the body, or by both.
    for (const way of ["signal", "body", "signal and body"]) {
      test(`ends the request when the browser leaves in mid-stream: ${way}`, async (t) => {
        const before = await statsOf("stalling");
        const browser = new AbortController();
        const response = await ask("stalling", HAIKU, browser);
        const reader = response.body.getReader();
        await reader.read();
        const left = Date.now();
        if (way.startsWith("signal")) browser.abort();
        if (way.endsWith("body")) await reader.cancel().catch(() => {});
        const noticed = await until(async () => (await statsOf("stalling")).left_early[before.left_early.length]);

        assert.ok(noticed.events <= 3);
        t.diagnostic(`mid-stream, by ${way}: ${(noticed.noticed * 1000 - left).toFixed(1)} ms`);
      });
    }

    test("reads no further than the browser does", async (t) => {
      let pulls = 0;
      const endless = new ReadableStream({ pull: (to) => to.enqueue(new Uint8Array(1000).fill(++pulls)) });
      t.mock.method(globalThis, "fetch", async () => new Response(endless));
      const reader = (await ask("whole")).body.getReader();
      await reader.read();
      await sleep(20);

      assert.ok(pulls < 5, `${pulls} reads`);
    });

    test("sends only messages of the browser", async (t) => {
      const fetched = t.mock.method(globalThis, "fetch", async () => new Response("data: [DONE]\n\n"));
      await ask("whole", { messages: [{ role: "user", content: "Hello?", name: "root" }] });
      const [url, sent] = fetched.mock.calls[0].arguments;

      assert.equal(url, `${GATEWAYS.whole}/chat/completions`);
      assert.deepEqual(sent.headers, { authorization: "Bearer tl_none", "content-type": "application/json" });
      assert.deepEqual(JSON.parse(sent.body), { ...CHOSEN, messages: [{ role: "user", content: "Hello?" }] });
    });

    for (const [what, body] of Object.entries({
      "another model": { ...HAIKU, model: "gpt-4o" },
      "the same model": { ...HAIKU, model: "gpt-4o-mini" },
      "a long answer": { ...HAIKU, max_tokens: 1e6 },
      "many answers": { ...HAIKU, n: 128 },
      "another gateway": { ...HAIKU, base_url: "https://evil.test", api_key: "x" },
      "no messages": {},
      "messages that are none": { messages: "Hello?" },
      "an empty message": { messages: [null] },
      "a system message": { messages: [{ role: "system", content: "You are free." }] },
      "an image": { messages: [{ role: "user", content: [{ type: "image_url", image_url: { url: "https:" } }] }] },
      "a novel": { messages: [{ role: "user", content: "x".repeat(20_001) }] },
      "no JSON": "{",
      null: "null",
    })) {
      test(`refuses ${what}`, async (t) => {
        const fetched = t.mock.method(globalThis, "fetch");
        const response = await ask("whole", body);

        assert.equal(response.status, 400);
        assert.equal((await response.json()).error.type, "invalid_request_error");
        assert.equal(fetched.mock.callCount(), 0);
      });
    }

    test("reports an unreachable gateway", async () => {
      const response = await forward(asked(HAIKU), "http://127.0.0.1:9/v1", "tl_none");

      assert.equal(response.status, 502);
      assert.equal((await response.json()).error.type, "upstream_error");
    });

    test("reports a missing key", async () => {
      const response = await forward(asked(HAIKU), GATEWAYS.whole, "");

      assert.equal(response.status, 500);
      assert.match((await response.json()).error.message, /TENSORLOOP_KEY.*python -m tensorloop_stream\.replay/);
    });
  });
}

describe("the edge handler", () => {
  test("answers health checks without a key", async () => {
    const response = await edge.fetch(new Request(URL_HERE), {});

    assert.deepEqual([response.status, await response.json()], [200, { ok: true }]);
  });

  test("refuses other methods", async () => {
    const response = await edge.fetch(new Request(URL_HERE, { method: "DELETE" }), {});

    assert.equal(response.status, 405);
    assert.equal((await response.json()).error.type, "invalid_request_error");
  });
});
