/**
 * Signing in the user of a page, who then calls tools and manages delegations as themselves. Tokens are in the page's
 * memory alone: each tab has its own, and a page that is loaded again has none ({@link resume}).
 *
 * @example
 * ```js
 * const app = { url: "https://deputize.example.com", clientId: "app-…", redirectUri: `${location.origin}/` };
 * const session = (await handleCallback()) ?? (await resume(app));
 * if (session) new AgentClient({ url: app.url, credentials: session.credentials });
 * else button.onclick = () => signIn(app);
 * ```
 *
 * @packageDocumentation
 */

import type { UserTokenCredentials } from "./index.js";

/** The options of {@link signIn}. */
export interface SignInOptions {
  /** The service's address, as it calls itself: `https://…`. `http://` is only for services on this machine. */
  url: string | URL;
  /** The page's client id: one that an admin registered, or the address of its Client ID Metadata Document. */
  clientId: string;
  /** The address at which the browser comes back to this page, exactly as it is registered. */
  redirectUri: string;
  /**
   * What is asked for: `tools:call` to call tools, `manage` for the management API; and `offline_access`, so that the
   * user is signed in for longer than an hour.
   *
   * @defaultValue "tools:call offline_access"
   */
  scope?: string | undefined;
  /**
   * Where the tokens are good (RFC 8707): the address of one server's MCP endpoint, of the whole proxy, or of the
   * management API.
   *
   * @defaultValue the whole proxy: every server
   */
  resource?: string | undefined;
  /**
   * `none`: the user is shown no page. For apps that an admin has marked as trusted; what it needs is told by the
   * errors `login_required` and `consent_required`. `consent`: the user is asked in any case.
   */
  prompt?: "none" | "consent" | undefined;
  /** A value of the page's own, such as where the user was, for {@link SignedIn.state}. It must be JSON. */
  state?: unknown;
}

/** A user who has signed in. */
export interface SignedIn<State = unknown> {
  /** For `AgentClient`. The tokens are in this page's memory alone, and are renewed when that is needed. */
  readonly credentials: UserTokenCredentials;
  /** What the user allowed. */
  readonly scope: string | undefined;
  /** What {@link SignInOptions.state} was. Its type is what you say it is; nothing checks it. */
  readonly state: State;
}

/**
 * Sends the browser to the service, where the user signs in and is asked. The page is left.
 *
 * @returns `null` if the user comes back to the page as it was, by the browser's Back button.
 * @throws TypeError if the options are wrong.
 * @throws A `DeputizeError`, `unsupported`: the page is in a frame, is neither https nor on this machine, or may keep
 * nothing.
 */
export function signIn(options: SignInOptions): Promise<null>;

/**
 * Ends a sign-in on the page that the browser came back to. To be called when the page starts; a second call gets the
 * same. Answers to what other libraries asked for are left alone.
 *
 * @param at - The address with the answer; by default the page's own, out of which the answer is taken.
 * @returns `null` if the page was not opened by the end of a sign-in, or by one of {@link resume} to which the user has
 * to be asked first.
 * @throws A `DeputizeError`: `access_denied` if the user did not allow it; `login_required` or `consent_required` after
 * `prompt: "none"`; `sign_in_unknown` if the answer is not to a sign-in of this tab, such as a link of another site;
 * `sign_in_mismatch` if it is another service's (RFC 9207); `invalid_grant` if it was used already.
 */
export function handleCallback<State = unknown>(at?: string | URL): Promise<SignedIn<State> | null>;

/**
 * For a page that was loaded again: signs the user in as {@link signIn} does, if they were signed in in this tab
 * before, so that the page is left. An app that an admin trusts says `prompt: "none"`, which shows nothing; if the user
 * has to be asked after all, {@link handleCallback} then answers `null`. Any other app leaves `prompt` out, and its user
 * is asked by a short page.
 *
 * @returns `null` if the user was not signed in, or comes back to the page as it was.
 */
export function resume(options: SignInOptions): Promise<null>;

/**
 * Signs the user of this page out: the page forgets its tokens, and the service makes them useless. Other tabs stay
 * signed in, and so does the browser at the service itself.
 *
 * @throws A `DeputizeError` if the service cannot be reached. The page has forgotten the tokens all the same.
 */
export function signOut(): Promise<void>;
