// A protected MCP server on the reference SDK: its tools say for which user they work. The SDK's own gate checks the
// tokens, writes the challenges (RFC 6750, RFC 9728) and serves the metadata.

import { toNodeHandler } from "@modelcontextprotocol/node";
import {
  McpServer,
  OAuthError,
  OAuthErrorCode,
  createMcpHandler,
  getOAuthProtectedResourceMetadataUrl,
  oauthMetadataResponse,
  requireBearerAuth,
  requireScopes,
} from "@modelcontextprotocol/server";
import { createRemoteJWKSet, jwtVerify } from "jose";
import { z } from "zod";
import { SCOPES } from "./authorization-server.mjs";

const CHANNELS = ["general", "support", "random"];

const result = (text, structuredContent) => ({ content: [{ type: "text", text }], structuredContent });

function makeServer({ authInfo }) {
  const server = new McpServer({ name: "protected", version: "1.0.0" });
  const login = authInfo.extra.login;

  server.registerTool(
    "whoami",
    {
      description: "Says whose token it was called with",
      inputSchema: z.object({}),
      outputSchema: z.object({ acting_as: z.string() }),
    },
    () => result(`acting as ${login}`, { acting_as: login }),
  );

  server.registerTool(
    "list_channels",
    {
      description: "Lists the channels",
      inputSchema: z.object({}),
      outputSchema: z.object({ acting_as: z.string(), channels: z.array(z.string()) }),
    },
    () => result(`acting as ${login}: ${CHANNELS.join(", ")}`, { acting_as: login, channels: CHANNELS }),
  );

  server.registerTool(
    "post_message",
    {
      description: "Posts a message to a channel",
      inputSchema: z.object({ channel: z.string(), text: z.string() }),
      outputSchema: z.object({ acting_as: z.string(), channel: z.string() }),
      scopeChallenge: requireScopes("chat:write"),
    },
    ({ channel }) => result(`acting as ${login}: posted to ${channel}`, { acting_as: login, channel }),
  );

  return server;
}

// `metadata` is the authorization server's. `handle` answers requests to `url` and its well-known address.
export function protectedMcp({ url, metadata, behaviour }) {
  const seen = { accepted: 0, refused: 0 };
  const keys = createRemoteJWKSet(new URL(metadata.jwks_uri));
  const refused = (why) => {
    seen.refused += 1;
    return new OAuthError(OAuthErrorCode.InvalidToken, why);
  };
  const verifier = {
    async verifyAccessToken(token) {
      const { payload } = await jwtVerify(token, keys, {
        issuer: metadata.issuer,
        audience: url,
        typ: "at+jwt",
        requiredClaims: ["exp", "jti", "sub"],
      }).catch((error) => {
        throw refused(error.code);
      });
      if (behaviour.refusedTokens.has(payload.jti) || behaviour.refuseAllTokens) throw refused("withdrawn");
      seen.accepted += 1;
      return {
        token,
        clientId: payload.client_id,
        scopes: payload.scope?.split(" ") ?? [],
        expiresAt: payload.exp,
        resource: new URL(url),
        extra: { login: payload.sub },
      };
    },
  };
  const gate = requireBearerAuth({
    verifier,
    requiredScopes: ["chat:read"],
    resourceMetadataUrl: getOAuthProtectedResourceMetadataUrl(new URL(url)),
    expectedResource: new URL(url),
  });
  const mcp = createMcpHandler(makeServer, { legacy: "reject" });
  const described = { oauthMetadata: metadata, resourceServerUrl: new URL(url), scopesSupported: SCOPES };
  const handle = toNodeHandler({
    async fetch(request) {
      const document = oauthMetadataResponse(request, described);
      if (document) return document;
      if (new URL(request.url).pathname !== new URL(url).pathname) return new Response(null, { status: 404 });
      const authInfo = await gate(request);
      return authInfo instanceof Response ? authInfo : mcp.fetch(request, { authInfo });
    },
  });
  return { handle, seen };
}
