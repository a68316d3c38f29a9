// An app that acts as its user, made with `oauth4webapi` or `openid-client`: both as they are, with all their checks.
//
//   node relying-party.mjs --library=NAME --issuer=URL --resource=URL --discovery=oauth2|oidc --auth=METHOD
//                          [--client-id=ID] [--client-secret=SECRET]
//
// --resource is an MCP server's address. Without --client-id, the app registers itself. It prints lines of JSON: first
// {"authorize"}, the address to open in a browser; then {"report"}, what it got and did, or {"failed"}, what it
// refused.

import { createServer } from "node:http";
import { parseArgs } from "node:util";
import * as oauth from "oauth4webapi";
import * as openid from "openid-client";

const { values: options } = parseArgs({
  options: {
    library: { type: "string" },
    issuer: { type: "string" },
    resource: { type: "string" },
    discovery: { type: "string" },
    auth: { type: "string" },
    "client-id": { type: "string" },
    "client-secret": { type: "string" },
  },
});
const issuer = new URL(options.issuer);
const resource = new URL(options.resource);
const SCOPE = "tools:call offline_access";

// One request of MCP's revision 2026-07-28, which needs no session.
const LIST = JSON.stringify({
  jsonrpc: "2.0",
  id: 1,
  method: "tools/list",
  params: {
    _meta: {
      "io.modelcontextprotocol/protocolVersion": "2026-07-28",
      "io.modelcontextprotocol/clientCapabilities": {},
    },
  },
});
const LIST_HEADERS = new Headers({
  accept: "application/json, text/event-stream",
  "content-type": "application/json",
  "mcp-protocol-version": "2026-07-28",
  "mcp-method": "tools/list",
});

// The browser comes back here.
let cameBack;
const back = new Promise((resolve) => (cameBack = resolve));
const listener = createServer((request, response) => {
  const url = new URL(request.url, redirectUri);
  response.setHeader("content-type", "text/html");
  response.end("<!doctype html><title>The app</title><p id=there>You can close this page.");
  if (url.pathname === "/callback") cameBack(url);
});
await new Promise((resolve) => listener.listen(0, "127.0.0.1", resolve));
const redirectUri = `http://127.0.0.1:${listener.address().port}/callback`;

const say = (line) => console.log(JSON.stringify(line));

const metadata = {
  client_name: options.library,
  redirect_uris: [redirectUri],
  token_endpoint_auth_method: options.auth,
};
let key;
if (options.auth === "private_key_jwt") {
  const pair = await oauth.generateKeyPair("ES256");
  key = { key: pair.privateKey, kid: "one" };
  const jwk = await crypto.subtle.exportKey("jwk", pair.publicKey);
  const { kty, crv, x, y } = jwk;
  metadata.jwks = { keys: [{ kty, crv, x, y, kid: key.kid, alg: "ES256", use: "sig" }] };
}
const authentication = (library, secret) =>
  ({
    none: () => library.None(),
    client_secret_basic: () => library.ClientSecretBasic(secret),
    client_secret_post: () => library.ClientSecretPost(secret),
    private_key_jwt: () => library.PrivateKeyJwt(key),
  })[options.auth]();

// The service under test has plain HTTP, on this machine. Nothing else is relaxed.
async function byOauth4webapi() {
  const http = { [oauth.allowInsecureRequests]: true };
  const found = await oauth.discoveryRequest(issuer, { algorithm: options.discovery, ...http });
  const as = await oauth.processDiscoveryResponse(issuer, found);
  const described = await oauth.resourceDiscoveryRequest(resource, http);
  const { authorization_servers: servers } = await oauth.processResourceDiscoveryResponse(resource, described);
  if (!servers.includes(as.issuer)) throw new Error(`the resource is of ${servers}`);

  let client = { client_id: options["client-id"], client_secret: options["client-secret"] };
  if (!client.client_id) {
    const registered = await oauth.dynamicClientRegistrationRequest(as, metadata, http);
    client = await oauth.processDynamicClientRegistrationResponse(registered);
  }
  const auth = authentication(oauth, client.client_secret);

  const verifier = oauth.generateRandomCodeVerifier();
  const state = oauth.generateRandomState();
  const url = new URL(as.authorization_endpoint);
  const challenge = await oauth.calculatePKCECodeChallenge(verifier);
  for (const [name, value] of Object.entries({
    response_type: "code",
    client_id: client.client_id,
    redirect_uri: redirectUri,
    scope: SCOPE,
    state,
    code_challenge: challenge,
    code_challenge_method: "S256",
    resource: resource.href,
  })) {
    url.searchParams.set(name, value);
  }
  say({ authorize: url.href });

  const answer = oauth.validateAuthResponse(as, client, await back, state);
  const redeemed = await oauth.authorizationCodeGrantRequest(as, client, auth, answer, redirectUri, verifier, {
    additionalParameters: { resource: resource.href },
    ...http,
  });
  const tokens = await oauth.processAuthorizationCodeResponse(as, client, redeemed);

  // As a resource server reads the token (RFC 9068).
  const authorization = `Bearer ${tokens.access_token}`;
  const asked = new Request(resource, { headers: { authorization } });
  const claims = await oauth.validateJwtAccessToken(as, asked, resource.href, http);

  const call = (token) => oauth.protectedResourceRequest(token, "POST", resource, LIST_HEADERS, LIST, http);
  const introspect = async (token) =>
    oauth.processIntrospectionResponse(as, client, await oauth.introspectionRequest(as, client, auth, token, http));
  const refresh = async (token) =>
    oauth.processRefreshTokenResponse(as, client, await oauth.refreshTokenGrantRequest(as, client, auth, token, http));
  const revoke = async (token) =>
    oauth.processRevocationResponse(await oauth.revocationRequest(as, client, auth, token, http));
  return { client, tokens, claims, call, introspect, refresh, revoke };
}

async function byOpenidClient() {
  const how = { algorithm: options.discovery, execute: [openid.allowInsecureRequests] };
  const config = options["client-id"]
    ? await openid.discovery(
        issuer,
        options["client-id"],
        { client_secret: options["client-secret"] },
        authentication(openid, options["client-secret"]),
        how,
      )
    : await openid.dynamicClientRegistration(issuer, metadata, authentication(openid), how);

  const verifier = openid.randomPKCECodeVerifier();
  const state = openid.randomState();
  const url = openid.buildAuthorizationUrl(config, {
    redirect_uri: redirectUri,
    scope: SCOPE,
    state,
    code_challenge: await openid.calculatePKCECodeChallenge(verifier),
    code_challenge_method: "S256",
    resource: resource.href,
  });
  say({ authorize: url.href });

  const checks = { pkceCodeVerifier: verifier, expectedState: state };
  const tokens = await openid.authorizationCodeGrant(config, await back, checks, { resource: resource.href });
  return {
    client: config.clientMetadata(),
    tokens,
    call: (token) => openid.fetchProtectedResource(config, token, resource, "POST", LIST, LIST_HEADERS),
    introspect: (token) => openid.tokenIntrospection(config, token),
    refresh: (token) => openid.refreshTokenGrant(config, token),
    revoke: (token) => openid.tokenRevocation(config, token),
  };
}

const LIBRARIES = { oauth4webapi: byOauth4webapi, "openid-client": byOpenidClient };

// What an operation came to that should be refused.
async function refusal(operation) {
  try {
    const response = await operation;
    return response instanceof Response ? response.status : "it was not refused";
  } catch (error) {
    return error.cause?.error ?? error.error ?? error.cause?.[0]?.parameters?.error ?? error.message;
  }
}

async function story() {
  const { client, tokens, claims, call, introspect, refresh, revoke } = await LIBRARIES[options.library]();
  const secrets = [];
  const keep = (got) => {
    secrets.push(["access_token", got.access_token], ["refresh_token", got.refresh_token]);
    return got;
  };
  keep(tokens);
  if (client.client_secret) secrets.push(["client_secret", client.client_secret]);
  const listed = await call(tokens.access_token);
  const introspects = options.auth !== "none";
  const before = introspects ? await introspect(tokens.access_token) : null;
  const refreshed = keep(await refresh(tokens.refresh_token));
  const calledAgain = await call(refreshed.access_token);
  await revoke(refreshed.refresh_token);
  return {
    secrets,
    client_id: client.client_id,
    token_type: tokens.token_type,
    scope: tokens.scope,
    expires_in: tokens.expires_in,
    claims: claims ?? null,
    called: listed.status,
    introspected: before,
    rotated: refreshed.refresh_token !== tokens.refresh_token,
    called_again: calledAgain.status,
    after_revocation: {
      introspected: introspects ? await introspect(refreshed.access_token) : null,
      refresh: await refusal(refresh(refreshed.refresh_token)),
      call: await refusal(call(refreshed.access_token)),
    },
  };
}

try {
  say({ report: await story() });
} catch (error) {
  const causes = [];
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    causes.push(`${cause.code ?? cause.name}: ${cause.message}`);
  }
  say({ failed: causes.join(" < ") });
}
listener.close();
listener.closeAllConnections();
