/**
 * The client of Deputize: tokens for AI agents, as themselves or on behalf of users; the tools that agents may call;
 * and what users permit them.
 *
 * @packageDocumentation
 */

/**
 * How a client proves itself: one of five kinds.
 *
 * An agent's secret or private key belongs on a server. A page uses {@link UserTokenCredentials} or
 * {@link TokenCredentials}.
 */
export type Credentials =
  | SecretCredentials
  | PrivateKeyCredentials
  | UserTokenCredentials
  | ApiKeyCredentials
  | TokenCredentials;

/** An agent account, by its secret (`client_secret_post`, RFC 6749 section 2.3.1). */
export interface SecretCredentials {
  /** The agent account's id. */
  clientId: string;
  /** A live secret of the account. */
  clientSecret: string;
}

/**
 * An agent account, by a signature (`private_key_jwt`, RFC 7523). The public half of the key must be one of the
 * account's; the private half stays in WebCrypto, and should be one that cannot be extracted.
 */
export interface PrivateKeyCredentials {
  /** The agent account's id. */
  clientId: string;
  /**
   * EC P-256 or P-384, Ed25519, or RSA (`RSASSA-PKCS1-v1_5` or `RSA-PSS` with SHA-256, SHA-384 or SHA-512), of at least
   * 2,048 bits; with the usage `sign`.
   */
  privateKey: CryptoKey;
  /** The `kid` that the key has at the account. Without it, the service tries the account's keys. */
  keyId?: string;
  /**
   * The service's issuer or token endpoint as the service itself knows it.
   *
   * @defaultValue the token endpoint at `url`
   */
  audience?: string;
}

/** A user, by the JWT of an issuer that the service trusts. */
export interface UserTokenCredentials {
  /**
   * The JWT, or a function that answers it. The function is called for each request and its answer is not kept, so
   * that the token of a previous user is never used. Most sign-in libraries keep it themselves.
   */
  userToken: string | ((asked: TokenAsked) => string | Promise<string>);
}

/** A user, by an API key (`rl_…`). */
export interface ApiKeyCredentials {
  /** The key. Like a password, it does not belong in a page. */
  apiKey: string;
}

/** Tokens from the application's own backend, which is the agent's client. */
export interface TokenCredentials {
  /**
   * Answers a token: its text, the {@link AccessToken} that `client.token()` gave the backend, or the token
   * endpoint's own JSON. It is kept, and asked for again before it expires. A text that is not a JWT does not say
   * when it expires, and is asked for each time.
   */
  token: (asked: TokenAsked) => GivenToken | Promise<GivenToken>;
}

/** What an application's function may answer as a token. `expiresIn` is in seconds from now. */
export type GivenToken =
  | string
  | { accessToken: string; expiresIn?: number; scope?: string }
  | { access_token: string; expires_in?: number; scope?: string };

/** What an application's function is called with. */
export interface TokenAsked {
  /** The previous token was refused: do not answer it again. */
  renew: boolean;
  /** Aborts when no caller waits for the answer any more: after 30 seconds. */
  signal: AbortSignal;
}

/** The options of a client. */
export interface AgentClientOptions {
  /** The service's address: `https://…`. `http://` is only for services on this machine. */
  url: string | URL;
  /** The client's credentials. */
  credentials: Credentials;
  /**
   * Allows an agent's secret or private key in a page or a page's worker. Anyone who opens the page has it: a secret
   * can be taken away, and a key, extractable or not, can sign. Only for pages that other people can never open.
   *
   * @defaultValue false
   */
  dangerouslyAllowSecretInBrowser?: boolean;
}

/** Options of every call. */
export interface CallOptions {
  /**
   * Ends the call, which then rejects with the signal's reason. A request that was already sent may still be carried
   * out.
   */
  signal?: AbortSignal;
  /**
   * The time limit for the whole call in milliseconds, including repetitions and waiting for a token. After it, the
   * call rejects with a {@link DeputizeError} whose `code` is `timeout`.
   *
   * @defaultValue 30000; 150000 for `callTool`, since the service gives a tool 2 minutes
   */
  timeoutMs?: number;
}

/** Options of a list. */
export interface ListOptions extends CallOptions {
  /**
   * The most items.
   *
   * @defaultValue all of them
   */
  limit?: number;
}

/**
 * A list. If it is awaited, it is an array of all items. If it is iterated over by `for await`, it asks for each page
 * when it gets there. Nothing is sent before either. `timeoutMs` is for each page.
 */
export interface List<Item> extends Promise<Item[]>, AsyncIterable<Item> {}

/** The user to act for, in one of three ways. */
export type User =
  | {
      /** The user's id here, a UUID. */
      userId: string;
    }
  | {
      /** The user's email address. */
      email: string;
    }
  | {
      /**
       * The user's own JWT, or a function that answers it when a token on behalf of the user is needed: about once an
       * hour. With {@link TokenCredentials} this is the only way, by token exchange (RFC 8693).
       */
      accessToken: string | ((asked: TokenAsked) => string | Promise<string>);
    };

/** A token (RFC 6749 section 5.1). */
export interface AccessToken {
  /** The token itself, a secret. */
  accessToken: string;
  /** How to send it. */
  tokenType: "Bearer";
  /** How many seconds it is good from now. Missing if that is not known. */
  expiresIn?: number;
  /** Its scope. Missing for a user's own token. */
  scope?: string;
}

/** An MCP tool, with everything that its server says about it. */
export interface Tool {
  /** The name for `callTool`. */
  name: string;
  /** What it does, for a model to read. */
  description?: string;
  /** The JSON Schema of its arguments. */
  inputSchema: { [keyword: string]: unknown };
  [field: string]: unknown;
}

/** An MCP `CallToolResult`, as the server gave it. */
export interface ToolResult {
  /** The result for a model to read: text, images, resources. */
  content: ToolContent[];
  /** The result for a program to read. */
  structuredContent?: { [field: string]: unknown };
  /** The tool failed, and `content` says why. This is a result: nothing is thrown. */
  isError?: boolean;
  [field: string]: unknown;
}

/** A piece of a {@link ToolResult}. */
export interface ToolContent {
  /** `text`, `image`, `audio`, `resource`, `resource_link` … */
  type: string;
  /** The text, if that is the type. */
  text?: string;
  [field: string]: unknown;
}

/** A delegation: an agent may act for a user. */
export interface Delegation {
  /** The delegation's id, a UUID. */
  id: string;
  /** The agent account that may act. */
  agentAccountId: string;
  /** The user for whom it may act. */
  delegatorUserId: string;
  /** Their email address, if they have one. */
  delegatorEmail: string | null;
  /** Not revoked and not expired. */
  isActive: boolean;
  /** The servers that the agent may call for the user; `null` for all. */
  serverIds: string[] | null;
  /** When it ends (RFC 3339); `null` if it lasts until it is revoked. */
  expiresAt: string | null;
  /** When it was created (RFC 3339). */
  createdAt: string;
  /** When it was revoked (RFC 3339). */
  revokedAt: string | null;
}

/** A session grant: an agent may use a user's OAuth session at a server. */
export interface SessionGrant {
  /** The grant's id, a UUID. */
  id: string;
  /** The agent account that may use the session. */
  agentAccountId: string;
  /** The server of the session. */
  serverId: string;
  /** The owner of the session. */
  grantorUserId: string;
  /** Their email address, if they have one. */
  grantorEmail: string | null;
  /** Whether users without a grant of their own use it too. At most one is shared for an agent and a server. */
  shared: boolean;
  /** Not revoked. */
  isActive: boolean;
  /**
   * The user who ended it by sharing their own; `null` if it was not ended so, and for callers other than its grantor
   * and admins.
   */
  displacedByUserId: string | null;
  /** Their email address, if they have one. */
  displacedByEmail: string | null;
  /** When it was ended so (RFC 3339). */
  displacedAt: string | null;
  /** When it was created (RFC 3339). */
  createdAt: string;
  /** When it was last changed (RFC 3339). */
  updatedAt: string;
}

/** The next step of connecting to a server. */
export interface Connecting {
  /** The URL to open in the user's browser. */
  authorizationUrl: string;
  /** How many seconds it can be used. */
  expiresIn: number;
}

/** Delegations. To be called with a user's credentials. */
export interface Delegations {
  /**
   * The delegations to an agent account: all of them for admins and the account's owner, the caller's own for other
   * users. Without an account: the caller's own delegations to all agents.
   */
  list(agentAccountId?: string, options?: ListOptions): List<Delegation>;
  /**
   * Lets an agent act for the caller. An equal active delegation is answered as it is. A different one is replaced,
   * and tokens that rest on it end.
   */
  create(
    agentAccountId: string,
    options?: CallOptions & {
      /** The servers that the agent may call, 1 to 50; all if left out. */
      serverIds?: string[];
      /** When it ends; if left out, it lasts until it is revoked. */
      expiresAt?: Date | string;
    },
  ): Promise<Delegation>;
  /** Revokes it. Tokens that rest on it are refused from the next call on. */
  revoke(delegationId: string, options?: CallOptions): Promise<void>;
}

/** Session grants. To be called with a user's credentials. */
export interface SessionGrants {
  /** The caller's own grants to an agent account, and the shared ones. */
  list(
    agentAccountId: string,
    options?: ListOptions & {
      /** Only grants for this server. */
      serverId?: string;
    },
  ): List<SessionGrant>;
  /**
   * Lets an agent use the caller's OAuth session. The caller must be connected to the server. An active grant is
   * answered, made shared or personal as requested.
   */
  create(
    agentAccountId: string,
    serverId: string,
    options?: CallOptions & {
      /**
       * Make it the shared one, which revokes all other users' grants for this agent and server. If the account's
       * `shared_grants` is `managers`, only its owner and admins may.
       *
       * @defaultValue false
       */
      shared?: boolean;
    },
  ): Promise<SessionGrant>;
  /**
   * Changes the caller's own grant from personal to shared or back; `shared` of the answer says what it is now. Doing
   * it twice undoes it, so it is never repeated automatically once it may have been carried out.
   */
  toggle(agentAccountId: string, serverId: string, options?: CallOptions): Promise<SessionGrant>;
  /** Revokes a grant: the caller's own, or any for an admin. Delegations stay as they are. */
  revoke(sessionGrantId: string, options?: CallOptions): Promise<SessionGrant>;
}

/**
 * A client of the service.
 *
 * @example
 * ```js
 * const agent = new AgentClient({ url, credentials: { clientId, clientSecret } });
 * const bob = agent.onBehalfOf({ email: "bob@example.com" });
 * const result = await bob.callTool("demo", "list_repos", { org: "acme-corp" });
 * ```
 *
 * An agent's tokens are kept, and shared with its clients on behalf of users. They are renewed in their last minute
 * (in the last tenth of a life of less than ten minutes), and once when the service refuses one before its time.
 *
 * Requests that are refused for now (429, 503) are repeated at most twice, after the time that `Retry-After` asks for
 * and a random moment more. If it asks for more than 20 seconds, the call fails instead and says how long to wait. A
 * request that could do its work twice, such as calling a tool, is repeated only if the service says that nothing was
 * done.
 */
export class AgentClient {
  /**
   * @throws TypeError if the options are wrong.
   * @throws {@link DeputizeError} `secret_in_browser` for an agent's secret or private key in a page.
   */
  constructor(options: AgentClientOptions);

  /** Delegations. */
  readonly delegations: Delegations;

  /** Session grants. */
  readonly sessionGrants: SessionGrants;

  /**
   * The token that this client sends, for use elsewhere: by an MCP client, or in a page that gets it from the
   * backend. Not for API keys, which are sent unchanged.
   */
  token(options?: CallOptions): Promise<AccessToken>;

  /**
   * A client that acts for a user who has delegated to this agent. It shares this client's tokens, so it may be made
   * again for each request. Nothing is sent yet.
   *
   * @throws TypeError if this client is not an agent's, or acts for a user already.
   */
  onBehalfOf(user: User): AgentClient;

  /** The tools of a server that the caller may call. */
  listTools(serverId: string, options?: ListOptions): List<Tool>;

  /**
   * Calls a tool. The call is repeated only if the service says that it never reached the tool.
   *
   * @param args - The arguments by name; none if left out.
   */
  callTool(
    serverId: string,
    name: string,
    args?: { [name: string]: unknown },
    options?: CallOptions,
  ): Promise<ToolResult>;

  /**
   * Begins to connect the caller, a user, to a server that asks for OAuth.
   *
   * @returns the URL to open in the user's browser.
   */
  connect(
    serverId: string,
    options?: CallOptions & {
      /** Additional scope to ask for, such as the `scope` of a {@link DeputizeError}. */
      scope?: string;
    },
  ): Promise<Connecting>;
}

/**
 * The error that this package throws. Exceptions: a `TypeError` for a wrong call, and the reason of a caller's
 * signal.
 */
export class DeputizeError extends Error {
  /** For tests of code that handles such errors. The fields are those below. */
  constructor(fields: {
    code: string;
    detail: string;
    status?: number;
    hint?: string;
    requestId?: string;
    retryAfter?: number;
    challenge?: string;
    reason?: string;
    deniedFor?: string;
    policies?: string[];
    explanation?: string;
    scope?: string;
    cause?: unknown;
  });

  /**
   * What happened, for programs: the `error` of the service's answer (`invalid_client`, `no_credentials`,
   * `access_denied` …), or, if the service had no part in it, `timeout`, `network_error`, `malformed_answer`,
   * `http_error`, `redirected`, `token_function_failed`, `invalid_key`, `invalid_request`, `secret_in_browser`,
   * `unsupported` or `not_loaded`.
   */
  readonly code: string;
  /** The HTTP status, if there was an answer. */
  readonly status: number | undefined;
  /**
   * What exactly happened, for programs, if the service says so: a word such as `delegation_missing`,
   * `policy_denied_user` or `session_expired`. It is finer than `code`. The service's troubleshooting page lists the
   * words; there can be others, of a newer service.
   */
  readonly reason?: string;
  /** What happened, for people. */
  readonly detail: string;
  /** What to do about it, if that is known. */
  readonly hint: string | undefined;
  /** The request's id in the service's log and audit trail. */
  readonly requestId: string | undefined;
  /** When to try again, in seconds. */
  readonly retryAfter: number | undefined;
  /**
   * For a 401: the service's `WWW-Authenticate`, which says where to find out how to get a token (RFC 9728 section
   * 5.1). Also read under API Gateway's name for it, in case nothing in front restores the own name.
   */
  readonly challenge?: string;
  /** For `Policy denied`: the principal that may not make the call, `agent` or `user`. */
  readonly deniedFor?: string;
  /** For `Policy denied`: the policies that forbid it; empty if none permits it. */
  readonly policies?: string[];
  /** For `Policy denied`: why, for people. */
  readonly explanation?: string;
  /** For `insufficient_scope`: what the OAuth session lacks, to be given to `connect`. */
  readonly scope?: string;
}

/** A WebAssembly module, its bytes, its address, or a response with it. */
export type ModuleSource = WebAssembly.Module | BufferSource | string | URL | Response;

/**
 * Gives the package's WebAssembly (`deputize/deputize_bg.wasm`), where neither `deputize` finds it by itself nor
 * `deputize/inline` is wanted: a file at an address of your own, or a module that your bundler imports. It is used by the
 * first call of any client; later it has no effect, unless that call failed with `not_loaded`.
 *
 * @param source - the module, a promise of it, or a function that answers either and is called when it is needed
 */
export function setModule(source: ModuleSource | Promise<ModuleSource> | (() => ModuleSource | Promise<ModuleSource>)): void;
