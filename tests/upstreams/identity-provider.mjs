// An identity provider by which people sign in to Deputize: oidc-provider. Any name is an account without a password.
//
//   node identity-provider.mjs --service=URL --client-id=ID --client-secret=SECRET --provider=ID
//
// It is ready when it prints one line of JSON, {"issuer"}.

import { generateKeyPairSync, randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { parseArgs } from "node:util";
import Provider from "oidc-provider";
import { interactions } from "./interactions.mjs";

// oidc-provider is made for a newer Node. This is the only thing that it misses in Node 20.
URL.parse ??= (text, base) => (URL.canParse(text, base) ? new URL(text, base) : null);

const { values: options } = parseArgs({
  options: {
    service: { type: "string" },
    "client-id": { type: "string" },
    "client-secret": { type: "string" },
    provider: { type: "string" },
  },
});

let handle;
const server = createServer((request, response) => {
  Promise.resolve(handle(request, response)).catch((error) => {
    console.error(error);
    if (!response.headersSent) response.writeHead(error.statusCode ?? 500);
    response.end(error.message);
  });
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const issuer = `http://127.0.0.1:${server.address().port}`;

const key = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey.export({ format: "jwk" });

const provider = new Provider(issuer, {
  jwks: { keys: [{ ...key, use: "sig", alg: "ES256" }] },
  clientDefaults: { id_token_signed_response_alg: "ES256" },
  clients: [
    {
      client_id: options["client-id"],
      client_secret: options["client-secret"],
      redirect_uris: [`${options.service}/sign-in/callback/${options.provider}`],
      post_logout_redirect_uris: [`${options.service}/sign-out`],
      backchannel_logout_uri: `${options.service}/sign-in/logout/${options.provider}`,
      backchannel_logout_session_required: true,
    },
  ],
  cookies: { keys: [randomUUID()] },
  claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["name"], groups: ["groups"] },
  // The ID token has the claims of its scopes, as most providers' have.
  conformIdTokenClaims: false,
  findAccount: (_, login) => ({
    accountId: login,
    claims: () => ({
      sub: login,
      name: login,
      email: `${login}@example.com`,
      email_verified: true,
      groups: login === "dora" ? ["staff"] : [],
    }),
  }),
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  pkce: { required: () => true },
  scopes: ["openid", "groups"],
  renderError: (ctx, { error, error_description: description }) => {
    ctx.type = "text";
    ctx.body = `${error}: ${description}`;
  },
  features: {
    devInteractions: { enabled: false },
    userinfo: { enabled: false },
    backchannelLogout: { enabled: true },
    rpInitiatedLogout: {
      enabled: true,
      logoutSource: (ctx, form) => {
        ctx.body = `<!DOCTYPE html><title>Sign out</title>${form}
          <button id="logout" form="op.logoutForm" name="logout" value="yes">Sign out at the provider</button>`;
      },
      postLogoutSuccessSource: (ctx) => {
        ctx.body = "<!DOCTYPE html><title>Signed out</title><p id=done>Signed out at the provider";
      },
    },
  },
  // The service is on this machine, which oidc-provider's own guard would refuse.
  fetch: (url, { dispatcher, ...request }) => fetch(url, request),
});
provider.on("server_error", (_, error) => console.error(error));
provider.on("backchannel.error", (_, error) => console.error(error));
const interact = interactions(provider);
const provide = provider.callback();
handle = (request, response) =>
  request.url.startsWith("/interaction/") ? interact(request, response) : provide(request, response);

console.log(JSON.stringify({ issuer }));
