// The MCP conformance suite's server: at `/modern` the revision 2026-07-28, without sessions; at `/handshake` the
// earlier revisions, with sessions and streams that can be resumed; at `/both` either.
//
// PORT (0 = any) to listen on. Ready when it prints `listening on http://127.0.0.1:PORT`.

import { randomUUID } from "node:crypto";
import { createServer } from "node:http";
import {
  NodeStreamableHTTPServerTransport,
  localhostHostValidation,
  localhostOriginValidation,
  toNodeHandler,
  toWebRequest,
} from "@modelcontextprotocol/node";
import { createMcpHandler, isLegacyRequest } from "@modelcontextprotocol/server";
import { makeServer } from "./conformance-fixtures.mjs";

const modern = createMcpHandler(() => makeServer(modern.notify), { legacy: "reject" });
const handleModern = toNodeHandler(modern);

/** Sessions' transports by id. */
const sessions = new Map();

/** The messages that were sent over a session's streams, to send them again. */
class Events {
  #sent = [];

  async storeEvent(stream, message) {
    this.#sent.push({ stream, message });
    return `${stream}/${this.#sent.length - 1}`;
  }

  async getStreamIdForEventId(id) {
    return this.#sent[this.#place(id)]?.stream;
  }

  async replayEventsAfter(id, { send }) {
    const place = this.#place(id);
    const { stream } = this.#sent[place];
    for (let next = place + 1; next < this.#sent.length; next += 1) {
      const event = this.#sent[next];
      // The first event of each stream is empty: it only marks a position to resume from.
      if (event.stream === stream && Object.keys(event.message).length > 0) {
        await send(`${stream}/${next}`, event.message);
      }
    }
    return stream;
  }

  #place(id) {
    return Number(id.slice(id.lastIndexOf("/") + 1));
  }
}

async function handleSession(request, response, body) {
  const id = request.headers["mcp-session-id"];
  if (id !== undefined && !sessions.has(id)) {
    const error = { code: -32001, message: "Session not found" };
    response.writeHead(404, { "content-type": "application/json" });
    response.end(JSON.stringify({ jsonrpc: "2.0", id: null, error }));
    return;
  }
  const transport = sessions.get(id) ?? (await newSession());
  await transport.handleRequest(request, response, body);
}

async function newSession() {
  const transport = new NodeStreamableHTTPServerTransport({
    sessionIdGenerator: randomUUID,
    onsessioninitialized: (id) => void sessions.set(id, transport),
    onsessionclosed: (id) => void sessions.delete(id),
    eventStore: new Events(),
    retryInterval: 50,
  });
  await makeServer().connect(transport);
  return transport;
}

const hostIsLocal = localhostHostValidation();
const originIsLocal = localhostOriginValidation();

const http = createServer(async (request, response) => {
  if (!hostIsLocal(request, response) || !originIsLocal(request, response)) return;
  const body = request.method === "POST" ? await read(request) : undefined;
  const inSession = {
    "/modern": () => false,
    "/handshake": () => true,
    "/both": async () => isLegacyRequest(await toWebRequest(request, body)),
  }[request.url];
  if (inSession === undefined) response.writeHead(404).end();
  else if (await inSession()) await handleSession(request, response, body);
  else await handleModern(request, response, body);
});

async function read(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return JSON.parse(Buffer.concat(chunks));
}

http.listen(Number(process.env.PORT ?? 0), "127.0.0.1", () => {
  console.log(`listening on http://127.0.0.1:${http.address().port}`);
});
