/**
 * For MCP clients in TypeScript: `@modelcontextprotocol/client` 2 with the tokens of an agent or of a user.
 *
 * @example
 * ```js
 * const mcp = new Client({ name: "my-agent", version: "1.0.0" });
 * await mcp.connect(transport({ url, serverId: "demo", client: agent }));
 * console.log(await mcp.listTools());
 * ```
 *
 * @packageDocumentation
 */

import type {
  OAuthClientProvider,
  StreamableHTTPClientTransport,
  StreamableHTTPClientTransportOptions,
} from "@modelcontextprotocol/client";
import type { AgentClient } from "./index.js";

/** The options of {@link transport}: the service, the server, and whose tokens are sent. */
export type TransportOptions = {
  /** The service's address. */
  url: string | URL;
  /** The MCP server's id. */
  serverId: string;
} & (
  | {
      /** Sends the tokens of this client: an agent's, those on behalf of a user, or a user's own. */
      client: AgentClient;
      provider?: undefined;
    }
  | {
      /** Signs the user in when that is needed. */
      provider: OAuthClientProvider;
      client?: undefined;
    }
);

/**
 * The transport to a server's MCP endpoint, for `connect` of the SDK's `Client`.
 *
 * @param further - Options of the transport itself, such as `fetch`.
 */
export function transport(
  options: TransportOptions,
  further?: Omit<StreamableHTTPClientTransportOptions, "authProvider">,
): StreamableHTTPClientTransport;

/** The options of {@link OAuthProvider}. */
export interface OAuthProviderOptions {
  /** The address at which the browser comes back. */
  redirectUri: string;
  /**
   * What the app calls itself when it registers itself. It is shown to the user as unverified.
   *
   * @defaultValue the page's title
   */
  clientName?: string | undefined;
  /**
   * A client id that an admin registered, or the address of the app's Client ID Metadata Document.
   *
   * @defaultValue the app registers itself (RFC 7591)
   */
  clientId?: string | undefined;
  /**
   * What is asked for.
   *
   * @defaultValue what the server needs
   */
  scope?: string | undefined;
  /**
   * Opens the browser, such as a program on a computer does.
   *
   * @defaultValue the page is left
   */
  redirect?: ((url: URL) => void | Promise<void>) | undefined;
}

/**
 * Signs a user in for one MCP server: the SDK finds out how, registers the app, and renews the tokens. For a page, or
 * for a program that opens a browser. Tokens are in memory alone; what has to outlast leaving the page is in the tab's
 * `sessionStorage`.
 *
 * @example
 * ```js
 * const to = transport({ url, serverId: "demo", provider });
 * await provider.handleCallback(to);
 * await mcp.connect(to);
 * ```
 */
export class OAuthProvider implements OAuthClientProvider {
  /** @throws TypeError if the options are wrong. */
  constructor(options: OAuthProviderOptions);

  /**
   * Ends a sign-in, if this is the address of its answer: to be called before `connect`.
   *
   * @param transport - The transport that has this provider.
   * @param at - The address with the answer; by default the page's own, out of which the answer is taken.
   * @returns whether there was one.
   * @throws A `DeputizeError`: `access_denied` if the user did not allow it; `sign_in_unknown` if the answer is not to
   * a sign-in of this tab; `sign_in_mismatch` if it is another service's (RFC 9207). What the SDK throws besides.
   */
  handleCallback(transport: StreamableHTTPClientTransport, at?: string | URL): Promise<boolean>;

  /** Forgets the tokens; the service makes them useless. */
  signOut(): Promise<void>;

  /** For the SDK. */
  readonly redirectUrl: string;
  /** For the SDK. */
  readonly clientMetadataUrl?: string;
  /** For the SDK. */
  readonly clientMetadata: OAuthClientProvider["clientMetadata"];
  /** For the SDK. */
  state(): string;
  /** For the SDK. */
  clientInformation: OAuthClientProvider["clientInformation"];
  /** For the SDK. */
  saveClientInformation: NonNullable<OAuthClientProvider["saveClientInformation"]>;
  /** For the SDK. */
  discoveryState: NonNullable<OAuthClientProvider["discoveryState"]>;
  /** For the SDK. */
  saveDiscoveryState: NonNullable<OAuthClientProvider["saveDiscoveryState"]>;
  /** For the SDK. */
  tokens: OAuthClientProvider["tokens"];
  /** For the SDK. */
  saveTokens: OAuthClientProvider["saveTokens"];
  /** For the SDK. */
  saveCodeVerifier: OAuthClientProvider["saveCodeVerifier"];
  /** For the SDK. */
  codeVerifier(): string;
  /** For the SDK. */
  redirectToAuthorization(url: URL): Promise<void>;
  /** For the SDK. */
  invalidateCredentials: NonNullable<OAuthClientProvider["invalidateCredentials"]>;
}
