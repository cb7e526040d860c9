// Stream to the browser from an edge runtime: bun recipes/javascript/edge.mjs
// or: deno serve -NE recipes/javascript/edge.mjs, or with bindings: npx wrangler dev recipes/javascript/edge.mjs
//
// The browser posts {"messages": [...]} and gets the gateway's event stream. The stream is complete at [DONE]; before
// it, an event may be an error. The server decides all else: nobody can spend your key on another model or a long
// answer. It does not decide who may chat: require a login first.
//
// Longer than a page, since no SDK checks who asks, keeps the status of an error, and hides the key.

const HOSTS = ["127.0.0.1", "localhost"]; // in production: the names of your site
const CHOSEN = { model: "gpt-4o-mini", stream: true };
const MAX_LENGTH = 20_000; // characters of the request: prompts are billed too
const MAX_ERROR = 65_536; // characters of the gateway's error that are read
const REPLAY = "python -m tensorloop_stream.replay cassettes -- bun recipes/javascript/edge.mjs";

// Without the second and third, compression and proxies may hold the stream back until it is complete.
const SSE_HEADERS = {
  "Content-Type": "text/event-stream; charset=utf-8",
  "Cache-Control": "no-cache, no-transform",
  "X-Accel-Buffering": "no",
  "X-Content-Type-Options": "nosniff",
};
// The gateway's other headers describe the key, its budget and the connection.
const PASSED_ON = ["retry-after", "x-request-id", "x-litellm-call-id", "x-litellm-model-id", "x-litellm-version"];

export default {
  async fetch(request, env) {
    if (request.method === "GET") return Response.json({ ok: true }); // for health checks
    if (request.method !== "POST") return failure(405, "Post a chat.");
    const refused = refusal(request);
    if (refused) return refused;
    const key = setting("TENSORLOOP_KEY", env);
    if (!key) return failure(500, `No Tensorloop key: set TENSORLOOP_KEY, or run recorded streams: ${REPLAY}`);
    const baseURL = setting("TENSORLOOP_BASE_URL", env) || "https://litellm.tensorloop.tech/v1";
    let body;
    try {
      body = JSON.stringify(chosen(await request.text()));
    } catch (error) {
      return failure(400, error.message);
    }
    let answer;
    try {
      answer = await fetch(`${baseURL}/chat/completions`, {
        method: "POST",
        headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
        body,
        redirect: "manual", // another host must not get the prompt
        // Without a signal, an answer is billed although its browser left while the model was silent. Bun aborts at
        // once, Cloudflare with the compatibility flag enable_request_signal; Deno and workerd at the next write.
        signal: request.signal,
      });
    } catch {
      if (request.signal.aborted) return new Response(null, { status: 499 }); // nobody reads it
      return failure(502, "The gateway could not be reached.");
    }
    const redact = await redactorOf(key);
    const headers = new Headers(SSE_HEADERS);
    for (const name of PASSED_ON) {
      const value = answer.headers.get(name);
      if (value) headers.set(name, redact(value));
    }
    if (answer.ok && answer.body) return new Response(forwarded(answer.body, redact), { headers });
    return failed(answer, headers, redact);
  },
};

/** Return a setting: on Cloudflare from the bindings of the request, elsewhere from the environment. */
function setting(name, env) {
  return env?.[name] ?? globalThis.process?.env[name];
}

/** Return a refusal, or nothing: any page in the world can send a form here, and would spend the key. */
function refusal(request) {
  const get = (name) => request.headers.get(name)?.toLowerCase();
  const host = get("host") ?? new URL(request.url).host;
  if (!HOSTS.includes(host.replace(/:\d+$/, ""))) return failure(400, "This host is not in HOSTS.");
  const [site, origin] = [get("sec-fetch-site"), get("origin")]; // only old browsers and http:// have no first
  const isOfAnother = site ? site === "cross-site" : origin !== undefined && origin.split("://")[1] !== host;
  if (isOfAnother) return failure(403, "This is no page of this site.");
  if (get("content-type")?.split(";")[0].trim() !== "application/json") return failure(415, "Send application/json.");
}

/** Return the request for the gateway: only the messages are from the browser. */
function chosen(text) {
  if (text.length > MAX_LENGTH) throw new Error(`This is longer than ${MAX_LENGTH} characters.`);
  const { messages, ...others } = JSON.parse(text);
  const [other] = Object.keys(others);
  if (other) throw new Error(`${other} is not for the browser to choose.`);
  if (!Array.isArray(messages) || !messages.every(isMessage)) throw new Error("messages: each a role and its text.");
  return { ...CHOSEN, messages: messages.map(({ role, content }) => ({ role, content })) };
}

/** Tell whether a browser may send a message: only the server writes system messages, and an image can be costly. */
function isMessage(message) {
  return ["user", "assistant"].includes(message?.role) && typeof message.content === "string";
}

/** Return the answer for an error before the stream: the gateway's status and JSON, unless it refused this server. */
async function failed(answer, headers, redact) {
  const text = redact(await beginningOf(answer));
  const line = text.slice(0, 2000).replace(/[\x00-\x1f\x7f-\x9f]+/g, " ");
  console.error(`The gateway answered ${answer.status}: ${line}`);
  // A 401 or 403 is about the key of this server, and would log a page's user out; a spent budget is about it, too.
  if ([401, 403].includes(answer.status) || /"(type|code)":\s*"budget_exceeded"/.test(text)) {
    return failure(502, "The service is not available: its operator can see the reason in the log.");
  }
  // A redirect would carry the prompt elsewhere.
  if (answer.status < 400) return failure(502, "The gateway sent no stream.");
  // A page of a proxy must not be a page of this site.
  const error = isJSON(text) ? text : errorJSON(answer.status, `The gateway answered ${answer.status}.`);
  headers.set("Content-Type", "application/json");
  return new Response(error, { status: answer.status, headers });
}

/** Return the beginning of a body: an endless one must not fill the memory, or be waited for. */
async function beginningOf(answer) {
  const [reader, decoder] = [answer.body?.getReader(), new TextDecoder()];
  const timer = setTimeout(() => reader?.cancel(), 10_000);
  let text = "";
  try {
    while (reader && text.length < MAX_ERROR) {
      const { done, value } = await reader.read();
      if (done) break;
      text += decoder.decode(value, { stream: true });
    }
    await reader?.cancel();
  } catch {
    // The connection was cut: this is what came.
  } finally {
    clearTimeout(timer);
  }
  return text.slice(0, MAX_ERROR);
}

function isJSON(text) {
  try {
    return typeof JSON.parse(text) === "object";
  } catch {
    return false;
  }
}

/** Return a function that hides the key in each form in which gateways repeat it: whole, masked, or its SHA-256. */
async function redactorOf(key) {
  if (key.length < 8) return (text) => text; // a stand-in, and perhaps a word
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(key)));
  const hash = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
  const [whole, head, tail] = [key, key.slice(0, 4), key.slice(-4)].map((text) => text.replace(/[^\w-]/g, "\\$&"));
  const [dots, word] = ["(?:\\.{2,}|\\*{2,}|…|\\\\u2026)", "[\\w/-]{0,200}"];
  const masked = `${head}${word}${dots}${word}|(?:(?<![\\w\\\\-])[\\w-]{0,16})?${dots}${word}${tail}`;
  const ending = `(?<=\\b(?:ending|ends|last) )(?:\\w+ ){0,3}['"]?${tail}`;
  const forms = new RegExp(`${whole}|${hash}|${hash.toUpperCase()}|${masked}|${ending}`, "g");
  return (text) => text.replace(forms, "***");
}

/** Forward a stream at its own pace; a cut becomes an error event, because workerd would show a clean end. */
function forwarded(body, redact) {
  const [reader, encoder] = [body.getReader(), new TextEncoder()];
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  let held = ""; // the beginning of a line, which may be that of a key
  return new ReadableStream(
    {
      async pull(controller) {
        try {
          for (;;) {
            const { done, value } = await reader.read();
            held += decoder.decode(value, { stream: !done });
            let end = done ? held.length : held.lastIndexOf("\n") + 1;
            if (held.length - end > MAX_ERROR) {
              held = redact(held); // a line without an end
              end = Math.max(held.length - 2000, 0);
            }
            const text = redact(held.slice(0, end));
            held = held.slice(end);
            if (text) controller.enqueue(encoder.encode(text));
            if (done) controller.close();
            if (done || text) return;
          }
        } catch {
          const error = errorJSON(502, "The connection to the gateway was cut.");
          controller.enqueue(encoder.encode(`${redact(held)}\n\ndata: ${error}\n\n`));
          controller.close();
        }
      },
      cancel: (reason) => reader.cancel(reason),
    },
    { highWaterMark: 0 }, // read when asked, not ahead
  );
}

function failure(status, message) {
  const headers = { "Content-Type": "application/json", "X-Content-Type-Options": "nosniff" };
  return new Response(errorJSON(status, message), { status, headers });
}

/** Return an error in the gateway's shape. */
function errorJSON(status, message) {
  const type = status < 500 ? "invalid_request_error" : status === 502 ? "upstream_error" : "internal_server_error";
  return JSON.stringify({ error: { message, type, param: null, code: String(status) } });
}
