const response = await fetch(`${process.env.TENSORLOOP_BASE_URL}/chat/completions`, {
  method: "POST",
  headers: { "Content-Type": "application/json", Authorization: `Bearer ${process.env.TENSORLOOP_KEY}` },
  body: JSON.stringify({
    model: "gpt-4o-mini",
    messages: [{ role: "user", content: "Is JavaScript served too?" }],
    stream: true,
  }),
});
let buffer = "";
for await (const text of response.body.pipeThrough(new TextDecoderStream())) {
  const lines = (buffer + text).split("\n");
  buffer = lines.pop();
  for (const line of lines) {
    if (line.startsWith("data: ") && line !== "data: [DONE]") {
      process.stdout.write(JSON.parse(line.slice(6)).choices[0]?.delta?.content ?? "");
    }
  }
}
console.log();
