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

/** What credentials of another kind have. Two kinds at once do not compile. */
type Without<Names extends string> = { [Name in Names]?: undefined };

/** An agent account, by its secret (`client_secret_post`, RFC 6749 section 2.3.1). */
export interface SecretCredentials
  extends Without<"privateKey" | "keyId" | "audience" | "userToken" | "apiKey" | "token"> {
  /** The agent account's id. */
  clientId: string;
  /** A live secret of the account. */
  clientSecret: string;
}

/**
 * An agent account, by a signature (`private_key_jwt`, RFC 7523). The public half of the key must be one of the
 * account's; the private half stays in WebCrypto, and should be one that cannot be extracted.
 */
export interface PrivateKeyCredentials extends Without<"clientSecret" | "userToken" | "apiKey" | "token"> {
  /** The agent account's id. */
  clientId: string;
  /**
   * EC P-256 or P-384, Ed25519, or RSA (`RSASSA-PKCS1-v1_5` or `RSA-PSS` with SHA-256, SHA-384 or SHA-512), of at least
   * 2,048 bits; with the usage `sign`.
   */
  privateKey: CryptoKey;
  /** The `kid` that the key has at the account. Without it, the service tries the account's keys. */
  keyId?: string | undefined;
  /**
   * The service's issuer or token endpoint as the service itself knows it.
   *
   * @defaultValue the token endpoint at `url`
   */
  audience?: string | undefined;
}

/** A user, by the JWT of an issuer that the service trusts. */
export interface UserTokenCredentials
  extends Without<"clientId" | "clientSecret" | "privateKey" | "keyId" | "audience" | "apiKey" | "token"> {
  /**
   * The JWT, or a function that answers it. The function is called for each request and its answer is not kept, so
   * that the token of a previous user is never used. Most sign-in libraries keep it themselves.
   */
  userToken: string | ((asked: TokenAsked) => string | Promise<string>);
}

/** A user, by an API key (`rl_…`). */
export interface ApiKeyCredentials
  extends Without<"clientId" | "clientSecret" | "privateKey" | "keyId" | "audience" | "userToken" | "token"> {
  /** The key. Like a password, it does not belong in a page. */
  apiKey: string;
}

/** Tokens from the application's own backend, which is the agent's client. */
export interface TokenCredentials
  extends Without<"clientId" | "clientSecret" | "privateKey" | "keyId" | "audience" | "userToken" | "apiKey"> {
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
  | { accessToken: string; expiresIn?: number | undefined; scope?: string | undefined }
  | { access_token: string; expires_in?: number | undefined; scope?: string | undefined };

/** What an application's function is called with. */
export interface TokenAsked {
  /** The previous token was refused, or another is wanted: do not answer it again. For `client.token({ renew })`. */
  renew: boolean;
  /** The token that was refused, if it is known. */
  refused?: string;
  /** Aborts when no caller waits for the answer any more: after 30 seconds. */
  signal: AbortSignal;
}

/** What the class `Headers` takes. */
type OwnHeaders = Headers | { [name: string]: string } | [string, string][];

/** The options of a client. */
export interface AgentClientOptions {
  /** The service's address: `https://…`. `http://` is only for services on this machine; see `allowPrivateHttp`. */
  url: string | URL;
  /** What a relative `url` is relative to, such as `location.href` in a page behind the same reverse proxy. */
  base?: string | URL | undefined;
  /** The client's credentials. */
  credentials: Credentials;
  /**
   * Allows an agent's secret or private key in a page or a page's worker. Anyone who opens the page has it: a secret
   * can be taken away, and a key, extractable or not, can sign. Only for pages that other people can never open.
   *
   * @defaultValue false
   */
  dangerouslyAllowSecretInBrowser?: boolean | undefined;
  /**
   * Allows `http://` in a private network, whose every member can read along: names without a dot (docker compose),
   * names that end in `.local`, `.internal`, `.lan`, `.home.arpa` or `.test`, and private addresses.
   *
   * @defaultValue false
   */
  allowPrivateHttp?: boolean | undefined;
  /**
   * What to send with, such as a service binding (`(...call) => env.DEPUTIZE.fetch(...call)`) or a stub of a test. It is
   * called with a URL and with `fetch`'s second argument, and answers a `Response`.
   *
   * @defaultValue the global `fetch`, as it is at each call
   */
  fetch?: ((url: string, init: RequestInit) => Promise<Response> | Response) | undefined;
  /**
   * Headers to send with each request, such as `traceparent`; or a function that answers them, called before each
   * attempt. They replace none of the client's own. A page may send those only that the service allows.
   */
  headers?: OwnHeaders | (() => OwnHeaders | Promise<OwnHeaders>) | undefined;
  /** `timeoutMs` of each call that has none of its own. */
  timeoutMs?: number | undefined;
  /** `retries` of each call that has none of its own. */
  retries?: number | undefined;
}

/** Options of every call. */
export interface CallOptions {
  /**
   * Ends the call, which then rejects with the signal's reason. A request that was already sent may still be carried
   * out.
   */
  signal?: AbortSignal | undefined;
  /**
   * The time limit for the whole call in milliseconds, including repetitions and waiting for a token. After it, the
   * call rejects with a {@link DeputizeError} whose `code` is `timeout`.
   *
   * @defaultValue the client's; 30000, or 150000 for `callTool`, since the service gives a tool 2 minutes
   */
  timeoutMs?: number | undefined;
  /**
   * How often a request may be repeated, at most 10 times. It never is if that could do its work twice, or beyond
   * `timeoutMs`.
   *
   * @defaultValue the client's; 2
   */
  retries?: number | undefined;
}

/** Options of `token`. */
export interface TokenOptions extends CallOptions {
  /**
   * The token that was refused, which is then not given again; or `true` for another token in any case. A backend takes
   * it from the page whose token was refused, and an MCP client passes it after a 401.
   */
  renew?: boolean | string | undefined;
}

/** Options of a list. */
export interface ListOptions extends CallOptions {
  /**
   * The most items.
   *
   * @defaultValue all of them
   */
  limit?: number | undefined;
}

/**
 * A list. If it is awaited, it is an array of all items. If it is iterated over by `for await`, it asks for each page
 * when it gets there. Nothing is sent before either. `timeoutMs` is for each page.
 */
export interface List<Item> extends Promise<Item[]>, AsyncIterable<Item> {}

/** The user to act for, in one of three ways. */
export type User =
  | ({
      /** The user's id here, a UUID. */
      userId: string;
    } & Without<"email" | "accessToken">)
  | ({
      /** The user's email address. */
      email: string;
    } & Without<"userId" | "accessToken">)
  | ({
      /**
       * The user's own JWT, or a function that answers it. A client calls the function when it needs a token on behalf
       * of the user: at first, and then about once an hour. A client that is made anew for the same JWT asks for no
       * token. With {@link TokenCredentials} this is the only way, by token exchange (RFC 8693).
       */
      accessToken: string | ((asked: TokenAsked) => string | Promise<string>);
    } & Without<"userId" | "email">);

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

/** An MCP tool, with everything that its server says about it. It is assignable to `Tool` of MCP's SDKs. */
export interface Tool {
  /** The name for `callTool`. */
  name: string;
  /** Its name for people. */
  title?: string;
  /** What it does, for a model to read. */
  description?: string;
  /** The JSON Schema of its arguments. */
  inputSchema: { type: "object"; properties?: Properties; required?: string[]; [keyword: string]: unknown };
  /** The JSON Schema of `structuredContent`. */
  outputSchema?: { type: "object"; properties?: Properties; required?: string[]; [keyword: string]: unknown };
  /** What the server says of its behaviour, which nothing proves. */
  annotations?: {
    /** Its name for people, of earlier revisions. */
    title?: string;
    /** It changes nothing. */
    readOnlyHint?: boolean;
    /** It may destroy something. */
    destructiveHint?: boolean;
    /** Calling it twice is the same as calling it once. */
    idempotentHint?: boolean;
    /** It deals with the world outside of the server. */
    openWorldHint?: boolean;
  };
  /** What is for programs only. */
  _meta?: Meta;
  [field: string]: unknown;
}

/** A JSON object of any fields. */
type Fields = { [field: string]: unknown };

/** The schemas of an object's properties. Revisions of MCP's SDKs differ in their type, and `any` is each of theirs. */
type Properties = { [name: string]: any };

/** What is for programs only; `any` for the same reason. */
type Meta = { [key: string]: any };

/** The arguments of a tool by name: an object of any type, but no list. */
export type ToolArguments = Fields | (object & { [Symbol.iterator]?: never });

/** An MCP `CallToolResult`, as the server gave it. It is assignable to that of MCP's SDKs. */
export interface ToolResult<Structured extends object = Fields> {
  /** The result for a model to read: text, images, resources. */
  content: ToolContent[];
  /** The result for a program to read. Its type is what you say it is; nothing checks it. */
  structuredContent?: Structured;
  /** The tool failed, and `content` says why. This is a result: nothing is thrown. */
  isError?: boolean;
  /** What is for programs only. */
  _meta?: Meta;
  [field: string]: unknown;
}

/** A piece of a {@link ToolResult}, told apart by its `type`. */
export type ToolContent = TextContent | ImageContent | AudioContent | ResourceLink | EmbeddedResource;

/** What every piece may have. */
interface Piece {
  /** For whom it is, and how important. */
  annotations?: {
    /** For whom it is. */
    audience?: ("user" | "assistant")[];
    /** From 0, for what can be left out, to 1. */
    priority?: number;
    /** When it was last changed (ISO 8601). */
    lastModified?: string;
  };
  /** What is for programs only. */
  _meta?: Meta;
}

/** A text. */
export interface TextContent extends Piece {
  /** Which piece it is. */
  type: "text";
  /** The text. */
  text: string;
}

/** An image. `blobOf` of `deputize/extras` makes a `Blob` of it. */
export interface ImageContent extends Piece {
  /** Which piece it is. */
  type: "image";
  /** The bytes (base64). */
  data: string;
  /** Its media type. */
  mimeType: string;
}

/** A recording. `blobOf` of `deputize/extras` makes a `Blob` of it. */
export interface AudioContent extends Piece {
  /** Which piece it is. */
  type: "audio";
  /** The bytes (base64). */
  data: string;
  /** Its media type. */
  mimeType: string;
}

/** A resource that is read elsewhere. */
export interface ResourceLink extends Piece {
  /** Which piece it is. */
  type: "resource_link";
  /** Where it is. */
  uri: string;
  /** Its name. */
  name: string;
  /** Its name for people. */
  title?: string;
  /** What it is. */
  description?: string;
  /** Its media type. */
  mimeType?: string;
  /** How many bytes it has. */
  size?: number;
}

/** A resource. `blobOf` of `deputize/extras` makes a `Blob` of one that has bytes. */
export interface EmbeddedResource extends Piece {
  /** Which piece it is. */
  type: "resource";
  /** The resource: a text, or bytes (base64). */
  resource:
    | { uri: string; mimeType?: string; text: string; _meta?: Meta }
    | { uri: string; mimeType?: string; blob: string; _meta?: Meta };
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
      serverIds?: string[] | undefined;
      /** When it ends; if left out, it lasts until it is revoked. */
      expiresAt?: Date | string | undefined;
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
      serverId?: string | undefined;
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
      shared?: boolean | undefined;
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
 * Requests that are refused for now (429, 503) are repeated at most twice (`retries`), after the time that `Retry-After`
 * asks for and a random moment more. If it asks for more than 20 seconds, or for more than the call has, the call fails
 * at once and says how long to wait. A
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
  token(options?: TokenOptions): Promise<AccessToken>;

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
  callTool<Structured extends object = Fields>(
    serverId: string,
    name: string,
    args?: ToolArguments,
    options?: CallOptions,
  ): Promise<ToolResult<Structured>>;

  /**
   * Begins to connect the caller, a user, to a server that asks for OAuth.
   *
   * @returns the URL to open in the user's browser.
   */
  connect(
    serverId: string,
    options?: CallOptions & {
      /** Additional scope to ask for, such as the `scope` of a {@link DeputizeError}. */
      scope?: string | undefined;
    },
  ): Promise<Connecting>;
}

/**
 * What happened, for programs: the `error` of the service's answer, or, in the last lines, what happened without it. A
 * service that is newer than this package can have others.
 */
export type ErrorCode =
  | "access_denied"
  | "conflict"
  | "consent_required"
  | "idempotency_key_reused"
  | "insufficient_scope"
  | "invalid_client"
  | "invalid_client_metadata"
  | "invalid_grant"
  | "invalid_redirect_uri"
  | "invalid_request"
  | "invalid_scope"
  | "invalid_target"
  | "invalid_token"
  | "login_required"
  | "method_not_allowed"
  | "no_credentials"
  | "not_bootstrapped"
  | "not_found"
  | "precondition_failed"
  | "request_too_large"
  | "response_too_large"
  | "server_error"
  | "session_expired"
  | "session_not_found"
  | "stream_ended"
  | "temporarily_unavailable"
  | "timed_out"
  | "tool_held_back"
  | "unauthorized"
  | "unauthorized_client"
  | "unsupported_grant_type"
  | "unsupported_media_type"
  | "upstream_error"
  | "upstream_refused"
  | "upstream_timeout"
  | "headers_function_failed"
  | "http_error"
  | "invalid_key"
  | "malformed_answer"
  | "network_error"
  | "not_loaded"
  | "redirected"
  | "secret_in_browser"
  | "sign_in_mismatch"
  | "sign_in_unknown"
  | "signed_out"
  | "timeout"
  | "token_function_failed"
  | "unsupported";

/** The fields of a {@link DeputizeError}. */
export interface ErrorFields {
  /** What happened, for programs. */
  readonly code: ErrorCode;
  /** The HTTP status, if there was an answer. */
  readonly status?: number | undefined;
  /**
   * What exactly happened, for programs, if the service says so: a word such as `delegation_missing`,
   * `policy_denied_user` or `session_expired`. It is finer than `code`. The service's troubleshooting page lists the
   * words; there can be others, of a newer service.
   */
  readonly reason?: string | undefined;
  /** What happened, for people. */
  readonly detail: string;
  /** What to do about it, if that is known. */
  readonly hint?: string | undefined;
  /** The request's id in the service's log and audit trail. */
  readonly requestId?: string | undefined;
  /** When to try again, in seconds. */
  readonly retryAfter?: number | undefined;
  /**
   * For a 401: the service's `WWW-Authenticate`, which says where to find out how to get a token (RFC 9728 section
   * 5.1). Also read under API Gateway's name for it, in case nothing in front restores the own name.
   */
  readonly challenge?: string | undefined;
  /** For `Policy denied`: the principal that may not make the call, `agent` or `user`. */
  readonly deniedFor?: string | undefined;
  /** For `Policy denied`: the policies that forbid it; empty if none permits it. */
  readonly policies?: string[] | undefined;
  /** For `Policy denied`: why, for people. */
  readonly explanation?: string | undefined;
  /** For `insufficient_scope`: what the OAuth session lacks, to be given to `connect`. */
  readonly scope?: string | undefined;
}

/** Its fields. */
export interface DeputizeError extends ErrorFields {}

/**
 * The error that this package throws. Exceptions: a `TypeError` for a wrong call, and the reason of a caller's
 * signal.
 */
export class DeputizeError extends Error {
  /** Whether it is one: also of another copy of this package, and as `toJSON` writes it. */
  static is(value: unknown): value is ErrorFields & { name: "DeputizeError"; message: string };

  /** Of an error that was sent by `postMessage` or as JSON; or for tests of code that handles such errors. */
  constructor(fields: ErrorFields & { cause?: unknown });

  /** For `JSON.stringify`, and for `postMessage`, which keeps no field of an `Error`: all but stack and cause. */
  toJSON(): ErrorFields & { name: "DeputizeError"; message: string };
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

export {};
