// Stream without the SDK, from fetch alone: node recipes/javascript/raw_fetch.mjs
// Longer than a page, since it decodes the events itself, and distinguishes all errors of a stream.

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
  };
  let text = "";
  let finishReason = null;
  for await (const chunk of streamChat(body, { apiKey, baseURL, signal: stop.signal })) {
    const delta = chunk.choices?.[0]?.delta?.content ?? ""; // a chunk with the usage may have no choice
    process.stdout.write(delta);
    text += delta;
    finishReason = chunk.choices?.[0]?.finish_reason ?? finishReason;
  }
  console.log(`\n--- final (${text.length} chars) ---`);
  if (["length", "content_filter"].includes(finishReason)) console.log(`(cut: ${finishReason})`);
} catch (error) {
  console.error(error.cause ? `${error.message}: ${error.cause.message}` : error.message);
  process.exitCode = 1;
}

// Copy from here on. These functions also run in browsers and edge runtimes; unlike the SDK, they do not retry.

/**
 * Yield the chunks of a streamed chat completion; throw if it is refused, fails, is cut or ends without [DONE].
 * Leaving the loop closes the connection; an aborted signal closes it too, and throws its reason.
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
    // A gateway that fails in mid-stream has already sent the status 200: its error is one of the events.
    if (!chunk || chunk.error) throw new Error(messageOf(data));
    yield chunk;
  }
  throw new Error("The stream ended without [DONE].");
}

/** Yield the events of an event stream; drop an unterminated last event, as the standard requires. */
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
    } // other lines are comments, such as ": ping", or fields without meaning here
  }
}

/** Yield the lines of a body; a read may end inside a character, or between CR and LF. */
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
      // No other character ends a line of an event stream: JSON may hold an unescaped U+2028.
      const lines = (rest + text).split(/\r\n|\r|\n/);
      rest = lines.pop();
      yield* lines;
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}

function cut(error) {
  // A cut is a bare TypeError: "terminated" in node, "network error" in Chromium. The signal throws other errors.
  if (!(error instanceof TypeError)) throw error;
  throw new Error("The connection was cut before the answer was whole", { cause: error });
}

/** Return the message of an error: from a gateway {"error": {"message": "..."}}, from a proxy any text. */
function messageOf(text) {
  try {
    const body = JSON.parse(text);
    return (body.error ?? body).message || text;
  } catch {
    return text || "no message";
  }
}
