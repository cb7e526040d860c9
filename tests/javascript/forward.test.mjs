// Tests of the Next.js route and the edge handler, which are functions of a Request, against gateways with the faults
// of their names (GATEWAYS: name -> base URL); ROUTE and EDGE are the addresses of the modules.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { createServer } from "node:http";
import { once } from "node:events";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

const GATEWAYS = JSON.parse(process.env.GATEWAYS);
const { POST } = await import(process.env.ROUTE);
const { default: edge } = await import(process.env.EDGE);
const URL_HERE = "http://localhost/api/chat";
const HAIKU = { messages: [{ role: "user", content: "Stream a haiku about caching." }] };
const CHOSEN = { model: "gpt-4o-mini", stream: true };
const KEY = "sk-Tl_b3dEf6hIj9kLmN0pQ7r";
const DIGEST = createHash("sha256").update(KEY).digest("hex");
const SHOWN = `sk-...${KEY.slice(-4)}`;
const SECRETS = [KEY, KEY.slice(-4), DIGEST, DIGEST.toUpperCase()];
const UNAVAILABLE = "The service is not available: its operator can see the reason in the log.";
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
  const askWithKey = () => forward(asked(HAIKU), GATEWAYS.whole, KEY);

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
        "x-content-type-options": "nosniff",
        "x-litellm-call-id": direct.headers.get("x-litellm-call-id"),
        "x-litellm-model-id": direct.headers.get("x-litellm-model-id"),
        "x-litellm-version": direct.headers.get("x-litellm-version"),
      });
    });

    test("forwards 429 with its body", async (t) => {
      t.mock.method(console, "error", () => {});
      const response = await ask("429");

      assert.equal(response.status, 429);
      assert.equal(response.headers.get("content-type"), "application/json");
      assert.equal(response.headers.get("x-content-type-options"), "nosniff");
      assert.equal(response.headers.get("retry-after"), "7");
      assert.equal((await response.json()).error.code, "429");
    });

    for (const [what, status, error] of [
      ["of the key", 401, { type: "auth_error", code: "401" }],
      ["of the model", 403, { type: "permission_denied", code: "403" }],
      ["of a spent budget", 400, { type: "budget_exceeded", code: "400" }],
      ["of a spent budget of a proxy before a proxy", 429, { error: { error: { code: "budget_exceeded" } } }],
    ]) {
      test(`hides a refusal ${what}, and logs it without the key`, async (t) => {
        const logged = t.mock.method(console, "error", () => {});
        const body = { error: { ...error, message: `Received API Key = ${SHOWN}, Hash = ${DIGEST}` } };
        const headers = { "x-request-id": KEY, "retry-after": "7" };
        t.mock.method(globalThis, "fetch", async () => Response.json(body, { status, headers }));
        const response = await askWithKey();
        const text = await response.text();

        assert.equal(response.status, 502);
        assert.equal(response.headers.get("retry-after"), null);
        assert.equal(JSON.parse(text).error.message, UNAVAILABLE);
        assert.equal(logged.mock.callCount(), 1);
        const line = logged.mock.calls[0].arguments.join(" ");
        assert.match(line, new RegExp(`${status}.*Received API Key = `));
        for (const secret of SECRETS) assert.ok(!`${text}${line}`.includes(secret), line);
      });
    }

    for (const [form, words] of Object.entries({
      whole: KEY,
      masked: SHOWN,
      "masked by stars": `sk-T********${KEY.slice(-4)}`,
      hashed: DIGEST,
      "hashed in capitals": DIGEST.toUpperCase(),
      "its end": `the key ending in ${KEY.slice(-4)}`,
      "after an escape": `line\n${SHOWN}`,
    })) {
      test(`hides the key in another error: ${form}`, async (t) => {
        t.mock.method(console, "error", () => {});
        const error = { message: `Slow down: ${words}`, code: "429" };
        t.mock.method(globalThis, "fetch", async () => Response.json({ error }, { status: 429 }));
        const response = await askWithKey();
        const text = await response.text();

        assert.equal(response.status, 429);
        assert.match(JSON.parse(text).error.message, /^Slow down: /);
        for (const secret of SECRETS) assert.ok(!text.includes(secret), text);
      });

      test(`hides the key in an event, wherever it is cut: ${form}`, async (t) => {
        const event = `data: ${JSON.stringify({ error: { message: `No: ${words} é`, code: "401" } })}\n\n`;
        const bytes = new TextEncoder().encode(`data: {}\n\n${event}`);
        let parts;
        t.mock.method(globalThis, "fetch", async () => new Response(ReadableStream.from(parts)));
        for (const size of [1, 7, bytes.length]) {
          parts = [];
          for (let at = 0; at < bytes.length; at += size) parts.push(bytes.slice(at, at + size));
          const { text } = await readAll(await askWithKey());

          assert.match(JSON.parse(text.split("\n\n")[1].slice("data: ".length)).error.message, /^No: [^]*é$/);
          for (const secret of SECRETS) assert.ok(!text.includes(secret), text);
        }
      });
    }

    test("forwards a stream without the key unchanged, wherever it is cut", async (t) => {
      const sent = new TextEncoder().encode('\ufeffdata: {"a": "é…\\n"}\r\n\r\n: ping\n\ndata: [DONE]\n\ndata: x');
      const parts = [...sent].map((byte) => Uint8Array.of(byte));
      t.mock.method(globalThis, "fetch", async () => new Response(ReadableStream.from(parts)));
      const got = Buffer.from(await (await askWithKey()).arrayBuffer());

      assert.deepEqual(got, Buffer.from(sent));
    });

    test("makes no page of a proxy's page", async (t) => {
      t.mock.method(console, "error", () => {});
      const page = new Response("<script>alert(1)</script>", { status: 503, headers: { "content-type": "text/html" } });
      t.mock.method(globalThis, "fetch", async () => page);
      const response = await askWithKey();

      assert.equal(response.status, 503);
      assert.equal(response.headers.get("content-type"), "application/json");
      assert.equal((await response.json()).error.message, "The gateway answered 503.");
    });

    test("hides the key at the cut of an endless line", async (t) => {
      const parts = ["x".repeat(70_000), KEY.slice(0, 9), KEY.slice(9), "y".repeat(70_000)].map((part) => Buffer.from(part));
      t.mock.method(globalThis, "fetch", async () => new Response(ReadableStream.from(parts)));
      const { reads, text } = await readAll(await askWithKey());

      assert.equal(text, `${"x".repeat(70_000)}***${"y".repeat(70_000)}`);
      assert.ok(reads > 1);
    });

    test("reads only the beginning of an endless error", async (t) => {
      t.mock.method(console, "error", () => {});
      let pulls = 0;
      const endless = new ReadableStream({ pull: (to) => to.enqueue(new Uint8Array(10_000).fill(32 + 0 * ++pulls)) });
      t.mock.method(globalThis, "fetch", async () => new Response(endless, { status: 500 }));
      const response = await askWithKey();

      assert.equal(response.status, 500);
      assert.ok(pulls < 20, `${pulls} reads`);
    });

    test("carries no prompt to where the gateway redirects", async (t) => {
      t.mock.method(console, "error", () => {});
      let requests = 0;
      const other = createServer((_, response) => (requests++, response.end())).listen(0, "127.0.0.1");
      await once(other, "listening");
      const location = `http://127.0.0.1:${other.address().port}/v1/chat/completions`;
      const gateway = createServer((_, response) => response.writeHead(307, { location }).end()).listen(0, "127.0.0.1");
      await once(gateway, "listening");
      const response = await forward(asked(HAIKU), `http://127.0.0.1:${gateway.address().port}/v1`, KEY);
      for (const server of [other, gateway]) {
        server.closeAllConnections();
        server.close();
      }

      assert.equal(response.status, 502);
      assert.equal(requests, 0);
    });

    const JSON_TYPE = { "content-type": "application/json" };
    for (const [what, status, headers] of [
      ["a form of another site", 403, { "content-type": "text/plain", "sec-fetch-site": "cross-site" }],
      ["a script of another site", 403, { ...JSON_TYPE, "sec-fetch-site": "cross-site", origin: "http://localhost" }],
      ["another site in an old browser", 403, { ...JSON_TYPE, origin: "https://evil.test" }],
      ["another port in an old browser", 403, { ...JSON_TYPE, origin: "http://localhost:81" }],
      ["a page without an origin", 403, { ...JSON_TYPE, origin: "null" }],
      ["text", 415, { "content-type": "text/plain" }],
      ["a form", 415, { "content-type": "application/x-www-form-urlencoded", "sec-fetch-site": "same-origin" }],
      ["text that looks like JSON", 415, { "content-type": "text/plain; application/json" }],
      ["another host", 400, { ...JSON_TYPE, host: "evil.test" }],
      ["another host that begins like ours", 400, { ...JSON_TYPE, host: "localhost.evil.test:80" }],
    ]) {
      test(`refuses ${what}`, async (t) => {
        const fetched = t.mock.method(globalThis, "fetch");
        const request = new Request(URL_HERE, { method: "POST", headers, body: JSON.stringify(HAIKU) });
        const response = await forward(request, GATEWAYS.whole, KEY);

        assert.equal(response.status, status);
        assert.equal((await response.json()).error.type, "invalid_request_error");
        assert.equal(fetched.mock.callCount(), 0);
      });
    }

    for (const [what, headers] of Object.entries({
      "the same site": { ...JSON_TYPE, "sec-fetch-site": "same-origin", origin: "http://localhost" },
      "the same site in an old browser": { ...JSON_TYPE, host: "LOCALHOST:3000", origin: "http://localhost:3000" },
      "a program": { "content-type": "Application/JSON; charset=utf-8" },
    })) {
      test(`answers ${what}`, async () => {
        const request = new Request(URL_HERE, { method: "POST", headers, body: JSON.stringify(HAIKU) });
        const response = await forward(request, GATEWAYS.whole, "tl_none");

        assert.equal((await readAll(response)).text, STREAM);
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
      const endless = new ReadableStream({ pull: (to) => to.enqueue(Buffer.from(`data: ${++pulls}\n\n`)) });
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
