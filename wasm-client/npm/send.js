// Sends one request and reads its answer. `fetch` can be a stub of a test, or the application's own, so nothing that it
// answers is believed before it is looked at, and nothing that is thrown here is lost.

// The service passes on at most 8 MiB from an MCP server.
const MAX_ANSWER = 16 * 1024 * 1024;
const MAX_ERROR = 256 * 1024;
const MAX_SAID = 200;
// How much of a foreign text is looked at for that.
const MAX_LOOKED_AT = 4096;

// The challenge of a 401, by its own name and by API Gateway's name for it (API Gateway Developer Guide, "Amazon API
// Gateway important notes"), which stays unless something in front of it restores the own name.
const CHALLENGES = ["www-authenticate", "x-amzn-remapped-www-authenticate"];

/**
 * The function by which a client sends. `fetch` and `headers` are the application's own, if it has any. It answers what
 * the answer says, or `failure`, the fields of an error that no repetition would change. It rejects if there is no
 * answer, or if it breaks off.
 */
export function sender({ fetch: own, headers: further }) {
  return async (request) => {
    const { signal } = request;
    let headers;
    try {
      headers = new Headers(typeof further === "function" ? await ended(signal, further()) : further);
    } catch (cause) {
      return failed("headers_function_failed", "The application's headers cannot be sent", "See the cause", cause);
    }
    let init;
    try {
      init = initOf(request, headers);
    } catch {
      // Without the cause, whose text can hold the credential.
      const hint = "Look for a line break, an ellipsis or an invisible character in it";
      return failed("invalid_request", "The credential holds a character that no header may hold", hint);
    }
    if (request.call) request.call.sent = true;
    // As a Request, since test environments put a class in its place that takes their signals.
    const answer = own ? () => own(request.url, init) : () => globalThis.fetch(new Request(request.url, init));
    return ended(signal, exchange(answer, request));
  };
}

/** The promise's outcome, unless the signal ends first. Not every `fetch` knows signals. */
function ended(signal, promise) {
  return new Promise((resolve, reject) => {
    const end = () => reject(signal.reason);
    const over = () => signal.removeEventListener("abort", end);
    signal.addEventListener("abort", end);
    Promise.resolve(promise).then(resolve, reject).then(over);
  });
}

function failed(code, detail, hint, cause) {
  return { failure: { isDeputizeError: true, code, detail, hint, cause } };
}

const malformed = (what) => failed("malformed_answer", what, "Is url the address of a Deputize service?");

function initOf({ method, token, apiKey, json, form, headers: asked, signal }, headers) {
  headers.set("accept", "application/json");
  for (const [name, value] of Object.entries(asked ?? {})) headers.set(name, value);
  if (token !== undefined) headers.set("authorization", `Bearer ${sendable(token)}`);
  if (apiKey !== undefined) headers.set("x-runlayer-api-key", sendable(apiKey));
  // A redirect would take credentials to another address. Not every runtime knows `error`; all know `manual`.
  const init = { method, headers, signal, redirect: "manual" };
  if (json !== undefined) {
    headers.set("content-type", "application/json");
    init.body = json;
  }
  if (form !== undefined) {
    headers.set("content-type", "application/x-www-form-urlencoded");
    init.body = String(new URLSearchParams(form));
  }
  return init;
}

/** A credential without the space around it. Not every runtime's Headers refuse what a header may not hold. */
function sendable(credential) {
  const value = credential.trim();
  if (/[^\t\x20-\x7e\x80-\xff]/.test(value)) throw new TypeError("no header");
  return value;
}

async function exchange(answer, request) {
  const response = await answer();
  const { status, type, headers } = Object(response);
  if (type === "opaqueredirect" || (status >= 300 && status < 400)) {
    const hint = "Give the address that it redirects to as url, if it is the service's";
    return failed("redirected", "The service redirects, which is not followed", hint);
  }
  // Status 0 is that of an answer that a page may not read (Fetch standard, section 3.2.3).
  if (status === 0) throw new TypeError("The answer may not be read");
  if (!(Number.isInteger(status) && status >= 200 && status < 600 && typeof headers?.get === "function")) {
    return failed("malformed_answer", "fetch answered no Response", "Look at what stands in for fetch here");
  }
  const isGood = status < 300;
  const link = headers.get("link");
  if (isGood && request.isStream) return { status, body: response, link };
  let text;
  try {
    text = await textOf(response, isGood ? MAX_ANSWER : MAX_ERROR);
  } catch (cause) {
    // If the body of an error breaks off, its status still counts.
    if (isGood) throw cause;
  }
  const body = parsed(text);
  if (isGood) {
    if (text === undefined) return malformed("The answer is larger than 16 MiB");
    if (text && body === undefined) return malformed("The answer is no JSON");
    return { status, body, link };
  }
  return {
    status,
    body: described(body),
    said: said(body, text, request),
    requestId: headers.get("x-request-id"),
    retryAfter: headers.get("retry-after"),
    challenge: CHALLENGES.map((name) => headers.get(name)).find(Boolean),
  };
}

/** The body as text; undefined if it is longer than this. Its stated length is not trusted. */
export async function textOf(response, limit) {
  let text = "";
  for await (const piece of pieces(response, limit)) {
    if (piece === undefined) return undefined;
    text += piece;
  }
  return text;
}

/** The body's text as it comes; undefined in the end if it is longer than this. */
export async function* pieces(response, limit) {
  const { body } = response;
  if (typeof body?.getReader !== "function") {
    // Something in place of a Response, without a stream.
    const text = typeof response.text === "function" ? String(await response.text()) : "";
    return yield text.length > limit ? undefined : text;
  }
  const reader = body.getReader();
  const decoder = new TextDecoder();
  try {
    for (let length = 0; ; ) {
      const { done, value } = await reader.read();
      if (done) return yield decoder.decode();
      // Of whatever realm it is.
      if (!ArrayBuffer.isView(value)) throw new TypeError("The body holds what are no bytes");
      length += value.byteLength;
      if (length > limit) return yield undefined;
      yield decoder.decode(value, { stream: true });
    }
  } finally {
    // If it is read to its end, this does nothing.
    Promise.resolve(reader.cancel?.()).catch(() => {});
  }
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The body of an error, with all that is expected of one if it says it in another way. */
function described(body) {
  if (typeof body?.error !== "string") return body;
  const detail = words(body) ?? body.error;
  return { error_description: detail, ...body, detail };
}

/** What a body says for people: in the field of RFC 6749, RFC 9457, API Gateway and others. */
function words(body) {
  const texts = ["detail", "error_description", "message", "Message", "title", "error"].map((name) => body?.[name]);
  return texts.find((text) => typeof text === "string" && text !== "");
}

/** The same of a body that is not the service's, if it does not repeat what was sent. */
function said(body, text = "", { token, apiKey, form }) {
  const looked = (body === undefined ? text : (words(body) ?? "")).slice(0, MAX_LOOKED_AT);
  // Not the tags of a page.
  const plain = body === undefined ? looked.replace(/<(style|script|title)[^]*?<\/\1>|<[^>]*>/gi, " ") : looked;
  const line = plain.replace(/[\s\p{C}]+/gu, " ").trim().slice(0, MAX_SAID);
  const sent = [token, apiKey, ...Object.values(form ?? {})].filter((value) => value?.length > 8);
  return line && !sent.some((value) => line.includes(value)) ? line : undefined;
}
