// The authorization server of the protected MCP server: oidc-provider, as MCP requires it. Clients register
// themselves (RFC 7591), or have a Client ID Metadata Document. Codes need PKCE. Access tokens are JWTs for one
// resource (RFC 8707). Refresh tokens are rotated at each use, and one that is used twice ends its grant.

import { generateKeyPairSync, randomUUID } from "node:crypto";
import Provider, { errors } from "oidc-provider";
import { interactions } from "./interactions.mjs";

// oidc-provider is made for a newer Node. This is the only thing that it misses in Node 20.
URL.parse ??= (text, base) => (URL.canParse(text, base) ? new URL(text, base) : null);

const DAYS = 14 * 86_400;

export const SCOPES = ["chat:read", "chat:write"];

// Tests change `behaviour` while it runs; see protected-server.mjs. `metadataOrigins` maps origins of metadata
// documents to the addresses from which they are really fetched.
export function authorizationServer({ issuer, resource, behaviour, metadataOrigins }) {
  const key = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey.export({ format: "jwk" });
  const provider = new Provider(issuer, {
    jwks: { keys: [{ ...key, use: "sig", alg: "ES256" }] },
    clientDefaults: { id_token_signed_response_alg: "ES256" },
    cookies: { keys: [randomUUID()] },
    findAccount: (_, login) => ({ accountId: login, claims: () => ({ sub: login }) }),
    interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
    pkce: { required: () => true },
    renderError: (ctx, { error, error_description: description }) => {
      ctx.type = "text";
      ctx.body = `${error}: ${description}`;
    },
    rotateRefreshToken: true,
    scopes: ["openid", "offline_access"],
    ttl: {
      AccessToken: () => behaviour.accessTokenTtl,
      AuthorizationCode: 60,
      Grant: DAYS,
      Interaction: 600,
      RefreshToken: DAYS,
      Session: DAYS,
    },
    features: {
      devInteractions: { enabled: false },
      registration: { enabled: true },
      rpInitiatedLogout: { enabled: false },
      userinfo: { enabled: false },
      clientIdMetadataDocument: { enabled: metadataOrigins.size > 0, ack: "draft-02" },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => resource,
        getResourceServerInfo: (_, indicator) => {
          if (indicator !== resource) throw new errors.InvalidTarget("there is no such resource here");
          return {
            scope: SCOPES.join(" "),
            audience: resource,
            accessTokenFormat: "jwt",
            jwt: { sign: { alg: "ES256" } },
          };
        },
      },
    },
    // Documents have https addresses. The real address is on this machine, which oidc-provider's own guard would
    // refuse.
    fetch: (url, { dispatcher, ...options }) => {
      const { origin, pathname } = new URL(url);
      if (!metadataOrigins.has(origin)) throw new Error(`no metadata document is expected at ${origin}`);
      return fetch(metadataOrigins.get(origin) + pathname, options);
    },
  });
  provider.on("server_error", (_, error) => console.error(error));
  return { provider, interact: interactions(provider) };
}
