// `deputize/sign-in` and `deputize/mcp` in a page that is not there: its address, its storage and the service's answers
// are each test's own. With a browser and the service: sign-in.js.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { test } from "./runtimes.js";

const url = "https://deputize.example";
const origin = "https://app.example";
const app = { url, clientId: "app-1", redirectUri: `${origin}/callback` };
const TOKEN = `${url}/api/v1/oauth/token`;
const REVOKE = `${url}/api/v1/oauth/revoke`;

/** What a token endpoint answers. */
const tokens = (number, further) =>
  Response.json({ access_token: `at-${number}`, token_type: "Bearer", expires_in: 3600, refresh_token: `rt-${number}`, scope: "tools:call", ...further });
const refused = (status, error, further) => Response.json({ error, error_description: "No", detail: "No", ...further }, { status });
const lost = () => Promise.reject(new TypeError("Failed to fetch"));

class Storage {
  values = new Map();
  getItem(name) {
    return this.values.get(name) ?? null;
  }
  setItem(name, value) {
    this.values.set(name, value);
  }
}

/** A tab: its page's globals, until it is closed. `answers` are the service's, in their order. */
class Tab {
  sent = [];
  answers = [];
  gone = [];
  shown = [];
  storage = new Storage();
  before = {};

  constructor(at = `${origin}/`) {
    const tab = this;
    const location = { href: at, origin, assign: (to) => (tab.gone.push(new URL(to)), tab.left?.()) };
    const history = { state: { router: 7 }, replaceState: (state, _, to) => (location.href = new URL(to).href, (tab.replaced = state)) };
    const fetch = async (to, init) => {
      tab.sent.push({ url: String(to), form: Object.fromEntries(new URLSearchParams(init.body)), init });
      const next = tab.answers.shift();
      assert.ok(next, `nothing was to be sent, but ${init.body} to ${to}`);
      return typeof next === "function" ? next() : next;
    };
    const addEventListener = (name, heard) => name === "pageshow" && this.shown.push(heard);
    const globals = { location, history, fetch, addEventListener, sessionStorage: this.storage, document: { title: "App" } };
    for (const [name, value] of Object.entries(globals)) {
      this.before[name] = Object.getOwnPropertyDescriptor(globalThis, name);
      Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
    }
  }

  close() {
    for (const [name, before] of Object.entries(this.before)) {
      if (before) Object.defineProperty(globalThis, name, before);
      else delete globalThis[name];
    }
  }

  /** Where the page sends the browser. */
  async leaves(run) {
    const left = new Promise((resolve) => (this.left = resolve));
    await Promise.race([left, run()]);
    return this.gone.at(-1);
  }

  comesBack(answer) {
    location.href = `${app.redirectUri}?${new URLSearchParams({ iss: url, ...answer })}`;
  }
}

let copies = 0;

export async function signInUnits(installed, report) {
  const folder = join(installed, "node_modules/deputize");
  const require = createRequire(join(installed, "package.json"));
  const { DeputizeError } = await import(pathToFileURL(join(folder, "error.js")));
  const { AgentClient } = await import(pathToFileURL(join(folder, "inline.js")));
  const mcp = await import(pathToFileURL(join(folder, "mcp.js")));
  /** A page that is loaded anew. */
  const load = () => import(`${pathToFileURL(join(folder, "sign-in.js"))}?${++copies}`);

  /** The fields of the error with which this is refused. */
  const failure = async (promise) => {
    const error = await promise.then((value) => assert.fail(`it was not refused: ${JSON.stringify(value)}`), (error) => error);
    assert.ok(error instanceof DeputizeError, String(error?.stack));
    return error;
  };

  const named = {};
  /** A test with a tab of its own. */
  const unit = (name, run) => {
    named[name] = async () => {
      const tab = new Tab();
      const now = Date.now;
      try {
        await run(tab, await load());
        assert.deepEqual(tab.answers, [], "each answer was asked for");
      } finally {
        Date.now = now;
        tab.close();
      }
    };
  };

  /** Signs in, and answers what the page then has. */
  async function signedIn(tab, page, options = app, answer = tokens(1)) {
    const to = await tab.leaves(() => page.signIn(options));
    tab.comesBack({ code: "code-1", state: to.searchParams.get("state") });
    tab.answers.push(answer);
    const session = await page.handleCallback();
    tab.sent.length = 0;
    return session;
  }

  unit("the request has PKCE, a state and what was asked for, and nothing that is not set", async (tab, { signIn, handleCallback }) => {
    const to = await tab.leaves(() => signIn({ ...app, state: { at: "/reports?year=2026" } }));
    assert.equal(to.origin + to.pathname, `${url}/api/v1/oauth/authorize`);
    const { state, code_challenge, ...asked } = Object.fromEntries(to.searchParams);
    assert.deepEqual(asked, {
      response_type: "code",
      client_id: "app-1",
      redirect_uri: app.redirectUri,
      scope: "tools:call offline_access",
      code_challenge_method: "S256",
    });
    assert.match(state, /^deputize\.sign-in\.[\w-]{43}$/);

    tab.comesBack({ code: "code-1", state });
    location.href += "&tab=2#there";
    tab.answers.push(tokens(1));
    const session = await handleCallback();
    const [{ url: sentTo, form: { code_verifier, ...form }, init }] = tab.sent;
    assert.equal(sentTo, TOKEN);
    assert.deepEqual(form, { grant_type: "authorization_code", code: "code-1", redirect_uri: app.redirectUri, client_id: "app-1" });
    assert.equal([init.credentials, init.cache, init.redirect].join(), "omit,no-store,error");
    const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(code_verifier));
    assert.equal(Buffer.from(digest).toString("base64url"), code_challenge, "RFC 7636 section 4.6");

    assert.deepEqual(session.state, { at: "/reports?year=2026" });
    assert.equal(session.scope, "tools:call");
    assert.equal(await session.credentials.userToken({ renew: false }), "at-1");
    assert.equal(location.href, `${app.redirectUri}?tab=2#there`, "the answer is not left in the address");
    assert.deepEqual(tab.replaced, { router: 7 });
    assert.ok(!/at-1|rt-1|code-1/.test(JSON.stringify([...tab.storage.values])), "no token is kept");
  });

  unit("what can be asked for is asked for", async (tab, { signIn }) => {
    const to = await tab.leaves(() => signIn({ ...app, url: new URL(`${url}/`), scope: "manage", resource: `${url}/api/v1`, prompt: "none" }));
    const { scope, resource, prompt } = Object.fromEntries(to.searchParams);
    assert.deepEqual({ scope, resource, prompt }, { scope: "manage", resource: `${url}/api/v1`, prompt: "none" });
    assert.equal(to.pathname, "/api/v1/oauth/authorize");
  });

  unit("a wrong option is a TypeError that names it, and the page is not left", async (tab, { signIn, resume }) => {
    const wrong = [
      [{ ...app, redirect_uri: "x" }, /must not have redirect_uri, but only url, clientId/],
      [{ ...app, url: "http://deputize.example" }, /url must begin with https:/],
      [{ ...app, url: undefined }, /url must be the address of the service/],
      [{ ...app, clientId: "" }, /clientId must be a text/],
      [{ ...app, redirectUri: undefined }, /redirectUri must be a text/],
      [{ ...app, redirectUri: "https://app.example.evil.example/" }, /redirectUri must be an address of this page's origin, https:\/\/app\.example$/],
      [{ ...app, redirectUri: "/callback" }, /redirectUri must be an address of this page's origin/],
      [{ ...app, scope: ["tools:call"] }, /scope must be a text/],
      [{ ...app, resource: "" }, /resource must be a text/],
      [{ ...app, prompt: "login" }, /prompt must be "none" or "consent"/],
      [{ ...app, state: 7n }, /BigInt/],
      [undefined, /url must be/],
      ["x", /must be an object/],
    ];
    for (const [options, expected] of wrong) {
      await assert.rejects(signIn(options), (error) => error instanceof TypeError && expected.test(error.message), String(expected));
    }
    await assert.rejects(resume({ ...app, redirect_uri: "x" }), /^TypeError: resume's options must not have redirect_uri/);
    assert.deepEqual(tab.gone, []);
  });

  unit("a page that cannot sign anyone in says why", async (tab, { signIn, handleCallback }) => {
    const get = () => {
      throw new DOMException("denied", "SecurityError");
    };
    Object.defineProperty(globalThis, "sessionStorage", { get, configurable: true });
    assert.equal((await failure(signIn(app))).code, "unsupported");
    tab.comesBack({ code: "c", state: "deputize.sign-in.x" });
    assert.equal((await failure(handleCallback())).code, "unsupported");
    Object.defineProperty(globalThis, "sessionStorage", { value: tab.storage, configurable: true });
    globalThis.top = {};
    try {
      const { code, detail } = await failure(signIn(app));
      assert.deepEqual([code, detail], ["unsupported", "The page is in a frame"]);
    } finally {
      delete globalThis.top;
    }
    Object.defineProperty(crypto, "subtle", { value: undefined, configurable: true });
    try {
      assert.equal((await failure(signIn(app))).detail, "This page has no WebCrypto");
    } finally {
      delete crypto.subtle;
    }
  });

  unit("who comes back to the page as it was by the Back button is not signed in, and the page goes on", async (tab, page) => {
    await signedIn(tab, page);
    tab.shown.length = 0;
    for (const leaving of [() => page.signIn(app), () => page.resume(app)]) {
      const coming = leaving();
      while (tab.shown.length === 0) await new Promise(setImmediate);
      tab.shown.at(-1)({ persisted: false });
      assert.equal(await Promise.race([coming, new Promise((resolve) => setImmediate(resolve, "left"))]), "left");
      tab.shown.pop()({ persisted: true });
      assert.equal(await coming, null);
    }
  });

  unit("a storage that is full or spoilt is an error that says so", async (tab, { signIn, resume }) => {
    tab.storage.setItem = () => {
      throw new DOMException("full", "QuotaExceededError");
    };
    assert.equal((await failure(signIn(app))).code, "unsupported");
    tab.storage.values.set("deputize.signed-in", "{");
    assert.equal((await failure(resume(app))).code, "unsupported");
    assert.deepEqual(tab.gone, []);
  });

  unit("a page that is no answer, or another library's, is left alone", async (tab, { handleCallback }) => {
    const { href } = location;
    for (const query of ["", "?code=1", "?code=1&state=theirs&iss=https://idp.example", "?state=deputize.sign-in.x", "?code=1&state=deputize.mcp.x"]) {
      location.href = href + query;
      assert.equal(await handleCallback(), null, query);
      assert.equal(location.href, href + query);
    }
  });

  unit("an answer that this tab did not ask for is refused, and nothing is sent", async (tab, { signIn, handleCallback }) => {
    await tab.leaves(() => signIn(app));
    tab.comesBack({ code: "attackers", state: "deputize.sign-in.forged" });
    const { code, hint } = await failure(handleCallback());
    assert.deepEqual([code, hint], ["sign_in_unknown", "Sign in again. If somebody sent you this link, close the page"]);
    assert.equal(location.href, app.redirectUri, "and is not there when the page is loaded again");
    assert.equal(await handleCallback(), null);
    assert.deepEqual(tab.sent, []);
  });

  unit("an answer counts once", async (tab, page) => {
    const to = await tab.leaves(() => page.signIn(app));
    const answer = { code: "code-1", state: to.searchParams.get("state") };
    tab.comesBack(answer);
    tab.answers.push(tokens(1));
    assert.ok(await page.handleCallback());
    tab.comesBack(answer);
    assert.equal((await failure((await load()).handleCallback())).code, "sign_in_unknown");
    assert.equal(tab.sent.length, 1);
  });

  unit("an answer of another issuer, or of none, is refused, and its code goes nowhere (RFC 9207)", async (tab, { signIn, handleCallback }) => {
    for (const iss of ["https://evil.example", `${url}/`, undefined]) {
      const to = await tab.leaves(() => signIn(app));
      tab.comesBack({ code: "code-1", error: "access_denied", error_description: "Call 0900-EVIL", state: to.searchParams.get("state") });
      const came = new URL(location.href);
      if (iss) came.searchParams.set("iss", iss);
      else came.searchParams.delete("iss");
      location.href = came.href;
      const error = await failure(handleCallback());
      assert.deepEqual([error.code, error.message.includes("0900")], ["sign_in_mismatch", false]);
      assert.match(error.hint, /^It was asked at https:\/\/deputize\.example, /);
    }
    assert.deepEqual(tab.sent, []);
  });

  unit("errors of the answer are errors with their codes", async (tab, { signIn, handleCallback }) => {
    for (const [error, description] of [["access_denied", "The user did not allow it"], ["login_required", undefined], ["consent_required", undefined], ["server_error", undefined]]) {
      const to = await tab.leaves(() => signIn({ ...app, prompt: "none" }));
      tab.comesBack({ error, state: to.searchParams.get("state"), ...(description && { error_description: description }) });
      const { code, detail } = await failure(handleCallback());
      assert.deepEqual([code, detail], [error, description ?? "The user is not signed in"]);
      assert.equal(location.href, app.redirectUri);
    }
  });

  unit("a framework that runs a page's start twice gets the same session twice", async (tab, page) => {
    const to = await tab.leaves(() => page.signIn(app));
    tab.comesBack({ code: "code-1", state: to.searchParams.get("state") });
    tab.answers.push(tokens(1));
    const [one, other] = await Promise.all([page.handleCallback(), page.handleCallback()]);
    assert.ok(one && one === other && one === (await page.handleCallback()));
    tab.answers.push(Response.json({}));
    await page.signOut();
    assert.equal(await page.handleCallback(), null);
  });

  unit("several sign-ins that were begun in a tab do not mix, and the oldest are forgotten", async (tab, { signIn, handleCallback }) => {
    const states = [];
    for (let number = 0; number < 6; number++) {
      const to = await tab.leaves(() => signIn({ ...app, state: number }));
      states.push(to.searchParams.get("state"));
    }
    for (const number of [2, 5]) {
      tab.comesBack({ code: `code-${number}`, state: states[number] });
      tab.answers.push(tokens(number));
      assert.equal((await handleCallback()).state, number);
    }
    tab.comesBack({ code: "code-0", state: states[0] });
    assert.equal((await failure(handleCallback())).code, "sign_in_unknown");
  });

  unit("a code is sent once, whatever becomes of the answer: it would end what it gave", async (tab, { signIn, handleCallback }) => {
    for (const [answer, expected] of [
      [lost, "network_error"],
      [refused(503, "temporarily_unavailable"), "temporarily_unavailable"],
      [refused(400, "invalid_grant", { reason: "code_used" }), "invalid_grant"],
      [new Response("<html>", { status: 502 }), "http_error"],
      [new Response("<html>"), "malformed_answer"],
      [Response.json(null), "malformed_answer"],
      [Response.json({ access_token: 7 }), "malformed_answer"],
      [Response.json({ error: { code: 7 }, error_description: [] }, { status: 400 }), "http_error"],
      [Response.json("no", { status: 400 }), "http_error"],
    ]) {
      const to = await tab.leaves(() => signIn(app));
      tab.comesBack({ code: "code-1", state: to.searchParams.get("state") });
      tab.sent.length = 0;
      tab.answers.push(answer);
      assert.equal((await failure(handleCallback())).code, expected);
      assert.equal(tab.sent.length, 1, expected);
    }
  });

  unit("an error of the service's says its reason and its request", async (tab, { signIn, handleCallback }) => {
    const to = await tab.leaves(() => signIn(app));
    tab.comesBack({ code: "code-1", state: to.searchParams.get("state") });
    const body = JSON.stringify({ error: "invalid_grant", error_description: "Used", reason: "code_used" });
    tab.answers.push(new Response(body, { status: 400, headers: { "x-request-id": "r-1", "retry-after": "7" } }));
    const { code, status, detail, reason, requestId, retryAfter } = await failure(handleCallback());
    const expected = { code: "invalid_grant", status: 400, detail: "Used", reason: "code_used", requestId: "r-1", retryAfter: 7 };
    assert.deepEqual({ code, status, detail, reason, requestId, retryAfter }, expected);
  });

  unit("a token is renewed in its last minute, once for all callers", async (tab, page) => {
    const { credentials } = await signedIn(tab, page);
    const began = Date.now();
    Date.now = () => began + 3_530_000;
    assert.equal(await credentials.userToken({ renew: false }), "at-1");
    Date.now = () => began + 3_545_000;
    tab.answers.push(tokens(2));
    const all = await Promise.all([1, 2, 3].map(() => credentials.userToken({ renew: false })));
    assert.deepEqual(all, ["at-2", "at-2", "at-2"]);
    assert.deepEqual(tab.sent.map(({ form }) => form), [{ grant_type: "refresh_token", refresh_token: "rt-1", client_id: "app-1" }]);
    assert.equal(await credentials.userToken({ renew: false }), "at-2");
    Date.now = () => began + 10_000_000;
    tab.answers.push(tokens(3, { refresh_token: undefined }), tokens(4));
    assert.equal(await credentials.userToken({ renew: true }), "at-3");
    assert.equal(await credentials.userToken({ renew: true }), "at-4");
    assert.equal(tab.sent.at(-1).form.refresh_token, "rt-2", "none came with it, so it stays the same");
  });

  unit("a token that was refused is renewed, unless it is the one before", async (tab, page) => {
    const { credentials } = await signedIn(tab, page);
    tab.answers.push(tokens(2));
    assert.equal(await credentials.userToken({ renew: true, refused: "at-1" }), "at-2");
    assert.equal(await credentials.userToken({ renew: true, refused: "at-1" }), "at-2");
    assert.equal(tab.sent.length, 1);
  });

  unit("an answer that is lost is asked for once more", async (tab, page) => {
    const { credentials } = await signedIn(tab, page);
    const timedOut = () => Promise.reject(new DOMException("late", "TimeoutError"));
    for (const [answer, number] of [[lost, 2], [timedOut, 3], [refused(503, "temporarily_unavailable"), 4]]) {
      tab.sent.length = 0;
      tab.answers.push(answer, tokens(number));
      assert.equal(await credentials.userToken({ renew: true }), `at-${number}`);
      assert.deepEqual(tab.sent.map(({ form }) => form.refresh_token), [`rt-${number - 1}`, `rt-${number - 1}`]);
    }
    tab.answers.push(lost, lost);
    const { code, cause } = await failure(credentials.userToken({ renew: true }));
    assert.deepEqual([code, cause.message], ["network_error", "Failed to fetch"]);
    tab.answers.push(refused(429, "temporarily_unavailable"));
    assert.equal((await failure(credentials.userToken({ renew: true }))).status, 429);
    tab.answers.push(tokens(5));
    assert.equal(await credentials.userToken({ renew: true }), "at-5", "the user is signed in all the same");
  });

  unit("while the service cannot be reached, a token is used to its end", async (tab, page) => {
    const { credentials } = await signedIn(tab, page);
    const began = Date.now();
    Date.now = () => began + 3_570_000;
    tab.answers.push(lost, lost);
    assert.equal(await credentials.userToken({ renew: false }), "at-1");
    Date.now = () => began + 3_601_000;
    tab.answers.push(lost, lost);
    assert.equal((await failure(credentials.userToken({ renew: false }))).code, "network_error");
  });

  unit("invalid_grant ends the session, and every later call says to sign in again", async (tab, page) => {
    const { credentials } = await signedIn(tab, page);
    tab.answers.push(refused(400, "invalid_grant"));
    const { code, hint, cause } = await failure(credentials.userToken({ renew: true }));
    assert.deepEqual([code, hint, cause.code, cause.status], ["signed_out", "Sign in again", "invalid_grant", 400]);
    assert.equal((await failure(credentials.userToken({ renew: false }))).code, "signed_out");
    await page.signOut();
    assert.equal(tab.sent.length, 1);
    const client = new AgentClient({ url, credentials });
    const error = await failure(client.callTool("demo", "list_repos"));
    assert.deepEqual([error.code, error.hint], ["signed_out", "Sign in again"]);
  });

  unit("without a refresh token a session is as long as its access token", async (tab, page) => {
    const { credentials } = await signedIn(tab, page, app, tokens(1, { refresh_token: undefined }));
    const began = Date.now();
    Date.now = () => began + 3_570_000;
    assert.equal(await credentials.userToken({ renew: false }), "at-1");
    Date.now = () => began + 3_601_000;
    assert.equal((await failure(credentials.userToken({ renew: false }))).code, "signed_out");
    assert.deepEqual(tab.sent, []);
  });

  unit("signing out revokes the family and forgets it, also while it is renewed and while the service is away", async (tab, page) => {
    const { credentials } = await signedIn(tab, page);
    let answer;
    tab.answers.push(() => new Promise((resolve) => (answer = resolve)), Response.json({}));
    const renewing = credentials.userToken({ renew: true });
    renewing.catch(() => {});
    await page.signOut();
    answer(tokens(2));
    assert.equal((await failure(renewing)).code, "signed_out");
    assert.equal((await failure(credentials.userToken({ renew: false }))).code, "signed_out");
    const { url: to, form, init } = tab.sent.at(-1);
    assert.deepEqual([to, form, init.keepalive], [REVOKE, { token: "rt-1", client_id: "app-1" }, true]);
    await page.signOut();
    assert.equal(tab.sent.length, 2);

    const again = await signedIn(tab, page);
    tab.answers.push(lost);
    assert.equal((await failure(page.signOut())).code, "network_error");
    assert.equal((await failure(again.credentials.userToken({ renew: false }))).code, "signed_out");
    assert.equal(await page.resume(app), null);
  });

  unit("a page that is loaded again signs its user in again, if there was one, and once", async (tab, page) => {
    assert.equal(await page.resume(app), null);
    await signedIn(tab, page);
    const loaded = await load();
    assert.equal(await loaded.handleCallback(), null);
    assert.equal(await loaded.resume({ ...app, clientId: "app-2" }), null, "another app's user");
    const to = await tab.leaves(() => loaded.resume({ ...app, prompt: "none", state: 7 }));
    assert.equal(to.searchParams.get("prompt"), "none");
    assert.equal(await (await load()).resume(app), null, "the user went back to the page");
    tab.comesBack({ code: "code-2", state: to.searchParams.get("state") });
    tab.answers.push(tokens(2));
    assert.equal((await loaded.handleCallback()).state, 7);
    assert.equal((await tab.leaves(async () => (await load()).resume(app))).searchParams.get("prompt"), null);
  });

  unit("if the user has to be asked after all, a page that was loaded again has no user", async (tab, page) => {
    for (const error of ["login_required", "consent_required", "interaction_required"]) {
      await signedIn(tab, page);
      const to = await tab.leaves(() => page.resume({ ...app, prompt: "none" }));
      tab.comesBack({ error, state: to.searchParams.get("state") });
      assert.equal(await page.handleCallback(), null);
      assert.equal(await page.resume({ ...app, prompt: "none" }), null, "and is not sent there again");
    }
    await signedIn(tab, page);
    const to = await tab.leaves(() => page.resume(app));
    tab.comesBack({ error: "access_denied", state: to.searchParams.get("state") });
    assert.equal((await failure(page.handleCallback())).code, "access_denied", "this the user has said");
  });

  named["on a server, and by require, the entries do nothing"] = async () => {
    const { handleCallback, resume, signIn, signOut } = require("deputize/sign-in");
    assert.deepEqual([await handleCallback(), await resume(app), await signOut()], [null, null, undefined]);
    await assert.rejects(signIn(app), /^TypeError: redirectUri must be an address of this page's origin, undefined/);
    assert.equal(typeof require("deputize/mcp").OAuthProvider, "function");
  };

  // --- deputize/mcp --------------------------------------------------------------------------------------

  named["MCP: a transport leads to a server's endpoint, with the client's token"] = async () => {
    const asked = [];
    let token = 1;
    const client = { token: async ({ renew }) => ({ accessToken: `at-${renew ? ++token : token}` }) };
    const fetch = async (to, init) => {
      asked.push([String(to), new Headers(init.headers).get("authorization")]);
      return new Response(null, { status: asked.length === 1 ? 401 : 202 });
    };
    const to = mcp.transport({ url: `${url}/`, serverId: "a/b", client }, { fetch });
    await to.start();
    await to.send({ jsonrpc: "2.0", method: "notifications/initialized" });
    const endpoint = `${url}/api/v1/proxy/a%2Fb/mcp`;
    assert.deepEqual(asked.slice(0, 2), [[endpoint, "Bearer at-1"], [endpoint, "Bearer at-2"]]);
    await to.close();
  };

  named["MCP: a wrong option is a TypeError that names it"] = async () => {
    const client = new AgentClient({ url, credentials: { apiKey: "rl_1" } });
    const provider = new mcp.OAuthProvider({ redirectUri: "http://127.0.0.1/", redirect() {} });
    for (const [options, expected] of [
      [{ url, serverId: "demo" }, /takes a client .* or a provider/],
      [{ url, serverId: "demo", client, provider }, /takes a client .* or a provider/],
      [{ url, serverId: "demo", client: {} }, /client must be an AgentClient/],
      [{ url, serverId: "", client }, /serverId must be a text/],
      [{ url, server: "demo", client }, /must not have server, but only url/],
      [{ url: "http://deputize.example", serverId: "demo", client }, /url must begin with https:/],
    ]) {
      assert.throws(() => mcp.transport(options), (error) => error instanceof TypeError && expected.test(error.message), String(expected));
    }
    for (const [options, expected] of [
      [{ redirectUri: "http://127.0.0.1/" }, /redirect must be a function/],
      [{ redirectUri: 7, redirect() {} }, /redirectUri must be a text/],
      [{ redirectUri: "http://127.0.0.1/", redirect() {}, storage: {} }, /must not have storage, but only redirectUri/],
      [undefined, /redirect/],
    ]) {
      assert.throws(() => new mcp.OAuthProvider(options), (error) => error instanceof TypeError && expected.test(error.message), String(expected));
    }
  };

  const discovery = { authorizationServerUrl: url, authorizationServerMetadata: { issuer: url, revocation_endpoint: REVOKE } };
  /** The SDK's part in a request. */
  async function asks(provider, verifier = "v".repeat(43)) {
    const state = provider.state();
    provider.saveDiscoveryState(discovery);
    provider.saveCodeVerifier(verifier);
    const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier));
    const query = new URLSearchParams({ state, code_challenge: Buffer.from(digest).toString("base64url") });
    return { state, to: new URL(`${url}/api/v1/oauth/authorize?${query}`) };
  }
  const page = () => new mcp.OAuthProvider({ redirectUri: app.redirectUri, clientId: "app-1" });

  unit("MCP: a provider that is made anew gets on with the answer, once, with its own verifier", async (tab) => {
    const provider = page();
    const one = await asks(provider, "1".repeat(43));
    const two = await asks(provider, "2".repeat(43));
    await tab.leaves(() => provider.redirectToAuthorization(one.to));
    await tab.leaves(() => provider.redirectToAuthorization(two.to));
    for (const [{ state }, verifier] of [[one, "1"], [two, "2"]]) {
      const anew = page();
      const finished = [];
      const transport = { finishAuth: async (answer) => void finished.push([answer.get("code"), anew.codeVerifier(), anew.discoveryState(), anew.clientInformation()]) };
      assert.equal(await anew.handleCallback(transport), false);
      tab.comesBack({ code: `code-${verifier}`, state });
      assert.equal(await anew.handleCallback(transport), true);
      assert.deepEqual(finished, [[`code-${verifier}`, verifier.repeat(43), discovery, { client_id: "app-1" }]]);
      assert.equal(location.href, app.redirectUri);
      tab.comesBack({ code: `code-${verifier}`, state });
      assert.equal((await failure(page().handleCallback(transport))).code, "sign_in_unknown");
    }
  });

  unit("MCP: a forged answer, another issuer's and a denial never reach the SDK", async (tab) => {
    const transport = { finishAuth: () => assert.fail("it was used") };
    tab.comesBack({ code: "attackers", state: "deputize.mcp.forged" });
    assert.equal((await failure(page().handleCallback(transport))).code, "sign_in_unknown");
    for (const [answer, expected] of [
      [{ code: "c", iss: "https://evil.example" }, "sign_in_mismatch"],
      [{ error: "access_denied", error_description: "The user did not allow it" }, "access_denied"],
    ]) {
      const provider = page();
      const { state, to } = await asks(provider);
      await tab.leaves(() => provider.redirectToAuthorization(to));
      tab.comesBack({ ...answer, state });
      assert.equal((await failure(provider.handleCallback(transport))).code, expected);
    }
  });

  unit("MCP: one refresh serves all requests, and an answer that is lost is asked for once more", async (tab) => {
    const resource = `${url}/api/v1/proxy/demo/mcp`;
    const metadata = {
      issuer: url, authorization_endpoint: `${url}/authorize`, token_endpoint: TOKEN, response_types_supported: ["code"],
      token_endpoint_auth_methods_supported: ["none"],
    };
    const provider = page();
    provider.saveDiscoveryState({ authorizationServerUrl: url, authorizationServerMetadata: metadata, resourceMetadata: { resource, authorization_servers: [url] } });
    for (const losses of [[lost], [async () => refused(503, "temporarily_unavailable")]]) {
      provider.saveTokens({ access_token: "at-1", refresh_token: "rt-1", token_type: "Bearer", issuer: url });
      const sent = [];
      const fetch = async (to, init) => {
        const isRefresh = String(to) === TOKEN;
        const headers = new Headers(init.headers);
        sent.push(isRefresh ? init.body.get("refresh_token") : `${headers.get("authorization")} ${init.method}`);
        if (!isRefresh) return new Response(null, { status: headers.get("authorization") === "Bearer at-1" ? 401 : 202 });
        return (losses.shift() ?? (async () => tokens(2)))();
      };
      const to = mcp.transport({ url, serverId: "demo", provider }, { fetch });
      await to.start();
      await Promise.all([1, 2, 3].map(() => to.send({ jsonrpc: "2.0", method: "notifications/cancelled" })));
      await to.close();
      assert.deepEqual(sent, [...Array(3).fill("Bearer at-1 POST"), "rt-1", "rt-1", ...Array(3).fill("Bearer at-2 POST")]);
    }
    assert.deepEqual(tab.gone, []);
  });

  unit("MCP: nothing but a refresh is ever sent twice", async () => {
    const provider = page();
    let sent = 0;
    const fetch = () => (sent++, lost());
    const to = mcp.transport({ url, serverId: "demo", provider }, { fetch });
    await to.start();
    const params = { name: "x", arguments: { text: "&grant_type=refresh_token&" } };
    await assert.rejects(to.send({ jsonrpc: "2.0", id: 1, method: "tools/call", params }));
    assert.equal(sent, 1);
  });

  unit("MCP: signing out revokes, and forgets", async (tab) => {
    const provider = page();
    await provider.signOut();
    await asks(provider);
    provider.saveTokens({ access_token: "at-1", refresh_token: "rt-1", token_type: "Bearer" });
    tab.answers.push(Response.json({}));
    await provider.signOut();
    assert.equal(provider.tokens(), undefined);
    assert.deepEqual(tab.sent.map(({ url, form }) => [url, form]), [[REVOKE, { token: "rt-1", client_id: "app-1" }]]);
    provider.saveClientInformation({ client_id: "other" });
    provider.invalidateCredentials("all");
    assert.deepEqual([provider.clientInformation(), provider.discoveryState(), provider.codeVerifier()], [{ client_id: "app-1" }, undefined, ""]);
  });

  for (const [name, run] of Object.entries(named)) await test(name, report, run);
}
