// An OAuth-protected MCP server and its authorization server, both real, and a control surface for tests.
//
//   node protected-server.mjs [--access-token-ttl=SECONDS] [--metadata-origin=ORIGIN=URL]
//
// --metadata-origin accepts Client ID Metadata Documents, and fetches those of ORIGIN (https) from URL.
//
// It is ready when it prints one line of JSON, {"issuer", "mcp", "control"}. At `control`, GET / answers what has
// happened, POST / changes the behaviour (see `state` and `change` below), and GET /secrets answers everything that
// only a client of the authorization server may have seen.

import { createServer } from "node:http";
import { parseArgs } from "node:util";
import { authorizationServer } from "./authorization-server.mjs";
import { protectedMcp } from "./protected-mcp.mjs";
import { TokenEndpoint } from "./token-endpoint.mjs";

const { values: options } = parseArgs({
  options: {
    "access-token-ttl": { type: "string", default: "3600" },
    "metadata-origin": { type: "string", multiple: true, default: [] },
  },
});

// What tests can change. Refused access tokens are identified by their `jti`.
const behaviour = {
  accessTokenTtl: Number(options["access-token-ttl"]),
  refusedTokens: new Set(),
  refuseAllTokens: false,
};

const metadataOrigins = new Map(options["metadata-origin"].map((pair) => pair.split("=")));

// A server's handler is known only after its address is.
async function listen() {
  let handle;
  const server = createServer((request, response) => {
    Promise.resolve(handle(request, response)).catch((error) => {
      console.error(error);
      if (!response.headersSent) response.writeHead(error.statusCode ?? 500);
      response.end(error.message);
    });
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const origin = `http://127.0.0.1:${server.address().port}`;
  return { origin, answerWith: (handler) => (handle = handler) };
}

const [issuer, resource, control] = [await listen(), await listen(), await listen()];
const mcpUrl = `${resource.origin}/mcp`;

const { provider, interact } = authorizationServer({
  issuer: issuer.origin,
  resource: mcpUrl,
  behaviour,
  metadataOrigins,
});
const tokenEndpoint = new TokenEndpoint(provider);
const provide = provider.callback();
issuer.answerWith((request, response) =>
  request.url.startsWith("/interaction/") ? interact(request, response) : provide(request, response),
);

const metadata = await (await fetch(`${issuer.origin}/.well-known/oauth-authorization-server`)).json();
const mcp = protectedMcp({ url: mcpUrl, metadata, behaviour });
resource.answerWith(mcp.handle);

// Families: all refresh tokens of one consent, by its grant.
const families = new Map();
const issuedTokens = new Set();
let registrations = 0;
provider.on("access_token.issued", ({ jti }) => issuedTokens.add(jti));
provider.on("registration_create.success", () => (registrations += 1));
provider.on("refresh_token.saved", ({ grantId, accountId, rotations = 0 }) => {
  families.set(grantId, { account: accountId, alive: true, rotations });
});
provider.on("grant.revoked", (_, grantId) => {
  if (families.has(grantId)) families.get(grantId).alive = false;
});

const state = () => ({
  registrations,
  token_requests: tokenEndpoint.answered,
  unseen_token_requests: tokenEndpoint.unseen,
  held_token_requests: tokenEndpoint.held,
  families: [...families.values()],
  mcp_requests: mcp.seen,
});

const change = {
  token_endpoint: (fault) => (tokenEndpoint.fault = fault),
  access_token_ttl: (seconds) => (behaviour.accessTokenTtl = seconds),
  // Revokes everything to which the account has consented, as the account itself would.
  revoke_account: async (account) => {
    for (const [grantId, family] of families) {
      if (family.account !== account || !family.alive) continue;
      await provider.RefreshToken.revokeByGrantId(grantId);
      await (await provider.Grant.find(grantId)).destroy();
      family.alive = false;
    }
  },
  // The MCP server refuses every token that was issued until now.
  refuse_issued_tokens: () => (behaviour.refusedTokens = new Set(issuedTokens)),
  refuse_all_tokens: (refuse) => (behaviour.refuseAllTokens = refuse),
};

control.answerWith(async (request, response) => {
  response.setHeader("content-type", "application/json");
  if (request.method === "POST") {
    let body = "";
    for await (const chunk of request.setEncoding("utf8")) body += chunk;
    for (const [name, value] of Object.entries(JSON.parse(body))) await change[name](value);
  }
  response.end(JSON.stringify(request.url === "/secrets" ? tokenEndpoint.secrets : state()));
});

console.log(JSON.stringify({ issuer: issuer.origin, mcp: mcpUrl, control: control.origin }));
