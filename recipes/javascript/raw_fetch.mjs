// Stream without the SDK, from fetch alone: node recipes/javascript/raw_fetch.mjs
// Longer than a page, since it decodes the events itself, and tells apart all that can go wrong with them.

const REPLAY = "python -m tensorloop_stream.replay cassettes -- node recipes/javascript/raw_fetch.mjs";

const stop = new AbortController();
process.once("SIGINT", () => stop.abort(new Error("Stopped.")));

try {
  const apiKey = process.env.TENSORLOOP_KEY;
  if (!apiKey) throw new Error(`No Tensorloop key: set TENSORLOOP_KEY, or run recorded streams: ${REPLAY}`);
  const baseURL = process.env.TENSORLOOP_BASE_URL || "https://litellm.tensorloop.tech/v1";
  const body = {
    model: "gpt-4o-mini",
    messages: [{ role: "user", content: "Stream a haiku about caching." }],
    temperature: 0.2,
    max_tokens: 60,
  };
  let text = "";
  for await (const chunk of streamChat(body, { apiKey, baseURL, signal: stop.signal })) {
    const piece = chunk.choices?.[0]?.delta?.content ?? ""; // a chunk with the usage may have no choice
    process.stdout.write(piece);
    text += piece;
  }
  console.log(`\n--- final (${text.length} chars) ---`);
} catch (error) {
  console.error(error.cause ? `${error.message}: ${error.cause.message}` : error.message);
  process.exitCode = 1;
}

// Copy from here on. It runs in browsers and on the edge, too; unlike the SDK, it does not ask again.

/**
 * Yield the chunks of a streamed chat completion; throws if it is refused, fails, is cut or ends unfinished.
 * Leaving the loop closes the connection, and so does the signal, whose reason is thrown.
 */
async function* streamChat(body, { apiKey, baseURL, signal }) {
  const response = await fetch(`${baseURL}/chat/completions`, {
    method: "POST",
    headers: { authorization: `Bearer ${apiKey}`, "content-type": "application/json" },
    body: JSON.stringify({ ...body, stream: true }),
    signal,
  });
  if (!response.ok) throw new Error(`${response.status} ${messageOf(await response.text())}`);
  for await (const { event, data } of eventsOf(response.body)) {
    if (data === "[DONE]") return;
    const chunk = event === "error" ? null : JSON.parse(data);
    // The status 200 is long sent when a gateway fails in mid-stream: its error comes among the chunks.
    if (!chunk || chunk.error) throw new Error(messageOf(data));
    yield chunk;
  }
  throw new Error("The stream ended without [DONE].");
}

/** Yield the events of an event stream; one that is cut short by its end is none, as the standard says. */
async function* eventsOf(body) {
  let event = "";
  let data = [];
  for await (const line of linesOf(body)) {
    if (line.startsWith("data:")) data.push(line.slice(line[5] === " " ? 6 : 5));
    else if (line.startsWith("event:")) event = line.slice(6).trim();
    else if (line === "") {
      if (data.join("")) yield { event, data: data.join("\n") };
      event = "";
      data = [];
    } // other lines are comments, such as ": ping", or say nothing here
  }
}

/** Yield the lines of a body, wherever its reads cut it: in a character, or between CR and LF. */
async function* linesOf(body) {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  const reader = body.getReader(); // not every browser can iterate a body
  let rest = "";
  let afterCR = false;
  try {
    for (;;) {
      const { done, value } = await reader.read().catch(cut);
      if (done) return;
      let text = decoder.decode(value, { stream: true });
      if (afterCR && text.startsWith("\n")) text = text.slice(1);
      afterCR = text.endsWith("\r");
      // Nothing else ends a line of an event stream: U+2028 comes unescaped inside JSON.
      const lines = (rest + text).split(/\r\n|\r|\n/);
      rest = lines.pop();
      yield* lines;
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}

function cut(error) {
  // A cut is a bare TypeError: "terminated" in node, "network error" in Chromium. What the signal throws is not.
  if (!(error instanceof TypeError)) throw error;
  throw new Error("The connection was cut before the answer was whole", { cause: error });
}

/** Return what an error says: {"error": {"message": "..."}} from a gateway, anything from a proxy before it. */
function messageOf(text) {
  try {
    const body = JSON.parse(text);
    return (body.error ?? body).message || text;
  } catch {
    return text || "no message";
  }
}
