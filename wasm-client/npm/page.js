// What an authorization request needs of a page (RFC 6749 section 4.1, with PKCE: RFC 7636).

import { DeputizeError } from "./error.js";

const ANSWER_WITHIN_MS = 10_000;
/** How many attempts a tab remembers. A user who gives up leaves one behind. */
const ATTEMPTS = 5;
const LATER = "Try again later";

export const refusal = (code, detail, hint, more) => new DeputizeError({ code, detail, hint, ...more });

// --- What a tab keeps ----------------------------------------------------------------------------------

/** Where there is no tab, such as in Node. */
const values = new Map();
const elsewhere = {
  getItem: (name) => values.get(name) ?? null,
  setItem: (name, value) => values.set(name, value),
};

/** A list in this tab's own storage; with a function, what that makes of it. No token is ever in it. */
export function kept(name, change) {
  const text = change && JSON.stringify(change(kept(name)));
  try {
    const storage = globalThis.sessionStorage ?? elsewhere;
    if (text) storage.setItem(name, text);
    return JSON.parse(storage.getItem(name) ?? "[]");
  } catch (cause) {
    throw refusal("unsupported", "This page may not keep anything", "Allow it cookies and site data", { cause });
  }
}

/** Keeps what an attempt needs when its answer comes. */
export const keep = (kind, attempt) => void kept(kind, (all) => [...all, attempt].slice(-ATTEMPTS));

/** The attempt that this is the answer to, once, if it is an answer that this may take. */
export function taken(kind, answer, issuerOf) {
  const attempt = kept(kind).find(({ state }) => state === answer.get("state"));
  if (!attempt) {
    const hint = "Sign in again. If somebody sent you this link, close the page";
    throw refusal("sign_in_unknown", "This is the answer to a sign-in that was not begun in this tab", hint);
  }
  kept(kind, (all) => all.filter(({ state }) => state !== attempt.state));
  // RFC 9207 section 2.4: nothing else of another server's answer is looked at.
  const [wanted, iss] = [issuerOf(attempt), answer.get("iss")];
  if (iss !== wanted) {
    const hint = `It was asked at ${wanted}, which must be the service's own address`;
    throw refusal("sign_in_mismatch", "The answer to the sign-in is another service's", hint);
  }
  return attempt;
}

// --- Leaving the page, and coming back -----------------------------------------------------------------

/** 256 random bits. A state begins with its kind: answers to other libraries are theirs. */
export const secret = (prefix = "") => prefix + base64url(crypto.getRandomValues(new Uint8Array(32)));

/** RFC 7636 section 4.2. */
export async function challenge(verifier) {
  if (!globalThis.crypto?.subtle) {
    throw refusal("unsupported", "This page has no WebCrypto", "Serve it by https, or on this computer at localhost");
  }
  return base64url(new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier))));
}

function base64url(bytes) {
  return btoa(String.fromCharCode(...bytes)).replace(/\+/g, "-").replace(/\//g, "_").replace(/=/g, "");
}

/** What the answer needs is this origin's: at another one (localhost and 127.0.0.1 are two) it would not be found. */
export function ofThisPage(redirectUri) {
  const origin = globalThis.location?.origin;
  if (redirectUri === origin || redirectUri.startsWith(`${origin}/`)) return;
  throw new TypeError(`redirectUri must be an address of this page's origin, ${origin}`);
}

/** Sends the browser to a page of the service, which refuses to be framed. */
export function leaveFor(url) {
  if (globalThis.top !== globalThis.self) {
    throw refusal("unsupported", "The page is in a frame", "Open it in a tab or window of its own to sign in");
  }
  location.assign(url);
  // Unless the user comes back to it as it was (bfcache).
  return new Promise((resolve) => {
    globalThis.addEventListener?.("pageshow", ({ persisted }) => persisted && resolve(null));
  });
}

/** The answer to a request of this kind, if this is the address of one. It does not stay in the page's address. */
export function answerIn(kind, at = globalThis.location?.href) {
  if (at === undefined) return undefined;
  const url = new URL(at, globalThis.location?.href);
  const answer = new URLSearchParams(url.search);
  if (!answer.get("state")?.startsWith(kind) || !(answer.has("code") || answer.has("error"))) return undefined;
  if (url.href === globalThis.location?.href) {
    for (const name of ["code", "state", "iss", "error", "error_description"]) url.searchParams.delete(name);
    history.replaceState(history.state, "", url);
  }
  return answer;
}

/** The error that an answer holds, if it holds one. */
export function errorIn(answer) {
  const code = answer.get("error");
  return code === null ? undefined : refusal(code, answer.get("error_description") ?? "The user is not signed in");
}

// --- Requests ------------------------------------------------------------------------------------------

export const form = (fields) =>
  new URLSearchParams(Object.entries(fields).filter(([, value]) => value !== undefined)).toString();

export async function post(url, fields, further) {
  let response;
  try {
    response = await fetch(url, {
      method: "POST",
      headers: { "content-type": "application/x-www-form-urlencoded" },
      body: form(fields),
      credentials: "omit",
      cache: "no-store",
      redirect: "error",
      signal: AbortSignal.timeout(ANSWER_WITHIN_MS),
      ...further,
    });
  } catch (cause) {
    const isLate = cause?.name === "TimeoutError";
    if (isLate) throw refusal("timeout", `No answer within ${ANSWER_WITHIN_MS} ms`, LATER, { cause });
    const hint = "Check the address, the network, and the page's Content-Security-Policy (connect-src)";
    throw refusal("network_error", "The service could not be reached", hint, { cause });
  }
  const { ok, status, headers } = response;
  const body = Object(await response.json().catch(() => undefined));
  if (ok) return body;
  const [code, detail, reason] = ["error", "error_description", "reason"].map((name) => textIn(body[name]));
  const requestId = headers.get("x-request-id") ?? undefined;
  const retryAfter = Number(headers.get("retry-after")) || undefined;
  const hint = status >= 500 ? LATER : undefined;
  throw refusal(code ?? "http_error", detail ?? `HTTP ${status}`, hint, { status, reason, requestId, retryAfter });
}

const textIn = (value) => (typeof value === "string" ? value : undefined);
