// Code that an application may contain, and code that it may not.

import { AgentClient, DeputizeError } from "deputize";
import type { AccessToken, Connecting, Delegation, SessionGrant, Tool, ToolResult } from "deputize";

const url = new URL("https://deputize.example.com");
const agent = new AgentClient({ url, credentials: { clientId: "id", clientSecret: "secret" } });
const bob: AgentClient = agent.onBehalfOf({ email: "bob@example.com" });
agent.onBehalfOf({ accessToken: async ({ renew, signal }) => (renew && !signal.aborted ? "new" : "old") });

export async function use(privateKey: CryptoKey): Promise<void> {
  new AgentClient({ url: url.href, credentials: { clientId: "id", privateKey, keyId: "1" } });
  new AgentClient({ url, credentials: { apiKey: "rl_" } });
  new AgentClient({ url, credentials: { userToken: () => "a.b.c" } });
  new AgentClient({ url, credentials: { token: () => agent.token() } });

  const token: AccessToken = await agent.token({ signal: AbortSignal.timeout(1_000) });
  const tools: Tool[] = await bob.listTools("demo", { limit: 3 });
  for await (const { name } of bob.listTools("demo")) name.toUpperCase();
  const result: ToolResult = await bob.callTool("demo", "list_repos", { org: token.scope ?? tools[0]?.name }, { timeoutMs: 5 });
  const [first] = result.content;
  const text: string | undefined = first?.type === "text" ? first.text : undefined;

  const made: Delegation = await bob.delegations.create("id", { serverIds: ["demo"], expiresAt: new Date() });
  const nothing: void = await bob.delegations.revoke(made.id);
  const mine: Delegation[] = await bob.delegations.list();
  const grant: SessionGrant = await bob.sessionGrants.create("id", "demo", { shared: true });
  const grants: SessionGrant[] = await bob.sessionGrants.list("id", { serverId: grant.serverId });
  const toggled: boolean = (await bob.sessionGrants.toggle("id", "demo")).shared;
  const connecting: Connecting = await bob.connect("demo", { scope: "chat:write" });
  void [text, nothing, mine, grants, toggled, connecting.authorizationUrl];
}

export function told(error: unknown): string | undefined {
  return error instanceof DeputizeError ? (error.hint ?? error.detail) : undefined;
}

// @ts-expect-error a client needs credentials
new AgentClient({ url });
// @ts-expect-error a user is named in one of three ways
agent.onBehalfOf({ name: "bob" });
// @ts-expect-error arguments have names
agent.callTool("demo", "list_repos", ["acme-corp"]);
// @ts-expect-error grants are an account's
agent.sessionGrants.list();
// @ts-expect-error what an error says is not to be changed
(error: DeputizeError) => (error.code = "fine");
