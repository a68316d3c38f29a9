// For MCP clients in TypeScript: what `@modelcontextprotocol/client` sends to the service, and with whose tokens.

import { StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { authProvider } from "./auth-provider.js";
import { aFunction, address, known, optionalText, text } from "./checks.js";
import { answerIn, challenge, errorIn, keep, leaveFor, ofThisPage, post, secret, taken } from "./page.js";

/** The kind of these requests, and what their `state` begins with. */
const KIND = "deputize.mcp";

export function transport(options, further) {
  const names = ["url", "serverId", "client", "provider"];
  const { url, serverId, client, provider } = known("transport's options", options, names);
  text("serverId", serverId);
  if ((client === undefined) === (provider === undefined)) {
    throw new TypeError("transport takes a client (an AgentClient) or a provider (an OAuthProvider)");
  }
  if (client !== undefined && typeof client?.token !== "function") throw new TypeError("client must be an AgentClient");
  const endpoint = new URL(`${address(url)}/api/v1/proxy/${encodeURIComponent(serverId)}/mcp`);
  if (client) return new StreamableHTTPClientTransport(endpoint, { ...further, authProvider: authProvider(client) });
  const fetch = refreshingOnce(further?.fetch ?? ((...call) => globalThis.fetch(...call)));
  return new StreamableHTTPClientTransport(endpoint, { ...further, fetch, authProvider: provider });
}

/**
 * The SDK refreshes for each request whose token is refused, and without an answer it asks the user again. So one
 * refresh serves all, and is sent once more if its answer is lost: the service answers it as before.
 */
function refreshingOnce(send) {
  let refreshing;
  return async (to, init) => {
    const isRefresh = init?.body instanceof URLSearchParams && init.body.get("grant_type") === "refresh_token";
    if (!isRefresh) return send(to, init);
    const ask = async () => send(to, init);
    const answered = () => ask().then((response) => (response.status >= 500 ? ask() : response), ask);
    refreshing ??= answered().finally(() => (refreshing = undefined));
    return (await refreshing).clone();
  };
}

export class OAuthProvider {
  #clientId;
  #redirect;
  #client;
  #discovery;
  #tokens;
  // Of requests that are under way. The SDK makes several at once if several tokens are refused at once.
  #verifiers = [];

  constructor(options) {
    const names = ["redirectUri", "clientName", "clientId", "scope", "redirect"];
    const given = known("OAuthProvider's options", options, names);
    const { redirectUri, clientName, clientId, scope, redirect = globalThis.document && leaveFor } = given;
    text("redirectUri", redirectUri);
    optionalText("clientName", clientName);
    optionalText("clientId", clientId);
    optionalText("scope", scope);
    aFunction("redirect", redirect);
    if (redirect === leaveFor) ofThisPage(redirectUri);
    this.#redirect = redirect;
    this.redirectUrl = redirectUri;
    if (/^https:/.test(clientId)) this.clientMetadataUrl = clientId;
    else this.#clientId = clientId;
    this.clientMetadata = {
      client_name: clientName ?? (globalThis.document?.title || "An MCP client"),
      redirect_uris: [redirectUri],
      grant_types: ["authorization_code", "refresh_token"],
      response_types: ["code"],
      token_endpoint_auth_method: "none",
      ...(scope && { scope }),
    };
  }

  async handleCallback(transport, at) {
    const answer = answerIn(KIND, at);
    if (!answer) return false;
    const { client, discovery, verifier } = taken(KIND, answer, ({ discovery }) => issuerOf(discovery));
    const error = errorIn(answer);
    if (error) throw error;
    [this.#client, this.#discovery, this.#verifiers] = [client, discovery, [verifier]];
    await transport.finishAuth(answer);
    return true;
  }

  async signOut() {
    const { refresh_token, access_token } = this.#tokens ?? {};
    this.#tokens = undefined;
    const endpoint = this.#discovery?.authorizationServerMetadata?.revocation_endpoint;
    if (!access_token || !endpoint) return;
    const fields = { token: refresh_token ?? access_token, client_id: this.clientInformation()?.client_id };
    await post(endpoint, fields, { keepalive: true });
  }

  // --- What the SDK asks -------------------------------------------------------------------------------

  state() {
    return secret(`${KIND}.`);
  }

  clientInformation(asked) {
    // A public client's id is no secret of one issuer's.
    return this.#client ?? (this.#clientId && { client_id: this.#clientId, ...(asked && { issuer: asked.issuer }) });
  }

  saveClientInformation(client) {
    this.#client = client;
  }

  discoveryState() {
    return this.#discovery;
  }

  saveDiscoveryState(discovery) {
    this.#discovery = discovery;
  }

  tokens() {
    return this.#tokens;
  }

  saveTokens(tokens) {
    this.#tokens = tokens;
    this.#verifiers = [];
  }

  saveCodeVerifier(verifier) {
    this.#verifiers.push(verifier);
  }

  codeVerifier() {
    return this.#verifiers.at(-1) ?? "";
  }

  async redirectToAuthorization(url) {
    // The verifier of this very request.
    const [wanted, all] = [url.searchParams.get("code_challenge"), this.#verifiers];
    const challenges = await Promise.all(all.map(challenge));
    const verifier = all[challenges.indexOf(wanted)];
    const [client, discovery] = [this.clientInformation(), this.#discovery];
    keep(KIND, { state: url.searchParams.get("state"), verifier, client, discovery });
    return this.#redirect(url);
  }

  invalidateCredentials(what) {
    const isMeant = (name) => what === "all" || what === name;
    if (isMeant("client")) this.#client = undefined;
    if (isMeant("tokens")) this.#tokens = undefined;
    if (isMeant("verifier")) this.#verifiers = [];
    if (isMeant("discovery")) this.#discovery = undefined;
  }
}

/** As the SDK takes it: of the metadata, else where they were looked for. */
const issuerOf = (discovery) => discovery?.authorizationServerMetadata?.issuer ?? discovery?.authorizationServerUrl;
