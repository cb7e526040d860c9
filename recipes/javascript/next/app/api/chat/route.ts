// Stream to the browser from a Next.js app, with this file as its app/api/chat/route.ts: npx next dev
//
// The browser posts {"messages": [...]} and gets the gateway's event stream. The stream is complete at [DONE]; before
// it, an event may be an error. The server decides all else: nobody can spend your key on another model or a long
// answer. It does not decide who may chat: require a login first.
//
// Longer than a page, since no SDK checks the messages, keeps the status of an error, and shows a cut upstream.

const CHOSEN = { model: "gpt-4o-mini", stream: true };
const MAX_LENGTH = 20_000; // characters of the request: prompts are billed too
const REPLAY = "python -m tensorloop_stream.replay cassettes -- npx next dev";

// Without the last two, compression and proxies may hold the stream back until it is complete.
const SSE_HEADERS = {
  "Content-Type": "text/event-stream; charset=utf-8",
  "Cache-Control": "no-cache, no-transform",
  "X-Accel-Buffering": "no",
};
// The gateway's other headers describe the key, its budget and the connection.
const PASSED_ON = ["retry-after", "x-request-id", "x-litellm-call-id", "x-litellm-model-id", "x-litellm-version"];

export async function POST(request: Request): Promise<Response> {
  const key = process.env.TENSORLOOP_KEY;
  if (!key) return failure(500, `No Tensorloop key: set TENSORLOOP_KEY, or run recorded streams: ${REPLAY}`);
  const baseURL = process.env.TENSORLOOP_BASE_URL || "https://litellm.tensorloop.tech/v1";
  let body: string;
  try {
    body = JSON.stringify(chosen(await request.text()));
  } catch (error) {
    return failure(400, (error as Error).message);
  }
  let answer: Response;
  try {
    answer = await fetch(`${baseURL}/chat/completions`, {
      method: "POST",
      headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
      body,
      signal: request.signal, // without it, an answer is billed although its browser left
    });
  } catch {
    if (request.signal.aborted) return new Response(null, { status: 499 }); // nobody reads it
    return failure(502, "The gateway could not be reached.");
  }
  const headers = new Headers(SSE_HEADERS);
  for (const name of PASSED_ON) {
    const value = answer.headers.get(name);
    if (value) headers.set(name, value);
  }
  if (answer.ok && answer.body) return new Response(endingVisibly(answer.body), { headers });
  // An error before the stream (401, 403, 404, 429, 5xx) keeps the gateway's status and JSON.
  headers.set("Content-Type", answer.headers.get("Content-Type") ?? "application/json");
  return new Response(answer.body, { status: answer.status, headers });
}

/** Return the request for the gateway: only the messages are from the browser. */
function chosen(text: string): object {
  if (text.length > MAX_LENGTH) throw new Error(`This is longer than ${MAX_LENGTH} characters.`);
  const { messages, ...others } = JSON.parse(text);
  const [other] = Object.keys(others);
  if (other) throw new Error(`${other} is not for the browser to choose.`);
  if (!Array.isArray(messages) || !messages.every(isMessage)) throw new Error("messages: each a role and its text.");
  return { ...CHOSEN, messages: messages.map(({ role, content }) => ({ role, content })) };
}

/** Tell whether a browser may send a message: only the server writes system messages, and an image can be costly. */
function isMessage(message: any): boolean {
  return ["user", "assistant"].includes(message?.role) && typeof message.content === "string";
}

/** Forward a stream at its own pace; a cut becomes an error event, because some servers would show a clean end. */
function endingVisibly(body: ReadableStream<Uint8Array>): ReadableStream<Uint8Array> {
  const reader = body.getReader();
  return new ReadableStream(
    {
      async pull(controller) {
        try {
          const { done, value } = await reader.read();
          if (done) controller.close();
          else controller.enqueue(value);
        } catch {
          const error = errorJSON(502, "The connection to the gateway was cut.");
          controller.enqueue(new TextEncoder().encode(`\n\ndata: ${error}\n\n`));
          controller.close();
        }
      },
      cancel: (reason) => reader.cancel(reason),
    },
    { highWaterMark: 0 }, // read when asked, not ahead
  );
}

function failure(status: number, message: string): Response {
  return new Response(errorJSON(status, message), { status, headers: { "Content-Type": "application/json" } });
}

/** Return an error in the gateway's shape. */
function errorJSON(status: number, message: string): string {
  const type = status < 500 ? "invalid_request_error" : status === 502 ? "upstream_error" : "internal_server_error";
  return JSON.stringify({ error: { message, type, param: null, code: String(status) } });
}
