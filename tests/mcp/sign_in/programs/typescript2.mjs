// The official TypeScript client 2.x, with its own OAuth.

import { Client, StreamableHTTPClientTransport, UnauthorizedError } from "@modelcontextprotocol/client";
import { main } from "./person.mjs";

function make({ url, name, opens }, authProvider, asked) {
  const capabilities = opens ? { elicitation: { form: {}, url: {} } } : {};
  const client = new Client({ name, version: "1.0.0" }, { capabilities, versionNegotiation: { mode: "auto" } });
  if (opens) {
    client.setRequestHandler("elicitation/create", ({ params }) => {
      asked.push(params.url);
      return { action: "accept" };
    });
  }
  const transport = new StreamableHTTPClientTransport(new URL(url), { authProvider });
  const verbs = {
    list_tools: () => client.listTools(),
    call_tool: (params) => client.callTool(params),
  };
  return { client, transport, verbs };
}

await main(make, { UnauthorizedError, finish: (transport, answer) => transport.finishAuth(answer) });
