// The job, with the official MCP client and tokens by oauth4webapi: the usual way without the npm package.

import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import * as oauth from "oauth4webapi";

export function start({ url, clientId, clientSecret, email, server }) {
  const issuer = new URL(url);
  const options = { [oauth.allowInsecureRequests]: true };
  const client = { client_id: clientId };
  let connected;

  async function token() {
    const metadata = { issuer: issuer.origin, token_endpoint: `${url}/api/v1/oauth/token` };
    const answer = await oauth.clientCredentialsGrantRequest(
      metadata,
      client,
      oauth.ClientSecretPost(clientSecret),
      { actor_token: email, actor_token_type: "urn:runlayer:token-type:user-email" },
      options,
    );
    return (await oauth.processClientCredentialsResponse(metadata, client, answer)).access_token;
  }

  async function connect() {
    const requestInit = { headers: { authorization: `Bearer ${await token()}` } };
    const mcp = new Client({ name: "bench", version: "1.0.0" }, { versionNegotiation: { mode: "auto" } });
    await mcp.connect(new StreamableHTTPClientTransport(new URL(`${url}/api/v1/proxy/${server}/mcp`), { requestInit }));
    return mcp;
  }

  const ready = () => (connected ??= connect());
  return {
    list: async () => (await ready()).listTools(),
    call: async (name, args) => (await ready()).callTool({ name, arguments: args }),
  };
}
