// Serve the edge handler with node, on the port PORT.

import { createServer } from "node:http";
import { Readable } from "node:stream";
import edge from "../../recipes/javascript/edge.mjs";

const server = createServer(async (incoming, outgoing) => {
  const hasBody = !["GET", "HEAD"].includes(incoming.method);
  const request = new Request(`http://127.0.0.1${incoming.url}`, {
    method: incoming.method,
    headers: incoming.headers,
    body: hasBody ? Readable.toWeb(incoming) : undefined,
    duplex: "half",
  });
  const response = await edge.fetch(request);
  outgoing.writeHead(response.status, Object.fromEntries(response.headers));
  if (response.body) Readable.fromWeb(response.body).pipe(outgoing);
  else outgoing.end();
});
server.listen(Number(process.env.PORT), "127.0.0.1");
