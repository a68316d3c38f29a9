// Made-up values on both sides of the border, in Node: what an application gives, and what a service answers. Each call
// must end with its outcome, a TypeError or a DeputizeError: no trap of the WebAssembly, no call that never ends, and
// nothing thrown where nobody catches it.
//
//   node fuzz.js [SEED [MILLISECONDS]]     in the folder of an application that has installed the package
//
// The last line says how many calls were made. Each call has a seed of its own. A failure names it: begun with it, the
// same call is made first.

import { AgentClient, DeputizeError } from "deputize";
import * as extras from "deputize/extras";

const seed = Number(process.argv[2] ?? 1);
const millis = Number(process.argv[3] ?? 5_000);

// --- Values ----------------------------------------------------------------------------------------------

/** Numbers from 0 to 1 that follow from the seed (mulberry32). */
function numbers(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

class Own extends Error {}
const own = new Own("the application's own");

/** Those of the present call. */
let random = numbers(seed);
/** A function that is called later, when another call may be the present one. */
function later(run) {
  const mine = random;
  return (...given) => {
    const before = random;
    random = mine;
    try {
      return run(...given);
    } finally {
      random = before;
    }
  };
}
const chance = (share) => random() < share;
const up = (bound) => Math.floor(random() * bound);
const one = (list) => list[up(list.length)];
const thrower = new Proxy({}, {
  get() { throw own; },
  has() { throw own; },
  ownKeys() { throw own; },
});

const TEXTS = ["demo", "list_repos", "\u2026", "a\nb", "\u200b", "\0", "\ud800", "..", "a/b?c#d", "__proto__", "Bearer x", "é", "🦀", "x".repeat(70_000), "2027-01-01T00:00:00Z", "https://x", "null"];
const text = () => (chance(0.02) ? "" : one(TEXTS));

/** Any value. */
function anything(depth = 0) {
  const made = [
    () => undefined,
    () => null,
    () => chance(0.5),
    () => one([0, -0, 1, -1, 5, 0.5, NaN, Infinity, -Infinity]),
    () => 7n,
    () => Symbol("any"),
    text,
    () => new Date(one([0, NaN, 9e15])),
    () => later(() => anything(depth + 1)),
    () => later(async () => anything(depth + 1)),
    () => { throw own; },
    () => Promise.resolve(anything(depth + 1)),
    () => ({ then: anything(depth + 1) }),
    () => thrower,
    () => new Uint8Array(up(9)),
    () => new Map([[1, 2]]),
    () => new Error(text()),
    () => Object.create(null),
    () => Array.from({ length: up(4) }, () => anything(depth + 1)),
    () => Object.fromEntries(Array.from({ length: up(4) }, () => [text(), anything(depth + 1)])),
  ];
  return depth > 3 ? text() : one(made.filter((_, at) => depth > 0 || at !== 10))();
}

/** A good value, or any other. */
const maybe = (good) => (chance(0.96) ? good() : anything());

/** Options of which some are there. */
function some(options) {
  if (chance(0.02)) return anything();
  const there = Object.entries(options).filter(() => chance(0.3));
  return Object.fromEntries(there.map(([name, good]) => [chance(0.01) ? text() : name, maybe(good)]));
}

const CALL = { timeoutMs: () => one([20, 50]), retries: () => up(2), signal: () => (chance(0.2) ? AbortSignal.abort(own) : new AbortController().signal) };

// --- Answers ---------------------------------------------------------------------------------------------

const TOKEN = { access_token: "a.b.c", token_type: "Bearer", expires_in: 3600, scope: "tools:call" };
const DELEGATION = { id: "1", agent_account_id: "2", delegator_user_id: "3", delegator_email: null, is_active: true, server_ids: ["demo"], expires_at: null, created_at: "2026-01-01T00:00:00Z", revoked_at: null };
const GRANT = { id: "1", agent_account_id: "2", server_id: "demo", grantor_user_id: "3", grantor_email: null, shared: false, is_active: true, displaced_by_user_id: null, displaced_by_email: null, displaced_at: null, created_at: "", updated_at: "" };
const ERROR = { error: "temporarily_unavailable", error_description: "x", detail: "x", reason: "store_unavailable", safe_to_retry: true, policies: ["a"], denied_for: "user", scope: "s", explanation: "e" };
const USER = { id: "1", email: null, name: null, role: "user", active: true, groups: [] };
const GOOD = {
  "/oauth/token": TOKEN,
  "/tools": { tools: [{ name: "list_repos", inputSchema: { type: "object" } }], content: [{ type: "text", text: "x" }] },
  "/mcp": { jsonrpc: "2.0", id: "1", result: { content: [] } },
  "/toggle": GRANT,
  "/connect": { authorization_url: "https://x", expires_in: 600 },
  "/me": USER,
  "/servers": [USER],
  "/agent-accounts": [USER],
};

/** What JSON can say. */
function json(depth = 0) {
  const made = [() => null, () => true, () => one([0, -1, 1e999, 1.5]), () => text().slice(0, 20), () => [], () => ({})];
  if (depth < 3) made.push(() => Array.from({ length: up(4) }, () => json(depth + 1)), () => ({ [text().slice(0, 9)]: json(depth + 1) }));
  return one(made)();
}

/** The value with something in it changed. */
function mutated(value) {
  if (chance(0.5)) return value;
  if (typeof value !== "object" || value === null || chance(0.1)) return json();
  const copy = Array.isArray(value) ? [...value] : { ...value };
  const keys = Object.keys(copy);
  if (keys.length > 0) {
    const key = one(keys);
    if (chance(0.2)) delete copy[key];
    else copy[key] = chance(0.3) ? json() : mutated(copy[key]);
  }
  return copy;
}

function bodyFor(url, method) {
  const path = new URL(url).pathname;
  const known = Object.keys(GOOD).find((end) => path.endsWith(end));
  const good = known ? GOOD[known] : /session-grants/.test(path) ? GRANT : /delegations/.test(path) ? DELEGATION : USER;
  const whole = method === "GET" && /(session-grants|delegations)$/.test(path) ? [good] : good;
  const value = JSON.stringify(mutated(whole)) ?? "";
  const written = path.endsWith("/mcp") && chance(0.7) ? `data: ${value}\n\n` : value;
  if (chance(0.8)) return written;
  return one([written.slice(0, up(written.length)), `\ufeff${written}`, "[".repeat(50_000), "", "<h1>no</h1>", written.replace(/"/g, "'")]);
}

function streamOf(text) {
  const bytes = new TextEncoder().encode(text);
  const cut = up(bytes.length);
  return new ReadableStream({
    start(to) {
      if (chance(0.1)) to.enqueue(one(["text", 7, null, {}, new Uint8Array([0xff, 0xfe]), new Uint16Array(2)]));
      for (const part of [bytes.subarray(0, cut), bytes.subarray(cut)]) if (part.length > 0) to.enqueue(part);
      if (chance(0.1)) return to.error(own);
      if (!chance(0.02)) to.close();
    },
  });
}

const HEADERS = {
  "retry-after": () => one(["0", "1", "99999999999", "-1", "soon", new Date(0).toUTCString(), "1e9"]),
  link: () => one(['</x?cursor=1>; rel="next"', "<>; rel=next", "<http://[>; rel=next", "<?>; rel=next", ",,,<", "<?é>; rel=next"]),
  "x-request-id": () => "1",
  "www-authenticate": () => "Bearer",
  "content-type": () => one(["application/json", "text/event-stream", "text/html"]),
};

function answer(url, { method }) {
  if (chance(0.02)) throw own;
  if (chance(0.02)) return Promise.reject(anything());
  if (chance(0.01)) return new Promise(() => {});
  if (chance(0.03)) return anything();
  const status = chance(0.6) ? 200 : one([201, 204, 301, 304, 400, 401, 403, 404, 429, 500, 502, 503, 504, 599]);
  const headers = Object.fromEntries(Object.entries(HEADERS).filter(() => chance(0.3)).map(([name, value]) => [name, value()]).filter(([, value]) => /^[\x20-\x7e]*$/.test(value)));
  let body = bodyFor(url, method);
  if (status >= 400 && chance(0.6)) body = JSON.stringify(mutated(status === 401 ? { ...ERROR, error: "invalid_token" } : ERROR)) ?? "";
  const isEmpty = [204, 304].includes(status);
  const response = new Response(isEmpty ? null : chance(0.5) ? body : streamOf(body), { status, headers });
  if (!chance(0.05)) return response;
  const fake = { status: maybe(() => status), type: maybe(() => "basic"), headers: maybe(() => response.headers), body: maybe(() => response.body), text: maybe(() => async () => body) };
  if (chance(0.2)) Object.defineProperty(fake, one(Object.keys(fake)), { get() { throw own; } });
  return fake;
}

// --- Calls -----------------------------------------------------------------------------------------------

function credentials() {
  return one([
    () => ({ clientId: maybe(text), clientSecret: maybe(text) }),
    () => ({ userToken: maybe(() => chance(0.5) ? text() : later(() => anything(1))) }),
    () => ({ apiKey: maybe(text) }),
    () => ({ token: maybe(() => later(() => (chance(0.5) ? mutated(TOKEN) : anything(1)))) }),
    () => ({ clientId: "id", privateKey: maybe(() => one([key, { type: "private", usages: ["sign"] }, { type: "private", usages: ["sign"], algorithm: { name: "ECDSA", namedCurve: "P-256" } }])), keyId: maybe(text) }),
    () => anything(),
  ])();
}

function client() {
  const options = some({ headers: () => one([{}, { "x-a": "b" }, later(() => anything(1))]), timeoutMs: () => 50, retries: () => up(2), base: () => "https://x", allowPrivateHttp: () => true });
  const made = { ...Object(options), url: maybe(() => "https://deputize.example"), credentials: credentials(), fetch: maybe(() => later(answer)) };
  // Without time, a call may wait for 30 seconds.
  if (!(made.timeoutMs <= 50)) made.timeoutMs = 50;
  if (chance(0.02)) return new AgentClient(anything());
  return new AgentClient(made);
}

const user = () => maybe(() => one([() => ({ userId: maybe(text) }), () => ({ email: maybe(text) }), () => ({ accessToken: maybe(() => (chance(0.5) ? text() : later(() => anything(1)))) })])());

const CALLS = [
  (who) => who.token(some({ ...CALL, renew: () => one([true, false, "a.b.c"]) })),
  (who) => who.listTools(maybe(text), some({ ...CALL, limit: () => 2 })),
  (who) => who.callTool(maybe(text), maybe(text), maybe(() => ({ a: anything(1) })), some(CALL)),
  (who) => who.connect(maybe(text), some({ ...CALL, scope: text })),
  (who) => who.delegations.list(maybe(text), some({ ...CALL, limit: () => 2 })),
  (who) => who.delegations.create(maybe(text), some({ ...CALL, serverIds: () => [text(), maybe(text)], expiresAt: () => one([new Date(), text()]) })),
  (who) => who.delegations.revoke(maybe(text), some(CALL)),
  (who) => who.sessionGrants.list(maybe(text), some({ ...CALL, serverId: text })),
  (who) => who.sessionGrants.create(maybe(text), maybe(text), some({ ...CALL, shared: () => true })),
  (who) => who.sessionGrants.toggle(maybe(text), maybe(text), some(CALL)),
  (who) => who.sessionGrants.revoke(maybe(text), some(CALL)),
  (who) => extras.me(maybe(() => who), some(CALL)),
  (who) => extras.servers(maybe(() => who), some({ ...CALL, limit: () => 2 })),
  (who) => extras.agentAccounts(maybe(() => who), some(CALL)),
  (who) => extras.agentAccount(maybe(() => who), maybe(text), some(CALL)),
  (who) => extras.callToolWithProgress(maybe(() => who), maybe(text), maybe(text), maybe(() => ({})), some({ ...CALL, onProgress: () => () => {}, onLog: () => () => {}, logLevel: () => "info" })),
  () => extras.blobOf(anything()),
  (who) => extras.authProvider(who).token(),
  (who) => JSON.stringify(new DeputizeError(Object(maybe(() => ERROR)))) && DeputizeError.is(anything()),
];

const { privateKey: key } = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, false, ["sign", "verify"]);

/** What an error may be: what is documented, or what the application itself threw or gave as a reason. */
const isExpected = (error) => error === own || error instanceof DeputizeError || error instanceof TypeError || error instanceof RangeError;

let uncaught;
process.on("uncaughtException", (error) => (uncaught ??= error));
process.on("unhandledRejection", (error) => (error === own ? undefined : (uncaught ??= error)));

const outcomes = { done: 0, DeputizeError: 0, TypeError: 0, other: 0 };

async function call(number) {
  random = numbers(number);
  let what = "making a client";
  let late;
  try {
    let who = client();
    if (chance(0.5)) who = who.onBehalfOf(user());
    const run = one(CALLS);
    what = String(run);
    const never = new Promise((_, reject) => (late = setTimeout(() => reject(new Error("it never ends")), 10_000)));
    await Promise.race([run(who), never]);
    outcomes.done++;
  } catch (error) {
    const name = error === own ? "other" : error?.name;
    outcomes[name in outcomes ? name : "other"]++;
    if (!isExpected(error)) throw new Error(what, { cause: error });
  } finally {
    clearTimeout(late);
  }
}

const end = Date.now() + millis;
let made = 0;
while (made === 0 || Date.now() < end) {
  try {
    await call(seed + made);
    if (uncaught !== undefined) throw new Error("not caught", { cause: uncaught });
  } catch (failure) {
    console.error(`node fuzz.js ${seed + made} 1\n`, failure);
    process.exit(1);
  }
  made++;
}
// What was not broken still works.
const fetch = async () => Response.json({ tools: [{ name: "list_repos" }] });
const [tool] = await new AgentClient({ url: "https://deputize.example", credentials: { apiKey: "rl_" }, fetch }).listTools("demo");
// And the calls were not all of one kind.
const { done, DeputizeError: failed, TypeError: wrong } = outcomes;
if (tool.name !== "list_repos" || (made > 1000 && Math.min(done, failed, wrong) < made / 50)) {
  console.error(outcomes);
  process.exit(1);
}
console.log(`${made} calls: ${JSON.stringify(outcomes)}`);
process.exit(0);
