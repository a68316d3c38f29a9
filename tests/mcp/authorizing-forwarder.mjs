// Forwards requests to TARGET, with an Authorization header added, which the conformance suite cannot send.
//
// TARGET (an origin) and TOKEN. Ready when it prints `listening on http://127.0.0.1:PORT`.

import { createServer, request as ask } from "node:http";

const { TARGET, TOKEN } = process.env;

const forwarder = createServer((request, response) => {
  const own = `127.0.0.1:${forwarder.address().port}`;
  // A header with our own address is changed to the target's.
  const headers = request.rawHeaders.map((text) => text.replace(own, new URL(TARGET).host));
  headers.push("authorization", `Bearer ${TOKEN}`);
  const forwarded = ask(TARGET + request.url, { method: request.method, headers }, (answer) => {
    response.writeHead(answer.statusCode, answer.rawHeaders);
    response.flushHeaders();
    answer.pipe(response);
  });
  forwarded.on("error", () => response.destroy());
  response.on("close", () => forwarded.destroy());
  request.pipe(forwarded);
});

forwarder.listen(0, "127.0.0.1", () => {
  console.log(`listening on http://127.0.0.1:${forwarder.address().port}`);
});
