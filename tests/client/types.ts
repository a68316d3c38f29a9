// What the types say: what must compile, and, by @ts-expect-error, what must not. Compiled with
// exactOptionalPropertyTypes, beside the types of MCP's SDK.

import type { CallToolResult, Tool as McpTool } from "@modelcontextprotocol/server";
import { AgentClient, DeputizeError } from "deputize";
import type { AgentClientOptions, CallOptions, Credentials, ErrorCode, Tool, ToolContent, ToolResult, User } from "deputize";
import { agentAccount, agentAccounts, authProvider, blobOf, callToolWithProgress, me, servers } from "deputize/extras";
import type { ToolEvent } from "deputize/extras";
import { OAuthProvider, transport } from "deputize/mcp";
import { handleCallback, resume, signIn, signOut } from "deputize/sign-in";
import type { SignInOptions } from "deputize/sign-in";
import { Client } from "@modelcontextprotocol/client";
import type { AuthProvider, OAuthClientProvider } from "@modelcontextprotocol/client";

type Same<One, Other> = (<T>() => T extends One ? 1 : 2) extends <T>() => T extends Other ? 1 : 2 ? true : false;
/** Fails to compile if two types are not the same. */
function same<One, Other>(..._: Same<One, Other> extends true ? [] : [never]): void {}

declare const url: string;
declare const privateKey: CryptoKey;
declare const maybe: { signal: AbortSignal | undefined; timeoutMs: number | undefined; scope: string | undefined; limit: number | undefined };
declare const client: AgentClient;

// --- What is undefined may be given, also under exactOptionalPropertyTypes -------------------------------

export const options: CallOptions = { signal: undefined, timeoutMs: undefined, retries: undefined };
export const forAll: AgentClientOptions = { url, base: undefined, credentials: { apiKey: "rl_" }, fetch: undefined, headers: undefined, allowPrivateHttp: undefined };
void client.callTool("demo", "list_repos", undefined, { signal: maybe.signal, timeoutMs: maybe.timeoutMs });
void client.connect("demo", { scope: maybe.scope, signal: maybe.signal });
void client.delegations.list(undefined, { limit: maybe.limit });
void client.delegations.create("id", { serverIds: undefined, expiresAt: undefined });
void client.sessionGrants.create("id", "demo", { shared: undefined });
void client.token({ renew: undefined });
// @ts-expect-error there is no such option
void client.callTool("demo", "list_repos", {}, { timeout: 5 });

// --- Arguments -------------------------------------------------------------------------------------------

interface Repository {
  org: string;
  pages?: number;
}
export const asInterface = (repository: Repository) => client.callTool("demo", "list_repos", repository);
export const asType = (args: { org: string }) => client.callTool("demo", "list_repos", args);
export const asRecord = (args: Record<string, unknown>) => client.callTool("demo", "list_repos", args);
void client.callTool("demo", "list_repos", {});
// @ts-expect-error arguments have names
void client.callTool("demo", "list_repos", ["acme-corp"]);
// @ts-expect-error arguments have names
void client.callTool("demo", "list_repos", "acme-corp");
// @ts-expect-error arguments have names
void client.callTool("demo", "list_repos", 7);

// --- Results and tools ------------------------------------------------------------------------------------

export function read(piece: ToolContent): string {
  switch (piece.type) {
    case "text":
      return piece.text;
    case "image":
    case "audio":
      return piece.mimeType + piece.data;
    case "resource_link":
      return piece.uri;
    case "resource":
      return "text" in piece.resource ? piece.resource.text : piece.resource.blob;
    default:
      // Each type is among those above.
      return piece satisfies never;
  }
}
// @ts-expect-error not each piece has a text
export const noText = (piece: ToolContent) => piece.text;

export const toMcpResult = (result: ToolResult): CallToolResult => result;
export const toMcpTool = (tool: Tool): McpTool => tool;

export async function structured(): Promise<void> {
  const plain = await client.callTool("demo", "list_repos");
  same<typeof plain.structuredContent, { [field: string]: unknown } | undefined>();
  const typed = await client.callTool<{ repos: string[] }>("demo", "list_repos", { org: "acme-corp" });
  same<typeof typed.structuredContent, { repos: string[] } | undefined>();
  toMcpResult(await client.callTool("demo", "list_repos"));
  // @ts-expect-error the result has no such field
  typed.structuredContent?.repositories;
  // @ts-expect-error the result holds an object
  await client.callTool<string>("demo", "list_repos");
}

// --- One subject, one credential ----------------------------------------------------------------------------

export const users: User[] = [{ userId: "id" }, { email: "a@b", userId: undefined }, { accessToken: () => "a.b.c" }];
// @ts-expect-error two at once
client.onBehalfOf({ userId: "id", email: "a@b" });
// @ts-expect-error two at once
client.onBehalfOf({ email: "a@b", accessToken: "a.b.c" });
// @ts-expect-error none
client.onBehalfOf({});

export const credentials: Credentials[] = [
  { clientId: "id", clientSecret: "secret" },
  { clientId: "id", clientSecret: "secret", privateKey: undefined },
  { clientId: "id", privateKey, keyId: undefined, audience: undefined },
  { userToken: async ({ renew, refused }) => (renew ? (refused ?? "") : "a.b.c") },
  { apiKey: "rl_" },
  { token: async ({ renew }) => client.token({ renew }) },
  { token: ({ refused }) => client.token({ renew: refused }) },
];
// @ts-expect-error two at once
export const both: Credentials = { clientId: "id", clientSecret: "secret", privateKey };
// @ts-expect-error two at once
export const keyAndToken: Credentials = { apiKey: "rl_", userToken: "a.b.c" };
// @ts-expect-error an agent proves itself
export const unproven: Credentials = { clientId: "id" };
// @ts-expect-error the secret may be missing
export const missing: Credentials = { clientId: "id", clientSecret: undefined as string | undefined };
// @ts-expect-error only a client of its own has a secret
export const mixed: Credentials = { apiKey: "rl_", clientSecret: "secret" };

// --- Errors ---------------------------------------------------------------------------------------------------

export function told(error: unknown): string {
  if (!DeputizeError.is(error)) return "";
  same<typeof error.code, ErrorCode>();
  same<typeof error.status, number | undefined>();
  // @ts-expect-error there is no such code
  if (error.code === "tiemout") return "";
  return error.code === "timeout" ? (error.hint ?? error.message) : error.detail;
}
export const caught = (error: DeputizeError): ErrorCode => error.code;
export const again = (error: DeputizeError): DeputizeError => new DeputizeError(error.toJSON());
// @ts-expect-error there is no such code
export const made = new DeputizeError({ code: "tiemout", detail: "" });
// @ts-expect-error what an error says is not to be changed
export const changed = (error: DeputizeError) => (error.code = "timeout");

// --- The client -------------------------------------------------------------------------------------------------

declare const binding: { fetch: typeof fetch };
new AgentClient({ url: "/deputize", base: "https://example.com", credentials: { apiKey: "rl_" } });
new AgentClient({ url, credentials: { apiKey: "rl_" }, fetch: (...call) => binding.fetch(...call), headers: { traceparent: "00" } });
new AgentClient({ url, credentials: { apiKey: "rl_" }, fetch, headers: async () => new Headers(), timeoutMs: 5_000, retries: 0 });
// @ts-expect-error no such option
new AgentClient({ url, credentials: { apiKey: "rl_" }, timeout: 5 });

// --- Extras -----------------------------------------------------------------------------------------------------

export async function extras(): Promise<void> {
  const { email } = await me(client, { timeoutMs: 5 });
  same<typeof email, string | null>();
  for await (const { auth } of servers(client)) same<typeof auth, "none" | "oauth" | "header">();
  const names: string[] = (await agentAccounts(client, { limit: 5 })).map(({ name }) => name);
  const account = await agentAccount(client, "id");
  if ("ownerUserId" in account) names.push(account.ownerUserId);

  const call = callToolWithProgress<{ took: number }>(client, "demo", "slow", { steps: 3 }, {
    onProgress: ({ progress, total = 1, message = "" }) => console.log(progress / total, message),
    onLog: ({ level, data }) => console.log(level, data),
    logLevel: "warning",
    signal: maybe.signal,
  });
  for await (const said of call) {
    same<typeof said, ToolEvent<{ took: number }>>();
    if (said.type === "progress") said.progress.toFixed();
    if (said.type === "result") said.result.structuredContent?.took.toFixed();
  }
  const { content } = await call;
  for (const piece of content) if (piece.type === "image") URL.createObjectURL(blobOf(piece));
  const provider: AuthProvider = authProvider(client);
  void provider;
}

// --- Signing in -------------------------------------------------------------------------------------------------

export async function page(): Promise<void> {
  const app: SignInOptions = { url, clientId: "app", redirectUri: "https://app.example/", scope: undefined, prompt: undefined };
  const session = (await handleCallback<{ at: string }>()) ?? (await resume({ ...app, prompt: "none" }));
  if (!session) return void signIn({ ...app, state: { at: "/reports" } });
  same<typeof session.state, { at: string }>();
  same<typeof session.scope, string | undefined>();
  new AgentClient({ url, credentials: session.credentials });
  await signOut();
  // @ts-expect-error no such option
  await signIn({ ...app, redirect_uri: "" });
  // @ts-expect-error no such prompt
  await signIn({ ...app, prompt: "login" });
  // @ts-expect-error it cannot be changed
  session.scope = "";
}

// --- MCP's SDK ----------------------------------------------------------------------------------------------------

export async function mcp(): Promise<void> {
  const itself = new Client({ name: "app", version: "1" });
  await itself.connect(transport({ url, serverId: "demo", client }, { fetch }));
  const provider = new OAuthProvider({ redirectUri: "https://app.example/", clientName: undefined, redirect: undefined });
  const theirs: OAuthClientProvider = provider;
  const to = transport({ url, serverId: "demo", provider: theirs });
  if (await provider.handleCallback(to)) await itself.connect(to);
  await provider.signOut();
  // @ts-expect-error one of them
  transport({ url, serverId: "demo", client, provider });
  // @ts-expect-error the transport has its provider
  transport({ url, serverId: "demo", client }, { authProvider: provider });
}
