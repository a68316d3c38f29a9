// The options of a client, checked before any of them is kept.

import { DeputizeError } from "./error.js";

/** The URL without a slash at its end. */
export function address(url) {
  let parsed;
  try {
    parsed = new URL(url);
  } catch {
    throw new TypeError("url must be the address of the service, such as https://deputize.example.com");
  }
  if (parsed.username || parsed.password || parsed.search || parsed.hash) {
    throw new TypeError("url must have no credentials, query or fragment");
  }
  if (parsed.protocol !== "https:" && !(parsed.protocol === "http:" && isLoopback(parsed.hostname))) {
    throw new TypeError("url must begin with https://, unless the service is on this machine");
  }
  return parsed.href.replace(/\/+$/, "");
}

function isLoopback(host) {
  return host === "localhost" || host.endsWith(".localhost") || host === "[::1]" || /^127(\.\d+){3}$/.test(host);
}

/** The WebAssembly's client for these credentials. */
export function inside(url, credentials, dangerouslyAllowSecretInBrowser, bounded) {
  const kinds = ["clientId", "userToken", "apiKey", "token"].filter((kind) => credentials?.[kind] !== undefined);
  if (kinds.length !== 1) {
    throw new TypeError("credentials must hold one of clientId (with clientSecret or privateKey), userToken, apiKey or token");
  }
  const { clientId, clientSecret, privateKey, keyId, audience, userToken, apiKey, token } = credentials;
  switch (kinds[0]) {
    case "clientId":
      text("clientId", clientId);
      if ((clientSecret === undefined) === (privateKey === undefined)) {
        throw new TypeError("credentials with a clientId must hold a clientSecret or a privateKey, and not undefined");
      }
      if (isPage() && !dangerouslyAllowSecretInBrowser) throw secretInBrowser();
      if (clientSecret !== undefined) {
        text("clientSecret", clientSecret);
        return ({ Client }) => Client.withSecret(url, clientId, clientSecret);
      }
      if (privateKey?.type !== "private" || !privateKey.usages?.includes("sign")) {
        throw new TypeError('credentials.privateKey must be a private CryptoKey whose usages include "sign"');
      }
      if (keyId !== undefined) text("keyId", keyId);
      if (audience !== undefined) text("audience", audience);
      return ({ Client }) => Client.withKey(url, clientId, privateKey, keyId, audience);
    case "userToken": {
      const known = textOrFunction("userToken", userToken, bounded);
      return ({ Client }) => Client.withUserToken(url, known);
    }
    case "apiKey":
      text("apiKey", apiKey);
      return ({ Client }) => Client.withApiKey(url, apiKey);
    default: {
      if (typeof token !== "function") throw new TypeError("credentials.token must be a function");
      const known = bounded(token);
      return ({ Client }) => Client.withTokens(url, known);
    }
  }
}

/** The WebAssembly's client on behalf of a user. */
export function onBehalfOf(user, bounded) {
  const kinds = ["userId", "email", "accessToken"].filter((kind) => user?.[kind] !== undefined);
  if (kinds.length !== 1) throw new TypeError("onBehalfOf takes one of userId, email or accessToken");
  const { userId, email, accessToken } = user;
  switch (kinds[0]) {
    case "userId":
      text("userId", userId);
      return (client) => client.onBehalfOfUserId(userId);
    case "email":
      text("email", email);
      return (client) => client.onBehalfOfEmail(email);
    default: {
      const known = textOrFunction("accessToken", accessToken, bounded);
      return (client) => client.onBehalfOfAccessToken(known);
    }
  }
}

export function text(name, value) {
  if (typeof value !== "string" || value === "") throw new TypeError(`${name} must be a text that is not empty`);
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
