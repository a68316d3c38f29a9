// The official TypeScript client 2.x.

import { Client, ClientCredentialsProvider, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { ANSWERS, CAPABILITIES, main } from "./steps.mjs";

main(async ({ url, token, client_id: clientId, client_secret: clientSecret, mode }) => {
  // A given token, or none. Without one, the client must find out by itself where to get one.
  const credentials = { clientId, clientSecret, expectedIssuer: new URL(url).origin };
  const access = token
    ? { requestInit: { headers: { authorization: `Bearer ${token}` } } }
    : { authProvider: new ClientCredentialsProvider(credentials) };
  const client = new Client(
    { name: "typescript-2", version: "1.0.0" },
    { capabilities: CAPABILITIES, versionNegotiation: { mode } },
  );
  for (const [method, answer] of Object.entries(ANSWERS)) client.setRequestHandler(method, answer);
  await client.connect(new StreamableHTTPClientTransport(new URL(url), access));
  return {
    client,
    describe: () => ({
      version: client.getNegotiatedProtocolVersion(),
      server: client.getServerVersion()?.name,
    }),
    verbs: {
      list_tools: () => client.listTools(),
      call_tool: (params, options) => client.callTool(params, options),
      list_resources: () => client.listResources(),
      list_resource_templates: () => client.listResourceTemplates(),
      read_resource: (params) => client.readResource(params),
      subscribe_resource: (params) => client.subscribeResource(params),
      list_prompts: () => client.listPrompts(),
      get_prompt: (params) => client.getPrompt(params),
      complete: (params) => client.complete(params),
    },
  };
});
