// The options of a client, checked before any of them is kept.

import { aFunction, address, known, optionalText, text } from "./checks.js";
import { DeputizeError } from "./error.js";
import { sender } from "./send.js";
import { limits } from "./within.js";

/** The options of every call. */
export const CALL = ["signal", "timeoutMs", "retries"];

const CLIENT = [
  "url", "base", "credentials", "dangerouslyAllowSecretInBrowser", "allowPrivateHttp", "fetch", "headers", "timeoutMs",
  "retries",
];

/** The options of a client, checked: the WebAssembly's client, and what applies to each call. */
export function clientOf(options, bounded) {
  const given = known("AgentClient's options", options, CLIENT);
  const { url, base, credentials, fetch, headers, timeoutMs, retries, ...allowed } = given;
  const at = address(url, base, allowed.allowPrivateHttp === true ? isPrivate : undefined);
  if (fetch !== undefined) aFunction("fetch", fetch);
  // These throw if they are wrong.
  limits({ timeoutMs, retries });
  if (typeof headers !== "function") sendable(headers);
  const mayHoldSecrets = allowed.dangerouslyAllowSecretInBrowser === true;
  const make = inside(at, sender({ fetch, headers }), credentials, mayHoldSecrets, bounded);
  return { make, timeoutMs, retries };
}

/**
 * Whether a host cannot be one of the Internet: a name without a dot (docker compose), one of a domain that is for
 * private use (RFC 2606, 6762, 8375, ICANN's `internal`), or an address of RFC 1918, 3927, 4193, 4291 or 6598.
 */
function isPrivate(host) {
  return (
    !/[.:]/.test(host) ||
    /\.(local|internal|lan|home\.arpa|test)$/.test(host) ||
    /^(10\.\d+|192\.168|169\.254|172\.(1[6-9]|2\d|3[01])|100\.(6[4-9]|[7-9]\d|1[01]\d|12[0-7]))(\.\d+){2}$/.test(host) ||
    /^\[f([cd][0-9a-f]|e[89ab])[0-9a-f]:/.test(host)
  );
}

function sendable(headers) {
  try {
    new Headers(headers);
  } catch {
    // Without the cause, whose text can hold a header's value.
    throw new TypeError("headers must be what the class Headers takes, or a function that answers it");
  }
}

const AGENT = ["clientId", "clientSecret", "privateKey", "keyId", "audience"];

/** The WebAssembly's client for these credentials. */
function inside(url, send, credentials, mayHoldSecrets, bounded) {
  const kinds = ["clientId", "userToken", "apiKey", "token"].filter((kind) => credentials?.[kind] !== undefined);
  if (kinds.length !== 1) {
    const allowed = "clientId (with clientSecret or privateKey), userToken, apiKey or token";
    throw new TypeError(`credentials must hold one of ${allowed}`);
  }
  const [kind] = kinds;
  known("credentials", credentials, kind === "clientId" ? AGENT : kinds);
  const { clientId, clientSecret, privateKey, keyId, audience, userToken, apiKey, token } = credentials;
  switch (kind) {
    case "clientId":
      text("clientId", clientId);
      if ((clientSecret === undefined) === (privateKey === undefined)) {
        throw new TypeError("credentials with a clientId must hold a clientSecret or a privateKey, and not undefined");
      }
      if (isPage() && !mayHoldSecrets) throw secretInBrowser();
      if (clientSecret !== undefined) {
        text("clientSecret", clientSecret);
        return ({ Client }) => Client.withSecret(url, send, clientId, clientSecret);
      }
      if (privateKey?.type !== "private" || !privateKey.usages?.includes("sign")) {
        throw new TypeError('credentials.privateKey must be a private CryptoKey whose usages include "sign"');
      }
      optionalText("keyId", keyId);
      optionalText("audience", audience);
      return ({ Client }) => Client.withKey(url, send, clientId, privateKey, keyId, audience);
    case "userToken": {
      const given = textOrFunction("userToken", userToken, bounded);
      return ({ Client }) => Client.withUserToken(url, send, given);
    }
    case "apiKey":
      text("apiKey", apiKey);
      return ({ Client }) => Client.withApiKey(url, send, apiKey);
    default: {
      aFunction("credentials.token", token);
      const given = bounded(token);
      return ({ Client }) => Client.withTokens(url, send, given);
    }
  }
}

/** The WebAssembly's client on behalf of a user. */
export function onBehalfOf(user, bounded) {
  const kinds = ["userId", "email", "accessToken"].filter((kind) => user?.[kind] !== undefined);
  if (kinds.length !== 1) throw new TypeError("onBehalfOf takes one of userId, email or accessToken");
  known("The user", user, kinds);
  const { userId, email, accessToken } = user;
  switch (kinds[0]) {
    case "userId":
      text("userId", userId);
      return (client) => client.onBehalfOfUserId(userId);
    case "email":
      text("email", email);
      return (client) => client.onBehalfOfEmail(email);
    default: {
      const given = textOrFunction("accessToken", accessToken, bounded);
      return (client) => client.onBehalfOfAccessToken(given);
    }
  }
}

/** A date as text (RFC 3339). */
export function time(name, value) {
  // Of whatever realm it is.
  const isDate = Object.prototype.toString.call(value) === "[object Date]" && Number.isFinite(+value);
  if (isDate) return new Date(+value).toISOString();
  if (value === undefined || typeof value === "string") return value;
  throw new TypeError(`${name} must be a Date that is valid, or a text`);
}

/** The options of a tool's call. */
export function toolCall(serverId, name, args, options, further = []) {
  text("serverId", serverId);
  text("name", name);
  if (args !== undefined && (typeof args !== "object" || args === null || Array.isArray(args))) {
    throw new TypeError("args must be an object of named arguments");
  }
  return known("callTool's options", options, [...CALL, ...further]);
}

function textOrFunction(name, value, bounded) {
  if (typeof value === "function") return bounded(value);
  text(name, value);
  return value;
}

// Whether this is a page, or a page's worker: anyone who opens the page has what it holds. workerd is not a page's
// worker.
function isPage() {
  return (
    typeof document === "object" ||
    (typeof importScripts === "function" && /^Mozilla\//.test(globalThis.navigator?.userAgent ?? ""))
  );
}

function secretInBrowser() {
  return new DeputizeError({
    code: "secret_in_browser",
    detail: "An agent's secret or private key in a web page is everybody's who opens the page",
    hint:
      "Use a user's own token (userToken), or a function that gets one from your backend (token). " +
      "If nobody else can ever open this page, say dangerouslyAllowSecretInBrowser: true",
  });
}
