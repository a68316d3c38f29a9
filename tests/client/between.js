// Stands between the client and the service. It passes requests on, remembers them, and answers instead of the
// service if a test says so. Each test has its own lane, `/lane/{name}`; every path below it is the service's:
//
//   PUT  /lane/{name}        what to do there: { rules: [{ on, times, …what to do }], pageSize }
//   GET  /lane/{name}        the requests so far, and those rules' that are left
//
// A rule is used up after `times` uses (default 1; "always" for ever). It answers `status`, `headers` and `body`, or
// does one of these: `hang` (no answer), `cut` (closes the connection after the request), `cutBody` (in the middle of
// the answer's body), `large` (this many bytes), `then: "forward"` after passing it on once (the answer is lost).

import { createServer, request as send } from "node:http";

const CORS = {
  "access-control-allow-origin": "*",
  "access-control-allow-headers": "authorization, content-type, x-runlayer-api-key",
  "access-control-allow-methods": "GET, POST, PUT, PATCH, DELETE",
  "access-control-expose-headers": "x-request-id, retry-after, www-authenticate, x-amzn-remapped-www-authenticate, link",
};

export function between(service) {
  const lanes = new Map();
  const laneOf = (name) => {
    if (!lanes.has(name)) lanes.set(name, { rules: [], pageSize: undefined, requests: [] });
    return lanes.get(name);
  };

  const server = createServer(async (request, response) => {
    for (const [name, value] of Object.entries(CORS)) response.setHeader(name, value);
    // Chromium itself repeats a request if a kept connection closes before any answer. Without kept connections,
    // every repetition is the client's.
    response.setHeader("connection", "close");
    if (request.method === "OPTIONS") return void response.writeHead(204).end();
    const [, , name, ...rest] = request.url.split("/");
    const lane = laneOf(name.split("?")[0]);
    const body = await read(request);
    if (rest.length === 0) {
      if (request.method === "PUT") Object.assign(lane, { rules: [], pageSize: undefined, requests: [] }, JSON.parse(body));
      const { requests, rules } = lane;
      return void response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify({ requests, rules }));
    }
    const path = `/${rest.join("/")}`;
    const noted = { method: request.method, path, authorization: request.headers.authorization, status: null };
    if (path.endsWith("/oauth/token")) noted.form = Object.fromEntries(new URLSearchParams(body.toString()));
    lane.requests.push(noted);
    const rule = lane.rules.find(({ on }) => `${request.method} ${path}`.startsWith(on));
    if (rule && rule.times !== "always") {
      rule.times = (rule.times ?? 1) - 1;
      if (rule.times <= 0) lane.rules.splice(lane.rules.indexOf(rule), 1);
    }
    if (!rule) return forward(request, response, service, path, body, noted, lane.pageSize);
    if (rule.hang) return;
    if (rule.cut) return void request.socket.destroy();
    noted.status = rule.status ?? 200;
    response.writeHead(noted.status, { "content-type": "application/json", ...rule.headers });
    if (rule.cutBody) return void response.write('{"half":', () => request.socket.destroy());
    if (rule.large) return pour(response, rule.large);
    response.end(typeof rule.body === "string" ? rule.body : JSON.stringify(rule.body));
  });
  return new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(server)));
}

function forward(request, response, service, path, body, noted, pageSize) {
  const url = new URL(path, service);
  if (pageSize && request.method === "GET") url.searchParams.set("limit", pageSize);
  const headers = { ...request.headers, host: url.host };
  delete headers.origin;
  const onward = send(url, { method: request.method, headers }, (answer) => {
    noted.status = answer.statusCode;
    response.writeHead(answer.statusCode, { ...answer.headers, connection: "close" });
    answer.pipe(response);
  });
  onward.on("error", () => request.socket.destroy());
  response.on("close", () => onward.destroy());
  onward.end(body);
}

function pour(response, bytes) {
  const chunk = Buffer.alloc(64 * 1024, 0x20);
  const more = () => {
    while (bytes > 0) {
      bytes -= chunk.length;
      if (!response.write(chunk)) return void response.once("drain", more);
    }
    response.end("[]");
  };
  more();
}

async function read(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks);
}
