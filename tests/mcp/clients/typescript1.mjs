// The official TypeScript SDK 1.x, which only knows the handshake revisions.

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { ClientCredentialsProvider } from "@modelcontextprotocol/sdk/client/auth-extensions.js";
import {
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  ListRootsRequestSchema,
} from "@modelcontextprotocol/sdk/types.js";
import { ANSWERS, CAPABILITIES, main } from "./steps.mjs";

main(async ({ url, token, client_id: clientId, client_secret: clientSecret }) => {
  const access = token
    ? { requestInit: { headers: { authorization: `Bearer ${token}` } } }
    : { authProvider: new ClientCredentialsProvider({ clientId, clientSecret }) };
  const client = new Client({ name: "typescript-1", version: "1.0.0" }, { capabilities: CAPABILITIES });
  for (const schema of [ElicitRequestSchema, CreateMessageRequestSchema, ListRootsRequestSchema]) {
    client.setRequestHandler(schema, ANSWERS[schema.shape.method.value]);
  }
  const transport = new StreamableHTTPClientTransport(new URL(url), access);
  await client.connect(transport);
  return {
    client,
    describe: () => ({ version: transport.protocolVersion, server: client.getServerVersion()?.name }),
    verbs: {
      list_tools: () => client.listTools(),
      call_tool: (params, options) => client.callTool(params, undefined, options),
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
