const res = await fetch("https://litellm.tensorloop.tech/v1/chat/completions", {
  method: "POST",
  headers: {
    Authorization: `Bearer ${process.env.TENSORLOOP_KEY}`,
    "Content-Type": "application/json",
  },
  body: JSON.stringify({
    model: "gpt-4o-mini",
    stream: true,
    messages: [{ role: "user", content: "Stream a haiku about caching." }],
  }),
});

const reader = res.body!.getReader();
const decoder = new TextDecoder();
let buffer = "";

while (true) {
  const { done, value } = await reader.read();
  if (done) break;
  buffer += decoder.decode(value, { stream: true });
  const lines = buffer.split("\n");
  buffer = lines.pop() ?? "";
  for (const line of lines) {
    if (!line.startsWith("data: ")) continue;
    const data = line.slice(6);
    if (data === "[DONE]") break;
    process.stdout.write(JSON.parse(data).choices[0]?.delta?.content ?? "");
  }
}
