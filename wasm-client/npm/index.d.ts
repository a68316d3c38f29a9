/**
 * The client of Deputize: tokens for AI agents, as themselves or on behalf of users, the tools that they may call, and
 * what users let them do.
 *
 * @packageDocumentation
 */

/**
 * What a client proves itself by: one of five kinds.
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
   * The JWT, or a function that answers it. The function is called for each request and its answer is not kept, so that
   * nobody acts with the token of who signed in before; most sign-in libraries keep it themselves.
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
   * Answers a token that is ready: its text, or the {@link AccessToken} that `client.token()` gave the backend, or the
   * token endpoint's own JSON. It is kept and asked for again before it expires. A text that is no JWT does not say
   * when that is, and is asked for each time.
   */
  token: (asked: TokenAsked) => GivenToken | Promise<GivenToken>;
}

/** What an application's function may answer as a token. `expiresIn` is in seconds from now. */
export type GivenToken =
  | string
  | { accessToken: string; expiresIn?: number; scope?: string }
  | { access_token: string; expires_in?: number; scope?: string };

/** What an application's function is told. */
export interface TokenAsked {
  /** The token before was refused: do not answer it again. */
  renew: boolean;
  /** Ends when nobody waits for the answer any more: after 30 seconds. */
  signal: AbortSignal;
}

/** How a client is made. */
export interface AgentClientOptions {
  /** Where the service is: `https://…`; `http://` is for services on this machine. */
  url: string | URL;
  /** Whose client it is. */
  credentials: Credentials;
  /**
   * Allows an agent's secret or private key in a page or a page's worker, where whoever opens the page has it: the
   * secret to take away, a key, extractable or not, to sign with. Only for pages that nobody else can ever open.
   *
   * @defaultValue false
   */
  dangerouslyAllowSecretInBrowser?: boolean;
}

/** What any call takes. */
export interface CallOptions {
  /** Ends the call, which then rejects with the signal's reason. What has been sent may still be carried out. */
  signal?: AbortSignal;
  /**
   * How long the call may take in all, repetitions and waiting for a token included, in milliseconds. After it, the call
   * rejects with a {@link DeputizeError} whose `code` is `timeout`.
   *
   * @defaultValue 30000; 150000 for `callTool`, since the service gives a tool 2 minutes
   */
  timeoutMs?: number;
}

/** What a list takes. */
export interface ListOptions extends CallOptions {
  /**
   * Items at most.
   *
   * @defaultValue all of them
   */
  limit?: number;
}

/**
 * A list. Awaited, it is an array of all items; iterated over by `for await`, it asks for a page when it gets there.
 * Nothing is sent before either. `timeoutMs` is for each page.
 */
export interface List<Item> extends Promise<Item[]>, AsyncIterable<Item> {}

/** Whom to act for: one of three ways to say it. */
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
  /** How it is to be sent. */
  tokenType: "Bearer";
  /** How long it is good from now, in seconds; missing if it does not say so. */
  expiresIn?: number;
  /** What it is good for; missing for a user's own. */
  scope?: string;
}

/** An MCP tool, as its server describes it, with all that the server says of it. */
export interface Tool {
  /** What `callTool` calls it by. */
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
  /** The tool failed, and `content` says how. This is a result: nothing is thrown. */
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

/** That an agent may act for a user. */
export interface Delegation {
  /** The delegation's id, a UUID. */
  id: string;
  /** The agent account that may act. */
  agentAccountId: string;
  /** Whom it may act for. */
  delegatorUserId: string;
  /** Their email address, if they have one. */
  delegatorEmail: string | null;
  /** Not revoked and not expired. */
  isActive: boolean;
  /** The servers that the agent may call for the user; `null` for all. */
  serverIds: string[] | null;
  /** Until when (RFC 3339); `null` for until it is revoked. */
  expiresAt: string | null;
  /** Since when (RFC 3339). */
  createdAt: string;
  /** When it was revoked (RFC 3339). */
  revokedAt: string | null;
}

/** That an agent may use a user's OAuth session at a server. */
export interface SessionGrant {
  /** The grant's id, a UUID. */
  id: string;
  /** The agent account that may use the session. */
  agentAccountId: string;
  /** The server that the session is at. */
  serverId: string;
  /** Whose session it is. */
  grantorUserId: string;
  /** Their email address, if they have one. */
  grantorEmail: string | null;
  /** Whether users without a grant of their own use it too. One at most is shared for an agent and a server. */
  shared: boolean;
  /** Not revoked. */
  isActive: boolean;
  /** Since when (RFC 3339). */
  createdAt: string;
  /** When it was changed last (RFC 3339). */
  updatedAt: string;
}

/** The way to a server's authorization server. */
export interface Connecting {
  /** To be opened in the user's browser. */
  authorizationUrl: string;
  /** For how many seconds it can be used. */
  expiresIn: number;
}

/** Who may act for whom. Called with a user's credentials. */
export interface Delegations {
  /**
   * The delegations to an agent account: all for admins and the account's owner, their own for others. Without an
   * account: the caller's own.
   */
  list(agentAccountId?: string, options?: ListOptions): List<Delegation>;
  /**
   * Lets an agent act for the caller. One that stands and says the same is answered as it is; one that says something
   * else is replaced, and tokens that rest on it end.
   */
  create(
    agentAccountId: string,
    options?: CallOptions & {
      /** The servers that the agent may call, 1 to 50; all if left out. */
      serverIds?: string[];
      /** Until when; until it is revoked if left out. */
      expiresAt?: Date | string;
    },
  ): Promise<Delegation>;
  /** Takes it back. Tokens that rest on it are refused from the next call on. */
  revoke(delegationId: string, options?: CallOptions): Promise<void>;
}

/** Whose OAuth sessions agents use at servers. Called with a user's credentials. */
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
   * Lets an agent use the caller's OAuth session, who must be connected to the server. A grant that stands is answered,
   * made shared or personal as asked.
   */
  create(
    agentAccountId: string,
    serverId: string,
    options?: CallOptions & {
      /**
       * Make it the shared one, which revokes everybody else's for this agent and server.
       *
       * @defaultValue false
       */
      shared?: boolean;
    },
  ): Promise<SessionGrant>;
  /**
   * Flips the caller's own grant between personal and shared; `shared` of the answer says what it is now. Doing it twice
   * undoes it, so it is never repeated by itself once it may have been carried out.
   */
  toggle(agentAccountId: string, serverId: string, options?: CallOptions): Promise<SessionGrant>;
  /** Takes a grant back: one's own, or anybody's for an admin. Delegations are left alone. */
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
 * An agent's tokens are kept, shared with the clients on behalf of users, and renewed in their last minute (in the last
 * tenth of a life of less than ten minutes), or once when the service refuses one before its time.
 *
 * Requests that were refused for the time being (429, 503) are repeated twice at most, after what `Retry-After` asks for
 * and a random moment more; who is asked to wait for more than 20 seconds is told so instead. What could do its work
 * twice, such as calling a tool, is repeated only if the service says that nothing was done.
 */
export class AgentClient {
  /**
   * @throws TypeError if the options cannot be right.
   * @throws {@link DeputizeError} `secret_in_browser` for an agent's secret or private key in a page.
   */
  constructor(options: AgentClientOptions);

  /** Who may act for whom. */
  readonly delegations: Delegations;

  /** Whose OAuth sessions agents use at servers. */
  readonly sessionGrants: SessionGrants;

  /**
   * The token that this client sends, to be used elsewhere: by an MCP client, or in a page that the backend gives it to.
   * Not for API keys, which are sent as they are.
   */
  token(options?: CallOptions): Promise<AccessToken>;

  /**
   * A client that acts for a user who has delegated to this agent. It shares this client's tokens, so it may be made
   * anew for each request. Nothing is sent yet.
   *
   * @throws TypeError if this client is no agent's, or acts for a user already.
   */
  onBehalfOf(user: User): AgentClient;

  /** The tools of a server that the caller may call. */
  listTools(serverId: string, options?: ListOptions): List<Tool>;

  /**
   * Calls a tool. It is sent once: again only if the service says that it never came to the tool.
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
   * @returns where the user's browser is to go.
   */
  connect(
    serverId: string,
    options?: CallOptions & {
      /** Further scope to ask for, such as a {@link DeputizeError}'s `scope` names. */
      scope?: string;
    },
  ): Promise<Connecting>;
}

/** What this package throws, but for a `TypeError` where a call cannot be right, and the reason of a caller's signal. */
export class DeputizeError extends Error {
  /** For tests of what handles such errors; the fields are those below. */
  constructor(fields: {
    code: string;
    detail: string;
    status?: number;
    hint?: string;
    requestId?: string;
    retryAfter?: number;
    deniedFor?: string;
    policies?: string[];
    reason?: string;
    scope?: string;
    cause?: unknown;
  });

  /**
   * What happened, for programs: the `error` of the service's answer (`invalid_client`, `no_credentials`,
   * `access_denied` …), or, where the service had no part in it, `timeout`, `network_error`, `malformed_answer`,
   * `http_error`, `redirected`, `token_function_failed`, `invalid_key`, `invalid_request`, `secret_in_browser`,
   * `unsupported` or `not_loaded`.
   */
  readonly code: string;
  /** The HTTP status, if there was an answer. */
  readonly status: number | undefined;
  /** What happened, for people. */
  readonly detail: string;
  /** What to do about it, if anything is known. */
  readonly hint: string | undefined;
  /** By what the service's log and audit trail name the request. */
  readonly requestId: string | undefined;
  /** When to try again, in seconds. */
  readonly retryAfter: number | undefined;
  /** For `Policy denied`: who may not make the call, `agent` or `user`. */
  readonly deniedFor?: string;
  /** For `Policy denied`: the policies that forbid it; empty if none permits it. */
  readonly policies?: string[];
  /** For `Policy denied`: why. */
  readonly reason?: string;
  /** For `insufficient_scope`: what the OAuth session lacks, to be given to `connect`. */
  readonly scope?: string;
}
