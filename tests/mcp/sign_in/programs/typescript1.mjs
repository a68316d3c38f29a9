// The official TypeScript SDK 1.x, with its own OAuth. It only knows the handshake revisions.

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { UnauthorizedError } from "@modelcontextprotocol/sdk/client/auth.js";
import { main } from "./person.mjs";

function make({ url, name, opens }, authProvider) {
  const capabilities = opens ? { elicitation: { form: {}, url: {} } } : {};
  const client = new Client({ name, version: "1.0.0" }, { capabilities });
  const transport = new StreamableHTTPClientTransport(new URL(url), { authProvider });
  const verbs = {
    list_tools: () => client.listTools(),
    call_tool: (params) => client.callTool(params),
  };
  return { client, transport, verbs };
}

await main(make, {
  UnauthorizedError,
  finish: (transport, answer) => transport.finishAuth(answer.get("code")),
});
