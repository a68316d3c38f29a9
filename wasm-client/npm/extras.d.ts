/**
 * What not every application needs: who and what there is, tools that say how far they are, images and audio, and
 * tokens for MCP clients.
 *
 * @packageDocumentation
 */

import type { AgentClient, CallOptions, List, ListOptions, ToolArguments, ToolContent, ToolResult } from "./index.js";

/** A person. */
export interface UserAccount {
  /** The user's id, a UUID. */
  id: string;
  /** Their email address, if they have one. */
  email: string | null;
  /** Their name, if it is known. */
  name: string | null;
  /** What they may manage. */
  role: "admin" | "user";
  /** A deactivated user can do nothing. */
  active: boolean;
  /** The groups that policies can name. */
  groups: string[];
  /** When the user was created (RFC 3339). */
  createdAt: string;
  /** When it was last changed (RFC 3339). */
  updatedAt: string;
}

/** An MCP server. */
export interface Server {
  /** The id for `callTool`. */
  id: string;
  /** Its name. */
  name: string;
  /** Its MCP endpoint. */
  url: string;
  /** What it asks of its callers: nothing, a user's OAuth session, or a header that the service adds. */
  auth: "none" | "oauth" | "header";
  /** With `header`: which one. */
  headerName: string | null;
  /** What is done about a tool that is not as an admin approved it. */
  pinning: "off" | "warn" | "block";
  /** A deactivated server cannot be called. */
  active: boolean;
  /** When it was registered (RFC 3339). */
  createdAt: string;
  /** When it was last changed (RFC 3339). */
  updatedAt: string;
}

/** An agent account, for users who can delegate to it. */
export interface AgentAccountSummary {
  /** The account's id, which is also its `clientId`. */
  id: string;
  /** Its name. */
  name: string;
  /** A disabled account gets no tokens. */
  active: boolean;
}

/** An agent account, for its owner and for admins. */
export interface AgentAccount extends AgentAccountSummary {
  /** Who disabled it, while it is disabled. */
  disabledBy: "admin" | "owner" | null;
  /** Its owner. */
  ownerUserId: string;
  /** The groups that policies can name. */
  groups: string[];
  /** The origins whose pages may use its credentials; `null` for all that the service allows. */
  allowedOrigins: string[] | null;
  /** Whose session grant can be the shared one. */
  sharedGrants: "anyone" | "managers";
  /** When it was created (RFC 3339). */
  createdAt: string;
  /** When it was last changed (RFC 3339). */
  updatedAt: string;
}

/** Whose credentials these are. To be called with a user's. */
export function me(client: AgentClient, options?: CallOptions): Promise<UserAccount>;

/** All servers. To be called with a user's credentials. */
export function servers(client: AgentClient, options?: ListOptions): List<Server>;

/** The agent accounts that the caller manages: their own, or all of them for admins. */
export function agentAccounts(client: AgentClient, options?: ListOptions): List<AgentAccount>;

/** An agent account: all of it for its owner and for admins, its name for other users. */
export function agentAccount(
  client: AgentClient,
  id: string,
  options?: CallOptions,
): Promise<AgentAccount | AgentAccountSummary>;

/** How important a log message is, beginning with the least (RFC 5424 section 6.2.1). */
export type LogLevel = "debug" | "info" | "notice" | "warning" | "error" | "critical" | "alert" | "emergency";

/** How far a tool is. */
export interface Progress {
  /** How far, which only grows. */
  progress: number;
  /** How far it will be in the end, if that is known. */
  total?: number;
  /** What it is doing, for people. */
  message?: string;
}

/** What a tool notes. */
export interface LogMessage {
  /** How important it is. */
  level: LogLevel;
  /** Which part of the server it is of. */
  logger?: string;
  /** What it notes, usually a text. */
  data: unknown;
}

/** What a call says, in the order in which it comes. The result is the last. */
export type ToolEvent<Structured extends object = { [field: string]: unknown }> =
  | ({ type: "progress" } & Progress)
  | ({ type: "log" } & LogMessage)
  | { type: "result"; result: ToolResult<Structured> };

/**
 * A call under way. If it is awaited, it is the tool's result. If it is iterated over by `for await`, it is what the
 * tool says until then, and its result at the end. Leaving the loop does not end the call; its `signal` does.
 */
export interface ToolProgress<Structured extends object = { [field: string]: unknown }>
  extends Promise<ToolResult<Structured>>,
    AsyncIterable<ToolEvent<Structured>> {}

/** Options of a call that says how far it is. */
export interface ProgressOptions extends CallOptions {
  /** Called with each progress notification. If it throws, the call ends. */
  onProgress?: ((progress: Progress) => void) | undefined;
  /** Called with each log message. If it throws, the call ends. */
  onLog?: ((message: LogMessage) => void) | undefined;
  /**
   * The least important messages that are wanted.
   *
   * @defaultValue "info"
   */
  logLevel?: LogLevel | undefined;
}

/**
 * Calls a tool as `client.callTool` does, and says what the tool says until its result. The call is sent at once, by
 * the service's MCP endpoint.
 *
 * @example
 * ```js
 * const call = callToolWithProgress(client, "demo", "export", { year: 2026 });
 * for await (const said of call) if (said.type === "progress") bar.value = said.progress;
 * const result = await call;
 * ```
 */
export function callToolWithProgress<Structured extends object = { [field: string]: unknown }>(
  client: AgentClient,
  serverId: string,
  name: string,
  args?: ToolArguments,
  options?: ProgressOptions,
): ToolProgress<Structured>;

/**
 * The bytes of an image, of audio, or of a resource.
 *
 * @throws TypeError if the piece has none.
 */
export function blobOf(content: ToolContent): Blob;

/**
 * Tokens for an MCP client: the `authProvider` of the transports of MCP's TypeScript SDK 2. After a 401 it gets another
 * token.
 */
export function authProvider(client: AgentClient): {
  /** The token to send. */
  token(): Promise<string>;
  /** The token was refused. */
  onUnauthorized(): Promise<void>;
};
