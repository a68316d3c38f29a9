// The suite of the package: the same file in Node, Chromium and workerd. It uses only what all three have: the
// language, fetch, timers, WebCrypto.

import * as deputize from "deputize";
import { agentAccount, agentAccounts, authProvider, blobOf, callToolWithProgress, me, servers } from "deputize/extras";
import QUnit from "qunit";

const { AgentClient, DeputizeError } = deputize;

/**
 * `told` comes from the runner: the variables of the service's `demo.env`, the address of the proxy in between
 * (`between.js`), and the runtime's name.
 */
export function suite({ demo, between, runtime }) {
  const service = demo.RUNLAYER_URL;
  const secrets = new Set([demo.CLIENT_SECRET, demo.API_KEY, demo.BOB_API_KEY, demo.CAROL_API_KEY, demo.USER_TOKEN]);
  const printed = [];
  const thrown = [];
  let lanes = 0;

  // --- Help ------------------------------------------------------------------------------------------

  /** A separate connection to the service, for a test that counts requests or changes answers. */
  async function lane(rules = [], pageSize) {
    const url = `${between}/lane/${runtime}-${++lanes}`;
    const plan = { rules, pageSize };
    await fetch(url, { method: "PUT", body: JSON.stringify(plan) });
    const requests = async (path) => {
      const { requests } = await (await fetch(url)).json();
      for (const { authorization } of requests) if (authorization) secrets.add(authorization.replace("Bearer ", ""));
      return path ? requests.filter((request) => `${request.method} ${request.path}`.startsWith(path)) : requests;
    };
    const plans = (rules) => fetch(url, { method: "PUT", body: JSON.stringify({ rules }) });
    return { url, requests, plans };
  }

  const TOKEN = "POST /api/v1/oauth/token";
  const CALL = "POST /api/v1/proxy/demo/tools";
  const LIST = "GET /api/v1/proxy/demo/tools";

  const client = (url, credentials) => new AgentClient({ url, credentials, dangerouslyAllowSecretInBrowser: true });
  const agent = (url = service) => client(url, { clientId: demo.CLIENT_ID, clientSecret: demo.CLIENT_SECRET });
  const user = (apiKey, url = service) => client(url, { apiKey });
  const alice = (url) => user(demo.ALICE_API_KEY, url);
  const carol = (url) => user(demo.CAROL_API_KEY, url);

  const listRepos = (who, org = "acme-corp", options) => who.callTool("demo", "list_repos", { org }, options);
  const saidBy = (result) => result.content[0].text;

  /** The error with which a promise rejects. The test fails if it does not reject. */
  async function failure(assert, promise) {
    try {
      await promise;
    } catch (error) {
      thrown.push(error);
      return error;
    }
    assert.true(false, "it should have been refused");
    return {};
  }

  /** An administrator's request, without the client. */
  async function administer(method, path, body) {
    const headers = { "x-runlayer-api-key": demo.ALICE_API_KEY, "content-type": "application/json" };
    const answer = await fetch(service + path, { method, headers, body: body && JSON.stringify(body) });
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
    return answer.status === 204 ? undefined : answer.json();
  }

  /** Waits until the proxy in between has received this many requests. */
  async function arrived(lane, path, count) {
    while ((await lane.requests(path)).length < count);
  }

  const now = Date.now;
  const timer = globalThis.setTimeout;
  const waits = [];

  /** Sets the clock. It does not move otherwise. */
  function at(millis) {
    Date.now = () => millis;
  }

  /** Whether a time-out is a wait between repetitions. Its random part distinguishes it from other timers. */
  const isWait = (millis) => millis > 0 && !Number.isInteger(millis);

  /** Ends waits between repetitions at once, and records them. */
  function hurry() {
    globalThis.setTimeout = (run, millis, ...rest) => {
      if (isWait(millis)) waits.push(millis);
      return timer(run, isWait(millis) ? 0 : millis, ...rest);
    };
  }

  QUnit.hooks.beforeEach(() => {
    waits.length = 0;
  });
  QUnit.hooks.afterEach(() => {
    Date.now = now;
    globalThis.setTimeout = timer;
  });
  for (const level of ["log", "info", "warn", "error", "debug"]) {
    const print = console[level].bind(console);
    console[level] = (...words) => {
      printed.push(words.map(String).join(" "));
      print(...words);
    };
  }

  // --- Tokens ----------------------------------------------------------------------------------------

  QUnit.module("tokens", () => {
    QUnit.test("an agent gets a token by its secret", async (assert) => {
      const token = await agent().token();
      secrets.add(token.accessToken);
      assert.equal(token.accessToken.split(".").length, 3);
      assert.equal(token.tokenType, "Bearer");
      assert.equal(token.scope, "tools:call");
      assert.true(token.expiresIn > 3_500 && token.expiresIn <= 3_600, String(token.expiresIn));
      assert.deepEqual(Object.keys(token), ["accessToken", "tokenType", "expiresIn", "scope"]);
    });

    const claims = (token) => JSON.parse(atob(token.accessToken.split(".")[1].replace(/-/g, "+").replace(/_/g, "/")));

    QUnit.test("a token on behalf of a user is the user's, and says who acts", async (assert) => {
      const itself = agent();
      const ways = [
        { userId: demo.USER_ID },
        { email: "alice@example.com" },
        { accessToken: demo.USER_ACCESS_TOKEN },
        { accessToken: async () => demo.USER_ACCESS_TOKEN },
      ];
      for (const way of ways) {
        const { sub, act } = claims(await itself.onBehalfOf(way).token());
        assert.deepEqual({ sub, act }, { sub: demo.USER_ID, act: { sub: demo.CLIENT_ID } }, Object.keys(way)[0]);
      }
    });

    const ALGORITHMS = {
      ES256: { name: "ECDSA", namedCurve: "P-256" },
      ES384: { name: "ECDSA", namedCurve: "P-384" },
      EdDSA: { name: "Ed25519" },
      RS256: { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256", modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]) },
      PS384: { name: "RSA-PSS", hash: "SHA-384", modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]) },
    };

    for (const [name, algorithm] of Object.entries(ALGORITHMS)) {
      QUnit.test(`an agent gets tokens by signing with a key that cannot be extracted: ${name}`, async (assert) => {
        const pair = await crypto.subtle.generateKey(algorithm, false, ["sign", "verify"]);
        const jwk = await crypto.subtle.exportKey("jwk", pair.publicKey);
        const keys = `/api/v1/agent-accounts/${demo.AGENT_ID}/keys`;
        const { id } = await administer("POST", keys, { jwk: { ...jwk, kid: `${runtime}-${name}` } });
        try {
          const way = await lane();
          for (const keyId of [undefined, `${runtime}-${name}`]) {
            const credentials = { clientId: demo.CLIENT_ID, privateKey: pair.privateKey, keyId, audience: service };
            const signing = client(way.url, credentials);
            assert.equal(claims(await signing.token()).client_id, demo.CLIENT_ID);
            assert.equal(claims(await signing.onBehalfOf({ userId: demo.BOB_ID }).token()).sub, demo.BOB_ID);
          }
          // At the service's own address it needs no audience.
          await client(service, { clientId: demo.CLIENT_ID, privateKey: pair.privateKey }).token();
          const assertions = (await way.requests(TOKEN)).map(({ form }) => form.client_assertion);
          assert.equal(new Set(assertions).size, 4, "each request has an assertion of its own");
          assertions.forEach((assertion) => secrets.add(assertion));
        } finally {
          await administer("DELETE", `${keys}/${id}`);
        }
      });
    }

    QUnit.test("a page acts by tokens that its backend gives it", async (assert) => {
      const backend = agent();
      const given = [
        () => backend.onBehalfOf({ userId: demo.BOB_ID }).token(),
        async () => (await backend.token()).accessToken,
        async () => {
          const { accessToken, expiresIn } = await backend.token();
          return { access_token: accessToken, expires_in: expiresIn };
        },
      ];
      for (const token of given) {
        let asked = 0;
        const page = client(service, { token: (context) => (asked++, assert.false(context.renew), token()) });
        await listRepos(page);
        await listRepos(page);
        assert.equal(asked, 1, "it is kept");
        assert.true((await page.token()).expiresIn > 3_500);
      }
    });

    QUnit.test("a token of the backend's and the user's own make one on behalf of the user", async (assert) => {
      const way = await lane();
      const page = client(way.url, { token: () => agent().token() });
      const asAlice = page.onBehalfOf({ accessToken: () => demo.USER_ACCESS_TOKEN });
      assert.equal(claims(await asAlice.token()).sub, demo.USER_ID);
      await listRepos(asAlice);
      const [{ form }, ...others] = await way.requests(TOKEN);
      assert.equal(form.grant_type, "urn:ietf:params:oauth:grant-type:token-exchange");
      assert.equal(form.client_secret, undefined);
      assert.deepEqual(others, []);
    });

    QUnit.test("an agent's token that was revoked is renewed before it is exchanged", async (assert) => {
      const backend = agent();
      const { accessToken } = await backend.token();
      const asked = [];
      const page = client(service, {
        token: async ({ renew }) => (asked.push(renew), renew ? agent().token() : accessToken),
      });
      const form = { client_id: demo.CLIENT_ID, client_secret: demo.CLIENT_SECRET, token: accessToken };
      await fetch(`${service}/api/v1/oauth/revoke`, { method: "POST", body: new URLSearchParams(form) });
      assert.equal(claims(await page.onBehalfOf({ accessToken: demo.USER_TOKEN }).token()).sub, demo.USER_ID);
      assert.deepEqual(asked, [false, true]);
    });

    QUnit.test("a user acts by their JWT, which a function is asked for each time", async (assert) => {
      assert.equal((await client(service, { userToken: demo.USER_TOKEN }).delegations.list()).length, 1);
      let asked = 0;
      const signedIn = client(service, { userToken: async () => (asked++, demo.USER_TOKEN) });
      await signedIn.delegations.list();
      await listRepos(signedIn);
      assert.equal((await signedIn.token()).accessToken, demo.USER_TOKEN);
      assert.equal(asked, 3);
    });

    QUnit.test("a user acts by their API key, which is no token", async (assert) => {
      assert.true(saidBy(await listRepos(alice())).startsWith("acme-corp has"));
      const error = await failure(assert, alice().token());
      assert.equal(error.code, "unsupported");
    });

    QUnit.test("only an agent acts on behalf of others, and only once", async (assert) => {
      assert.throws(() => alice().onBehalfOf({ userId: demo.BOB_ID }), TypeError);
      assert.throws(() => client(service, { userToken: "a.b.c" }).onBehalfOf({ userId: demo.BOB_ID }), TypeError);
      assert.throws(() => agent().onBehalfOf({ userId: demo.BOB_ID }).onBehalfOf({ userId: demo.USER_ID }), TypeError);
      assert.throws(() => client(service, { token: () => "" }).onBehalfOf({ userId: demo.BOB_ID }), TypeError);
      assert.throws(() => agent().onBehalfOf({}), TypeError);
      assert.throws(() => agent().onBehalfOf({ userId: demo.BOB_ID, email: "bob@example.com" }), TypeError);
      assert.throws(() => agent().onBehalfOf({ userId: "" }), TypeError);
    });

    QUnit.test("a token function that fails, or answers nothing of use, is named", async (assert) => {
      const cause = new Error("signed out");
      for (const credentials of [{ token: () => Promise.reject(cause) }, { userToken: () => { throw cause; } }]) {
        const error = await failure(assert, listRepos(client(service, credentials)));
        assert.equal(error.code, "token_function_failed");
        assert.equal(error.cause, cause);
      }
      for (const useless of [undefined, null, "", {}, { accessToken: "" }, 7]) {
        const error = await failure(assert, listRepos(client(service, { token: () => useless })));
        assert.equal(error.code, "token_function_failed", JSON.stringify(useless));
      }
    });
  });

  // --- The token cache -------------------------------------------------------------------------------

  QUnit.module("the token cache", () => {
    QUnit.test("a hundred calls need one token", async (assert) => {
      const way = await lane();
      const itself = agent(way.url);
      for (let call = 0; call < 100; call++) await itself.listTools("demo");
      assert.equal((await way.requests(TOKEN)).length, 1);
      assert.equal((await way.requests(LIST)).length, 100);
    });

    QUnit.test("first calls at the same time wait for one token", async (assert) => {
      const way = await lane();
      const itself = agent(way.url);
      await Promise.all(Array.from({ length: 20 }, () => itself.listTools("demo")));
      assert.equal((await way.requests(TOKEN)).length, 1);
      assert.equal((await way.requests(LIST)).length, 20);
    });

    QUnit.test("a failed request for a token fails for all who wait, and is made again by the next", async (assert) => {
      const way = await lane([{ on: TOKEN, status: 400, body: refusal("invalid_grant", "no") }]);
      const itself = agent(way.url);
      const errors = await Promise.all([1, 2, 3].map(() => failure(assert, itself.token())));
      assert.deepEqual(errors.map(({ code }) => code), ["invalid_grant", "invalid_grant", "invalid_grant"]);
      assert.notEqual(errors[0], errors[1], "each has an error of its own");
      await itself.token();
      assert.equal((await way.requests(TOKEN)).length, 2);
    });

    QUnit.test("clients on behalf of one user share a token, and those of others have their own", async (assert) => {
      const way = await lane();
      const itself = agent(way.url);
      const bob = () => itself.onBehalfOf({ userId: demo.BOB_ID });
      await Promise.all([bob().listTools("demo"), bob().listTools("demo")]);
      await bob().listTools("demo");
      await itself.onBehalfOf({ userId: demo.CAROL_ID }).listTools("demo");
      await itself.listTools("demo");
      const forms = (await way.requests(TOKEN)).map(({ form }) => form.actor_token);
      assert.deepEqual(forms, [demo.BOB_ID, demo.CAROL_ID, undefined]);
      const sent = new Set((await way.requests(LIST)).map(({ authorization }) => authorization));
      assert.equal(sent.size, 3);
    });

    QUnit.test("a token is renewed in its last minute, not before", async (assert) => {
      const way = await lane();
      const itself = agent(way.url);
      const begin = now();
      at(begin);
      await itself.listTools("demo");
      at(begin + 3_539_000);
      await itself.listTools("demo");
      assert.equal((await way.requests(TOKEN)).length, 1);
      at(begin + 3_540_000);
      await Promise.all([itself.listTools("demo"), itself.listTools("demo")]);
      assert.equal((await way.requests(TOKEN)).length, 2);
    });

    QUnit.test("a token of a short life is renewed in the last tenth of it", async (assert) => {
      const body = { access_token: "short", token_type: "Bearer", expires_in: 100, scope: "tools:call" };
      const way = await lane([{ on: TOKEN, times: "always", body }]);
      const itself = agent(way.url);
      const begin = now();
      at(begin);
      await itself.token();
      at(begin + 89_000);
      assert.equal((await itself.token()).expiresIn, 11);
      assert.equal((await way.requests(TOKEN)).length, 1);
      at(begin + 90_000);
      await itself.token();
      assert.equal((await way.requests(TOKEN)).length, 2);
    });

    QUnit.test("a token that cannot be renewed yet is used for as long as it lasts", async (assert) => {
      const way = await lane();
      const itself = agent(way.url);
      const begin = now();
      at(begin);
      await itself.listTools("demo");
      await way.plans([{ on: TOKEN, times: "always", status: 400, body: refusal("invalid_request", "not now") }]);
      at(begin + 3_599_000);
      await itself.listTools("demo");
      at(begin + 3_600_000);
      assert.equal((await failure(assert, itself.token())).code, "invalid_request");
    });

    QUnit.test("a token that was revoked is renewed once, and the call made", async (assert) => {
      const way = await lane();
      const itself = agent(way.url);
      const { accessToken } = await itself.token();
      const form = { client_id: demo.CLIENT_ID, client_secret: demo.CLIENT_SECRET, token: accessToken };
      await fetch(`${service}/api/v1/oauth/revoke`, { method: "POST", body: new URLSearchParams(form) });
      const calls = await Promise.all([listRepos(itself), listRepos(itself)]);
      assert.true(calls.every((result) => saidBy(result).startsWith("acme-corp has")));
      assert.equal((await way.requests(TOKEN)).length, 2, "one renewal for both");
      const statuses = (await way.requests(CALL)).map(({ status }) => status).sort();
      assert.deepEqual(statuses, [200, 200, 401, 401]);
    });

    QUnit.test("a token that is refused anew is not renewed for ever", async (assert) => {
      const refused = { on: CALL, times: "always", status: 401, body: refusal("invalid_token", "The token is no good") };
      const way = await lane([refused]);
      const error = await failure(assert, listRepos(agent(way.url)));
      assert.deepEqual([error.status, error.code], [401, "invalid_token"]);
      assert.equal((await way.requests(CALL)).length, 2);
      assert.equal((await way.requests(TOKEN)).length, 2);
    });

    QUnit.test("a user's function is told that its token was refused; a text is not sent twice", async (assert) => {
      const way = await lane();
      const asked = [];
      const answer = async ({ renew }) => (asked.push(renew), renew ? demo.USER_TOKEN : "stale.token.text");
      await client(way.url, { userToken: answer }).delegations.list();
      assert.deepEqual(asked, [false, true]);
      const error = await failure(assert, listRepos(client(way.url, { userToken: "stale.token.text" })));
      assert.deepEqual([error.status, error.code], [401, "invalid_token"]);
      assert.equal((await way.requests(CALL)).length, 1);
    });

    QUnit.test("another token is given for one that was refused, or if one is wanted", async (assert) => {
      const way = await lane();
      const itself = agent(way.url);
      const text = async (options) => (await itself.token(options)).accessToken;
      const first = await text();
      assert.equal(await text({ renew: false }), first);
      const second = await text({ renew: first });
      assert.notEqual(second, first);
      assert.equal(await text({ renew: first }), second, "it was renewed since then");
      const third = await text({ renew: true });
      assert.notEqual(third, second);
      assert.equal(await text(), third);
      assert.equal((await way.requests(TOKEN)).length, 3);
      for (const token of [first, second, third]) secrets.add(token);
    });

    QUnit.test("a page whose backend's token was refused goes on when the user delegates anew", async (assert) => {
      const itself = agent();
      const backend = (asked) => itself.onBehalfOf({ userId: demo.CAROL_ID }).token({ renew: asked.refused ?? asked.renew });
      const page = client(service, { token: backend });
      await listRepos(page);
      const active = (await carol().delegations.list()).find(({ isActive }) => isActive);
      await carol().delegations.revoke(active.id);
      const error = await failure(assert, listRepos(page));
      assert.deepEqual([error.code, error.cause.reason], ["token_function_failed", "delegation_missing"]);
      await carol().delegations.create(demo.AGENT_ID);
      assert.true(saidBy(await listRepos(page)).startsWith("acme-corp has"));
    });

    QUnit.test("an MCP client gets another token after a 401", async (assert) => {
      const provider = authProvider(agent());
      const first = await provider.token();
      assert.equal(await provider.token(), first);
      await provider.onUnauthorized();
      const second = await provider.token();
      assert.notEqual(second, first);
      assert.equal(await provider.token(), second);
      secrets.add(first).add(second);
    });

    QUnit.test("a client that is made anew for each request asks for no token, if the user's JWT is the same", async (assert) => {
      const way = await lane();
      const itself = agent(way.url);
      let asked = 0;
      const acting = () => itself.onBehalfOf({ accessToken: async () => (asked++, demo.USER_ACCESS_TOKEN) });
      for (let request = 0; request < 3; request++) await acting().listTools("demo");
      await Promise.all([acting().listTools("demo"), acting().listTools("demo")]);
      assert.equal((await way.requests(TOKEN)).length, 1);
      assert.equal(asked, 5, "each asks whose it is");
      const kept = acting();
      await Promise.all([kept.listTools("demo"), kept.listTools("demo")]);
      await kept.listTools("demo");
      assert.equal(asked, 6, "and only once");
      const { accessToken } = await kept.token();
      const form = { client_id: demo.CLIENT_ID, client_secret: demo.CLIENT_SECRET, token: accessToken };
      await fetch(`${service}/api/v1/oauth/revoke`, { method: "POST", body: new URLSearchParams(form) });
      await kept.listTools("demo");
      assert.equal((await way.requests(TOKEN)).length, 2, "it is renewed when it is refused");
      secrets.add(accessToken);
    });

    QUnit.test("who joins a request for a token makes their own, if that one is not answered soon", async (assert) => {
      const way = await lane([{ on: TOKEN, hang: true }]);
      const itself = agent(way.url);
      const late = await failure(assert, itself.listTools("demo", { timeoutMs: 50 }));
      assert.equal(late.code, "timeout");
      globalThis.setTimeout = (run, millis, ...rest) => timer(run, millis > 4_000 && millis < 4_980 ? 20 : millis, ...rest);
      const calls = await Promise.all([listRepos(itself), listRepos(itself), itself.listTools("demo")]);
      assert.equal(calls.length, 3);
      assert.equal((await way.requests(TOKEN)).length, 2, "one more for all");
    });

    QUnit.test("who has time waits for a token that another had no time for", async (assert) => {
      hurry();
      const way = await lane([{ on: TOKEN, status: 429, headers: { "retry-after": "5" }, body: "slow down" }]);
      const itself = agent(way.url);
      const hasty = failure(assert, itself.token({ timeoutMs: 3_000 }));
      const patient = itself.token();
      assert.deepEqual([(await hasty).status, (await hasty).retryAfter], [429, 5]);
      secrets.add((await patient).accessToken);
      assert.equal((await way.requests(TOKEN)).length, 2);
    });

    QUnit.test("another 401 is no reason for another token", async (assert) => {
      const way = await lane([{ on: CALL, status: 401, body: refusal("no_credentials", "No credentials available for this server") }]);
      await failure(assert, listRepos(agent(way.url)));
      assert.equal((await way.requests(TOKEN)).length, 1);
      assert.equal((await way.requests(CALL)).length, 1);
    });
  });

  // --- Tools -----------------------------------------------------------------------------------------

  QUnit.module("tools", () => {
    QUnit.test("the tools that the caller may call are listed as the server describes them", async (assert) => {
      const names = (tools) => tools.map(({ name }) => name).sort();
      const tools = await agent().listTools("demo");
      assert.deepEqual(names(tools), ["delete_repo", "list_repos"]);
      assert.equal(tools.find(({ name }) => name === "list_repos").inputSchema.type, "object");
      assert.deepEqual(names(await agent().onBehalfOf({ userId: demo.BOB_ID }).listTools("demo")), ["list_repos"]);
      assert.equal((await agent().listTools("demo", { limit: 1 })).length, 1);
    });

    QUnit.test("a tool's result is the server's own", async (assert) => {
      const result = await listRepos(agent().onBehalfOf({ email: "bob@example.com" }));
      assert.true(saidBy(result).startsWith("acme-corp has 5 repositories"));
      assert.equal(result.structuredContent.org, "acme-corp");
      assert.equal(result.structuredContent.repos.length, 5);
      assert.false(result.isError);
    });

    QUnit.test("a tool that fails is a result", async (assert) => {
      const { isError, content } = await agent().callTool("modern", "fail", {});
      assert.deepEqual([isError, content[0].text], [true, "it did not work"]);
    });

    QUnit.test("arguments of any script arrive as they are", async (assert) => {
      for (const text of ["Zürich", "北京", "🦀🇨🇭", "a\u0000b", "\u2028\"\\/", "e\u0301", "__proto__"]) {
        assert.equal(saidBy(await agent().callTool("modern", "echo", { text })), text);
      }
    });

    QUnit.test("a megabyte of arguments arrives, and comes back", async (assert) => {
      const text = "é".repeat(512 * 1024);
      assert.equal(saidBy(await agent().callTool("modern", "echo", { text })), text);
    });

    QUnit.test("arguments may be left out, and must be an object that JSON can say", async (assert) => {
      const way = await lane([{ on: CALL, body: { content: [] } }]);
      assert.deepEqual(await agent(way.url).callTool("demo", "anything"), { content: [] });
      for (const no of [null, [], "text", 7]) {
        assert.true((await failure(assert, agent().callTool("demo", "list_repos", no))) instanceof TypeError);
      }
      const circle = {};
      circle.circle = circle;
      assert.equal((await failure(assert, agent().callTool("demo", "list_repos", circle))).code, "invalid_request");
      assert.equal((await failure(assert, agent().callTool("demo", "list_repos", { big: 1n }))).code, "invalid_request");
      assert.true((await failure(assert, agent().callTool("", "list_repos"))) instanceof TypeError);
    });

    QUnit.test("an id cannot lead to another path", async (assert) => {
      const way = await lane();
      for (const id of ["../../me", "..", ".", "a/b", "?x", "#x", "%2e%2e"]) {
        const error = await failure(assert, alice(way.url).listTools(id));
        assert.equal(error.status, 404, id);
      }
      const paths = (await way.requests()).map(({ path }) => path);
      assert.true(paths.every((path) => /^\/api\/v1\/proxy\/[^/?]+\/tools$/.test(path)), paths.join(" "));
    });
  });

  // --- What users manage -----------------------------------------------------------------------------

  QUnit.module("what users manage", () => {
    const KEYS = ["id", "agentAccountId", "delegatorUserId", "delegatorEmail", "isActive", "serverIds", "expiresAt", "createdAt", "revokedAt"];

    QUnit.test("a delegation is made, listed and revoked", async (assert) => {
      const expiresAt = new Date(Date.now() + 86_400_000);
      const made = await carol().delegations.create(demo.AGENT_ID, { serverIds: ["demo"], expiresAt });
      assert.deepEqual(Object.keys(made), KEYS);
      const { id, createdAt, ...rest } = made;
      assert.false(Number.isNaN(Date.parse(createdAt)));
      assert.deepEqual(rest, {
        agentAccountId: demo.AGENT_ID,
        delegatorUserId: demo.CAROL_ID,
        delegatorEmail: "carol@example.com",
        isActive: true,
        serverIds: ["demo"],
        expiresAt: expiresAt.toISOString(),
        revokedAt: null,
      });
      const active = async () => (await carol().delegations.list()).filter(({ isActive }) => isActive);
      assert.deepEqual((await active()).map(({ id }) => id), [id]);
      assert.equal(await carol().delegations.revoke(id), undefined);
      assert.deepEqual(await active(), []);
      assert.equal(await carol().delegations.revoke(id), undefined, "twice is once");
      const again = await carol().delegations.create(demo.AGENT_ID);
      assert.deepEqual([again.serverIds, again.expiresAt], [null, null]);
    });

    QUnit.test("a list is all of it, or a page at a time", async (assert) => {
      const way = await lane([], 1);
      const path = `GET /api/v1/agent-accounts/${demo.AGENT_ID}/delegations`;
      const all = (await alice().delegations.list(demo.AGENT_ID)).map(({ delegatorEmail }) => delegatorEmail);
      assert.deepEqual([...all].sort(), ["alice@example.com", "bob@example.com", "carol@example.com"]);

      const list = alice(way.url).delegations.list(demo.AGENT_ID);
      assert.deepEqual(await way.requests(path), [], "nothing is asked for before it is wanted");
      assert.deepEqual((await list).map(({ delegatorEmail }) => delegatorEmail), all);
      const pages = (await way.requests(path)).length;
      assert.true(pages >= 3, `${pages} pages`);
      assert.deepEqual((await list).length, 3);
      assert.equal((await way.requests(path)).length, pages, "what was awaited is not asked for again");

      for await (const { delegatorEmail } of alice(way.url).delegations.list(demo.AGENT_ID)) {
        assert.equal(delegatorEmail, all[0]);
        break;
      }
      assert.equal((await way.requests(path)).length, pages + 1, "the others are not asked for");
      assert.equal((await alice(way.url).delegations.list(demo.AGENT_ID, { limit: 2 })).length, 2);
      assert.throws(() => alice().delegations.list(demo.AGENT_ID, { limit: 0 }), TypeError);
    });

    QUnit.test("a list is a promise like any other", async (assert) => {
      assert.equal(await alice().delegations.list().then((list) => list.length), 1);
      const refused = agent().delegations.list(demo.AGENT_ID);
      assert.equal(await refused.catch(({ status }) => status), 403);
      let settled = false;
      await alice().delegations.list().finally(() => (settled = true));
      assert.true(settled);
      assert.equal((await Promise.all([alice().delegations.list(), alice().listTools("demo")])).length, 2);
    });

    QUnit.test("a session grant is made, toggled, listed and revoked", async (assert) => {
      const grants = carol().sessionGrants;
      const made = await grants.create(demo.AGENT_ID, "demo-oauth");
      const { id, createdAt, updatedAt, ...rest } = made;
      assert.false(Number.isNaN(Date.parse(createdAt)) || Number.isNaN(Date.parse(updatedAt)));
      assert.deepEqual(rest, {
        agentAccountId: demo.AGENT_ID,
        serverId: "demo-oauth",
        grantorUserId: demo.CAROL_ID,
        grantorEmail: "carol@example.com",
        shared: false,
        isActive: true,
        displacedByUserId: null,
        displacedByEmail: null,
        displacedAt: null,
      });
      const asCarol = agent().onBehalfOf({ userId: demo.CAROL_ID });
      assert.true(saidBy(await asCarol.callTool("demo-oauth", "list_channels")).includes("carol@example.com"));
      assert.true((await grants.toggle(demo.AGENT_ID, "demo-oauth")).shared);
      assert.false((await grants.toggle(demo.AGENT_ID, "demo-oauth")).shared);
      assert.true((await grants.create(demo.AGENT_ID, "demo-oauth", { shared: true })).shared);
      const asBob = agent().onBehalfOf({ userId: demo.BOB_ID });
      assert.true(saidBy(await asBob.callTool("demo-oauth", "list_channels")).includes("carol@example.com"));
      const ids = async (options) => (await grants.list(demo.AGENT_ID, options)).map(({ id }) => id);
      assert.deepEqual(await ids({ serverId: "demo-oauth" }), [id]);
      assert.deepEqual(await ids({ serverId: "demo" }), []);
      assert.false((await grants.revoke(id)).isActive);
    });

    QUnit.test("a user is sent to the authorization server of a server", async (assert) => {
      const { authorizationUrl, expiresIn } = await user(demo.BOB_API_KEY).connect("demo-oauth", { scope: "chat:write" });
      const url = new URL(authorizationUrl);
      assert.equal(url.searchParams.get("response_type"), "code");
      assert.true(url.searchParams.get("scope").includes("chat:write"));
      assert.equal(expiresIn, 600);
    });
  });

  // --- Errors ----------------------------------------------------------------------------------------

  const refusal = (error, detail, further) => ({ error, error_description: detail, detail, ...further });

  /** Status, code, detail and hint, and the fields that every answer of the service has. */
  async function row(assert, promise, status, code, detail, hint) {
    const error = await failure(assert, promise);
    assert.true(error instanceof DeputizeError && error instanceof Error);
    assert.equal(error.name, "DeputizeError");
    assert.deepEqual([error.status, error.code, error.detail, error.hint], [status, code, detail, hint]);
    assert.equal(error.message, `${detail}. ${hint}`);
    assert.true(/^[0-9a-f-]{36}$/.test(error.requestId), error.requestId);
    return error;
  }

  QUnit.module("each row of the troubleshooting table", () => {
    QUnit.test("401 invalid_client", async (assert) => {
      const wrong = client(service, { clientId: demo.CLIENT_ID, clientSecret: "wrong" });
      const hint = "Verify the credentials; check if they were rotated";
      await row(assert, wrong.token(), 401, "invalid_client", "invalid_client: Client authentication failed", hint);
    });

    QUnit.test("403 invalid_grant: No valid delegation", async (assert) => {
      const stranger = agent().onBehalfOf({ userId: "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee" });
      const hint = "The user must delegate to the agent account";
      await row(assert, listRepos(stranger), 403, "invalid_grant", "invalid_grant: No valid delegation", hint);
    });

    QUnit.test("400 invalid_grant: actor_token must be a valid UUID", async (assert) => {
      const nobody = agent().onBehalfOf({ userId: "bob" });
      const detail = "invalid_grant: actor_token must be a valid UUID";
      await row(assert, nobody.token(), 400, "invalid_grant", detail, "Pass a valid UUID string");
    });

    QUnit.test("401 No credentials available for this server", async (assert) => {
      const hint = "Create a session grant; the user must connect to the OAuth server first";
      const call = agent().callTool("demo-oauth", "list_channels");
      await row(assert, call, 401, "no_credentials", "No credentials available for this server", hint);
    });

    QUnit.test("401 OAuth session not found", async (assert) => {
      const hint = "The grantor must connect to the MCP server again";
      const call = user(demo.BOB_API_KEY).callTool("demo-oauth", "list_channels");
      await row(assert, call, 401, "session_not_found", "OAuth session not found", hint);
    });

    // tests/e2e causes it at a real provider. Here the service's answer is replayed.
    QUnit.test("401 OAuth session expired", async (assert) => {
      const hint = "The grantor must connect to the MCP server again";
      const headers = { "x-request-id": "01a21218-f3bb-7cb9-9053-5f244ff67a13" };
      const way = await lane([{ on: CALL, status: 401, headers, body: refusal("session_expired", "OAuth session expired", { reason: "session_expired" }) }]);
      await row(assert, listRepos(agent(way.url)), 401, "session_expired", "OAuth session expired", hint);
    });

    QUnit.test("403 Policy denied", async (assert) => {
      const bob = agent().onBehalfOf({ userId: demo.BOB_ID });
      const call = bob.callTool("demo", "delete_repo", { org: "acme-corp", repo: "website" });
      const hint = "Review the agent account's and the user's policies";
      const error = await row(assert, call, 403, "access_denied", "Policy denied", hint);
      assert.equal(error.deniedFor, "user");
      assert.equal(error.policies.length, 1);
      assert.deepEqual([error.reason, error.explanation], ["policy_denied_user", "a policy forbids it"]);
    });
  });

  QUnit.module("other errors", () => {
    QUnit.test("an error that is not the service's is named by its status", async (assert) => {
      for (const body of ["<h1>Bad gateway</h1>", "[]", '{"message":"Forbidden"}', '{"error":7}', ""]) {
        const way = await lane([{ on: CALL, times: "always", status: 403, body }]);
        const error = await failure(assert, listRepos(alice(way.url)));
        assert.deepEqual([error.status, error.code], [403, "http_error"], body);
      }
    });

    QUnit.test("an error keeps what a body says in other words than the service's", async (assert) => {
      const bodies = [
        [{ error: "slow_down", error_description: "Too fast" }, "slow_down", "Too fast"],
        [{ error: "slow_down" }, "slow_down", "slow_down"],
        [{ error: "access_denied", message: "No entry", reason: "policy_denied_user" }, "access_denied", "No entry"],
        [{ message: "Forbidden" }, "http_error", "HTTP 403: Forbidden"],
        [{ type: "about:blank", title: "Blocked", detail: "By the firewall" }, "http_error", "HTTP 403: By the firewall"],
        ["<html><title>x</title><h1>Bad  gateway</h1>\n<style>h1 {}</style>", "http_error", "HTTP 403: Bad gateway"],
        ["No such place", "http_error", "HTTP 403: No such place"],
        [`You sent ${demo.ALICE_API_KEY}`, "http_error", "HTTP 403 with a body that is not the service's"],
        ["<style".repeat(40_000), "http_error", `HTTP 403: ${"<style".repeat(40).slice(0, 200)}`],
        ["x".repeat(10_000), "http_error", `HTTP 403: ${"x".repeat(200)}`],
      ];
      secrets.add(demo.ALICE_API_KEY);
      for (const [body, code, detail] of bodies) {
        const way = await lane([{ on: CALL, times: "always", status: 403, body }]);
        const error = await failure(assert, listRepos(alice(way.url)));
        assert.deepEqual([error.code, error.detail], [code, detail]);
      }
    });

    QUnit.test("an error keeps what it says as JSON, and from another copy of the package", async (assert) => {
      const way = await lane([{ on: CALL, status: 403, headers: { "x-request-id": "1" }, body: refusal("access_denied", "Policy denied", { reason: "policy_denied_user", denied_for: "user", policies: [], explanation: "none permits it" }) }]);
      const error = await failure(assert, listRepos(alice(way.url)));
      const fields = {
        name: "DeputizeError",
        message: error.message,
        code: "access_denied",
        status: 403,
        detail: "Policy denied",
        hint: "Review the agent account's and the user's policies",
        requestId: "1",
        reason: "policy_denied_user",
        deniedFor: "user",
        policies: [],
        explanation: "none permits it",
      };
      assert.deepEqual(JSON.parse(JSON.stringify(error)), fields);
      assert.deepEqual(structuredClone(error.toJSON()), fields);
      const again = new DeputizeError(fields);
      assert.deepEqual(again.toJSON(), fields);
      assert.true(again instanceof DeputizeError);
      const foreign = Object.assign(new Error("It"), { name: "DeputizeError", code: "timeout", detail: "It" });
      for (const one of [error, fields, again, foreign]) assert.true(DeputizeError.is(one));
      for (const none of [undefined, null, "x", new Error("x"), {}, { code: "timeout" }, { name: "DeputizeError" }]) assert.false(DeputizeError.is(none));
    });

    QUnit.test("what is no result of a tool is not taken for one", async (assert) => {
      const answers = [{ status: 204, body: "" }, ...["", "null", "[1]", "{}", "7", '{"content":{}}', '{"isError":true}'].map((body) => ({ body }))];
      for (const answer of answers) {
        const way = await lane([{ on: CALL, ...answer }]);
        const error = await failure(assert, listRepos(alice(way.url)));
        assert.deepEqual([error.code, error.hint.endsWith("the tool may have run")], ["malformed_answer", true], JSON.stringify(answer));
      }
      const way = await lane([{ on: CALL, body: { structuredContent: { a: 1 } } }, { on: LIST, body: { tools: [null] } }]);
      assert.deepEqual(await listRepos(alice(way.url)), { structuredContent: { a: 1 }, content: [] });
      assert.equal((await failure(assert, alice(way.url).listTools("demo"))).code, "malformed_answer");
    });

    QUnit.test("an answer that is none is refused, whatever it is", async (assert) => {
      const answers = ["", "<h1>Welcome</h1>", "[{}]", '{"items":[]}', "null", "7", '[{"id":7}]'];
      for (const body of answers) {
        const way = await lane([{ on: "GET /api/v1/delegations", times: "always", body }]);
        const error = await failure(assert, alice(way.url).delegations.list());
        assert.equal(error.code, "malformed_answer", body);
      }
      const way = await lane([{ on: "GET /api/v1/delegations", large: 17 * 1024 * 1024 }]);
      assert.equal((await failure(assert, alice(way.url).delegations.list())).code, "malformed_answer");
    });

    QUnit.test("what the service adds to its answers does no harm", async (assert) => {
      const [known] = await (await fetch(`${service}/api/v1/delegations`, { headers: { "x-runlayer-api-key": demo.ALICE_API_KEY } })).json();
      const way = await lane([{ on: "GET /api/v1/delegations", body: [{ ...known, new_field: { a: 1 } }] }]);
      assert.deepEqual(await alice(way.url).delegations.list(), await alice().delegations.list());
    });

    QUnit.test("a redirect is not followed, and credentials go nowhere else", async (assert) => {
      const elsewhere = await lane();
      for (const status of [301, 302, 307, 308]) {
        const headers = { location: `${elsewhere.url}/api/v1/proxy/demo/tools` };
        const way = await lane([{ on: CALL, status, headers, body: "" }]);
        assert.equal((await failure(assert, listRepos(alice(way.url)))).code, "redirected");
        const token = await lane([{ on: TOKEN, status, headers, body: "" }]);
        assert.equal((await failure(assert, agent(token.url).token())).code, "redirected");
      }
      assert.deepEqual(await elsewhere.requests(), []);
    });

    QUnit.test("a list's next page is asked for where the list is, wherever the link leads", async (assert) => {
      const elsewhere = await lane();
      const headers = { link: `<${elsewhere.url}/stolen?cursor=abc>; rel="next"` };
      const way = await lane([
        { on: "GET /api/v1/delegations", headers, body: [] },
        { on: "GET /api/v1/delegations?cursor=abc", body: [] },
      ]);
      assert.deepEqual(await alice(way.url).delegations.list(), []);
      assert.deepEqual(await elsewhere.requests(), []);
      assert.deepEqual((await way.requests()).map(({ path }) => path), ["/api/v1/delegations", "/api/v1/delegations?cursor=abc"]);
    });

    QUnit.test("a list that leads to itself ends", async (assert) => {
      const headers = { link: '</api/v1/delegations?cursor=abc>; rel="next"' };
      const way = await lane([{ on: "GET /api/v1/delegations", times: "always", headers, body: [] }]);
      assert.true((await failure(assert, alice(way.url).delegations.list())) instanceof RangeError);
    });

    QUnit.test("a service that is not there is a network error", async (assert) => {
      hurry();
      const error = await failure(assert, alice("http://127.0.0.1:9").delegations.list());
      assert.equal(error.code, "network_error");
      assert.equal(error.status, undefined);
      assert.true(error.cause instanceof Error);
    });
  });

  // --- Repeating -------------------------------------------------------------------------------------

  QUnit.module("repeating", () => {
    const undone = (retryAfter = "2") => ({
      status: 503,
      headers: { "retry-after": retryAfter },
      body: refusal("temporarily_unavailable", "nothing was changed, try again", { reason: "store_unavailable", safe_to_retry: true }),
    });
    const busy = { status: 429, headers: { "retry-after": "3" }, body: "slow down" };

    QUnit.test("what was turned away is repeated after what Retry-After asks for, and a moment", async (assert) => {
      hurry();
      const way = await lane([{ on: TOKEN, ...undone() }, { on: CALL, ...undone() }, { on: CALL, ...busy }]);
      assert.true(saidBy(await listRepos(agent(way.url))).startsWith("acme-corp has"));
      assert.equal((await way.requests(TOKEN)).length, 2);
      assert.equal((await way.requests(CALL)).length, 3);
      const [first, second, third] = waits;
      assert.equal(waits.length, 3);
      assert.true(first >= 2_000 && first <= 2_250, String(first));
      assert.true(second >= 2_000 && second <= 2_250, String(second));
      assert.true(third >= 3_000 && third <= 3_500, String(third));
    });

    QUnit.test("Retry-After may be a date", async (assert) => {
      hurry();
      const begin = Math.floor(now() / 1000) * 1000;
      at(begin);
      const way = await lane([{ on: CALL, ...undone(new Date(begin + 7_000).toUTCString()) }]);
      await listRepos(alice(way.url));
      assert.true(waits[0] >= 7_000 && waits[0] <= 7_250, String(waits[0]));
    });

    QUnit.test("nothing is sent more than three times", async (assert) => {
      hurry();
      const way = await lane([{ on: CALL, times: "always", ...undone() }, { on: LIST, times: "always", cut: true }]);
      const error = await failure(assert, listRepos(alice(way.url)));
      assert.deepEqual([error.status, error.code, error.retryAfter], [503, "temporarily_unavailable", 2]);
      assert.equal((await way.requests(CALL)).length, 3);
      assert.equal((await failure(assert, alice(way.url).listTools("demo"))).code, "network_error");
      assert.equal((await way.requests(LIST)).length, 3);
    });

    QUnit.test("who is asked to wait for long is told so at once", async (assert) => {
      hurry();
      const way = await lane([{ on: CALL, ...undone("21") }]);
      assert.equal((await failure(assert, listRepos(alice(way.url)))).retryAfter, 21);
      assert.deepEqual(waits, []);
      assert.equal((await way.requests(CALL)).length, 1);
    });

    QUnit.test("who is asked to wait for longer than they can is told so at once", async (assert) => {
      hurry();
      for (const [on, refused] of [[CALL, busy], [CALL, undone("3")], [TOKEN, busy], [TOKEN, undone("3")]]) {
        const way = await lane([{ on, ...refused }]);
        const error = await failure(assert, listRepos(agent(way.url), "acme-corp", { timeoutMs: 2_500 }));
        assert.deepEqual([error.status, error.retryAfter], [refused.status, 3]);
        assert.equal((await way.requests(on)).length, 1);
      }
      assert.deepEqual(waits, []);
    });

    QUnit.test("however long the service asks for, nothing is sent before", async (assert) => {
      hurry();
      for (const header of ["4294967296", "9".repeat(300), new Date(now() + 1e12).toUTCString()]) {
        const way = await lane([{ on: CALL, status: 429, headers: { "retry-after": header }, body: "" }]);
        assert.true((await failure(assert, listRepos(alice(way.url)))).retryAfter > 900_000_000, header);
        assert.equal((await way.requests(CALL)).length, 1);
      }
      assert.deepEqual(waits, []);
    });

    QUnit.test("how often and for how long is a client's choice, and each call's", async (assert) => {
      hurry();
      const way = await lane([{ on: LIST, times: "always", ...undone("0") }]);
      const choosy = new AgentClient({ url: way.url, credentials: { apiKey: demo.ALICE_API_KEY }, retries: 1, timeoutMs: 50 });
      const sent = async (options) => {
        const before = (await way.requests(LIST)).length;
        assert.equal((await failure(assert, choosy.listTools("demo", { timeoutMs: 5_000, ...options }))).status, 503);
        return (await way.requests(LIST)).length - before;
      };
      assert.deepEqual([await sent(), await sent({ retries: 0 }), await sent({ retries: 4 })], [2, 1, 5]);
      await way.plans([{ on: LIST, hang: true }]);
      assert.equal((await failure(assert, choosy.listTools("demo"))).detail, "No answer within 50 ms");
    });

    for (const name of ["www-authenticate", "x-amzn-Remapped-WWW-Authenticate"]) {
      QUnit.test(`a 401 says how to get a token: ${name}`, async (assert) => {
        const challenge = 'Bearer realm="deputize", resource_metadata="https://deputize.example/.well-known/x"';
        const way = await lane([
          { on: CALL, times: "always", status: 401, headers: { [name]: challenge }, body: refusal("invalid_token", "…") },
        ]);
        assert.equal((await failure(assert, listRepos(alice(way.url)))).challenge, challenge);
      });
    }

    const DOUBTFUL = {
      "the connection breaks": { cut: true },
      "the answer breaks off": { cutBody: true },
      "the tool was called and its result is withheld": {
        status: 503,
        headers: { "retry-after": "1" },
        body: refusal("temporarily_unavailable", "The tool was called, but …", { safe_to_retry: false }),
      },
      "a 503 does not say whether anything was done": {
        status: 503,
        headers: { "retry-after": "1" },
        body: refusal("temporarily_unavailable", "…"),
      },
      "a 503 is somebody else's": { status: 503, headers: { "retry-after": "1" }, body: "Service Unavailable" },
      "the MCP server failed": { status: 502, body: refusal("upstream_error", "…; the tool may have run") },
      "the MCP server took too long": { status: 504, body: refusal("upstream_timeout", "…; the tool may have run") },
      "the service has a defect": { status: 500, body: refusal("server_error", "Internal error") },
    };
    for (const [what, rule] of Object.entries(DOUBTFUL)) {
      QUnit.test(`a call that may have come to the tool is not sent again: ${what}`, async (assert) => {
        hurry();
        const way = await lane([{ on: CALL, times: "always", ...rule }]);
        const error = await failure(assert, listRepos(alice(way.url)));
        assert.true(error instanceof DeputizeError);
        assert.equal((await way.requests(CALL)).length, 1);
        assert.deepEqual(waits, []);
      });
    }

    QUnit.test("a toggle whose answer is lost is not sent again, what only reads or revokes is", async (assert) => {
      hurry();
      const grants = `/api/v1/agent-accounts/${demo.AGENT_ID}/session-grants`;
      const delegation = "/api/v1/delegations/aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee";
      const way = await lane([
        { on: `POST ${grants}/toggle`, times: "always", cut: true },
        { on: `GET ${grants}`, cut: true },
        { on: `DELETE ${delegation}`, cut: true },
      ]);
      const { sessionGrants, delegations } = alice(way.url);
      assert.equal((await failure(assert, sessionGrants.toggle(demo.AGENT_ID, "demo-oauth"))).code, "network_error");
      assert.equal((await way.requests(`POST ${grants}/toggle`)).length, 1);
      await sessionGrants.list(demo.AGENT_ID);
      assert.equal((await way.requests(`GET ${grants}`)).length, 2);
      assert.equal((await failure(assert, delegations.revoke(delegation.split("/").at(-1)))).status, 404);
      assert.equal((await way.requests(`DELETE ${delegation}`)).length, 2);
    });
  });

  // --- Ending ----------------------------------------------------------------------------------------

  QUnit.module("ending", () => {
    QUnit.test("a call whose signal has ended is not made", async (assert) => {
      const way = await lane();
      const reason = { any: "reason" };
      const signal = AbortSignal.abort(reason);
      const calls = [
        (who) => listRepos(who, "acme-corp", { signal }),
        (who) => who.listTools("demo", { signal }),
        (who) => who.token({ signal }),
        (who) => who.connect("demo", { signal }),
        (who) => who.delegations.list(undefined, { signal }),
        (who) => who.delegations.create(demo.AGENT_ID, { signal }),
        (who) => who.delegations.revoke("id", { signal }),
        (who) => who.sessionGrants.list(demo.AGENT_ID, { signal }),
        (who) => who.sessionGrants.create(demo.AGENT_ID, "demo", { signal }),
        (who) => who.sessionGrants.toggle(demo.AGENT_ID, "demo", { signal }),
        (who) => who.sessionGrants.revoke("id", { signal }),
      ];
      for (const call of calls) assert.equal(await failure(assert, call(agent(way.url))), reason, String(call));
      assert.deepEqual(await way.requests(), []);
    });

    QUnit.test("a call that is under way ends with its signal's reason", async (assert) => {
      const way = await lane([{ on: CALL, hang: true }, { on: LIST, hang: true }]);
      const calls = [
        [CALL, (signal) => listRepos(alice(way.url), "acme-corp", { signal })],
        [LIST, (signal) => alice(way.url).listTools("demo", { signal })],
      ];
      for (const [path, call] of calls) {
        const controller = new AbortController();
        const ended = failure(assert, call(controller.signal));
        await arrived(way, path, 1);
        controller.abort("that will do");
        assert.equal(await ended, "that will do");
      }
    });

    QUnit.test("who stops waiting for a token does not stop the others", async (assert) => {
      const way = await lane();
      const itself = agent(way.url);
      const controller = new AbortController();
      const first = failure(assert, itself.listTools("demo", { signal: controller.signal }));
      const second = itself.listTools("demo");
      controller.abort();
      assert.equal((await first).name, "AbortError");
      assert.equal((await second).length, 2);
      assert.equal((await way.requests(TOKEN)).length, 1);
      assert.equal((await way.requests(LIST)).length, 1, "what was ended is not sent");
    });

    QUnit.test("nothing is repeated after the end", async (assert) => {
      const body = refusal("temporarily_unavailable", "…", { reason: "store_unavailable", safe_to_retry: true });
      const way = await lane([{ on: CALL, times: "always", status: 503, headers: { "retry-after": "1" }, body }]);
      const controller = new AbortController();
      let wake;
      globalThis.setTimeout = (run, millis, ...rest) => {
        if (!isWait(millis)) return timer(run, millis, ...rest);
        wake = run;
        controller.abort();
      };
      const error = await failure(assert, listRepos(alice(way.url), "acme-corp", { signal: controller.signal }));
      assert.equal(error.name, "AbortError");
      wake();
      globalThis.setTimeout = timer;
      await listRepos(alice());
      assert.equal((await way.requests(CALL)).length, 1);
    });

    QUnit.test("a call that takes longer than it may says whether it may have been carried out", async (assert) => {
      const way = await lane([{ on: CALL, hang: true }, { on: LIST, hang: true }]);
      const call = await failure(assert, listRepos(alice(way.url), "acme-corp", { timeoutMs: 50 }));
      assert.deepEqual([call.code, call.detail, call.status], ["timeout", "No answer within 50 ms", undefined]);
      assert.equal(call.hint, "The tool may have run: look before you repeat the call");
      const list = await failure(assert, alice(way.url).listTools("demo", { timeoutMs: 50 }));
      assert.deepEqual([list.code, list.hint], ["timeout", "Try again, or give it longer by timeoutMs"]);
      for (const timeoutMs of [0, -1, NaN, Infinity, "5"]) {
        assert.true((await failure(assert, alice().listTools("demo", { timeoutMs }))) instanceof TypeError);
      }
    });

    QUnit.test("what was not sent has not run", async (assert) => {
      const way = await lane([{ on: TOKEN, hang: true }]);
      const error = await failure(assert, listRepos(agent(way.url), "acme-corp", { timeoutMs: 50 }));
      assert.deepEqual([error.code, error.hint], ["timeout", "Try again, or give it longer by timeoutMs"]);
      assert.deepEqual(await way.requests(CALL), []);
      const silent = new AgentClient({ url: service, credentials: { apiKey: "rl_" }, headers: () => new Promise(() => {}) });
      assert.equal((await failure(assert, listRepos(silent, "acme-corp", { timeoutMs: 50 }))).hint, error.hint);
    });

    QUnit.test("a call may have as much time as there is", async (assert) => {
      for (const timeoutMs of [2 ** 31, 1e15]) assert.true(saidBy(await listRepos(alice(), "acme-corp", { timeoutMs })).startsWith("acme-corp has"));
    });

    QUnit.test("a token function that never answers is given up", async (assert) => {
      let signal;
      const page = client(service, { token: (asked) => ((signal = asked.signal), new Promise(() => {})) });
      globalThis.setTimeout = (run, millis, ...rest) => timer(run, millis === 30_000 ? 20 : millis, ...rest);
      const error = await failure(assert, listRepos(page));
      assert.equal(error.code, "token_function_failed");
      assert.equal(error.cause.code, "timeout");
      assert.true(signal.aborted);
    });
  });

  // --- What comes from the application ----------------------------------------------------------------

  QUnit.module("what comes from the application", () => {
    QUnit.test("a credential with a character that no header may hold is refused, and does not end anything", async (assert) => {
      for (const character of ["\u2026", "\n", "\r\n", "\u200b", "\0", "\ud800"]) {
        const secret = `very-${character}-secret`;
        for (const credentials of [{ apiKey: secret }, { userToken: secret }, { userToken: () => secret }, { token: () => secret }]) {
          const error = await failure(assert, listRepos(client(service, credentials)));
          assert.equal(error.code, "invalid_request");
          assert.false(String(error.stack).includes("secret\n"), "the error does not say it");
          assert.equal(error.cause, undefined);
        }
      }
      assert.equal((await alice().listTools("demo")).length, 2);
    });

    QUnit.test("values of a wrong type are a TypeError each", async (assert) => {
      const who = alice();
      const { delegations, sessionGrants } = who;
      const calls = [
        () => delegations.create(demo.AGENT_ID, { expiresAt: Date.now() }),
        () => delegations.create(demo.AGENT_ID, { expiresAt: new Date(NaN) }),
        () => delegations.create(demo.AGENT_ID, { expiresAt: null }),
        () => delegations.create(demo.AGENT_ID, { serverIds: [1] }),
        () => delegations.create(demo.AGENT_ID, { serverIds: "demo" }),
        () => delegations.create(7),
        () => delegations.list(7),
        () => delegations.revoke({}),
        () => sessionGrants.create(demo.AGENT_ID, "demo", { shared: "yes" }),
        () => sessionGrants.create(demo.AGENT_ID, 5),
        () => sessionGrants.list(demo.AGENT_ID, { serverId: 5 }),
        () => sessionGrants.toggle(demo.AGENT_ID, Symbol("demo")),
        () => who.connect("demo", { scope: 5 }),
        () => who.callTool("demo", ["list_repos"]),
        () => who.callTool("demo", "list_repos", {}, null),
        () => who.callTool("demo", "list_repos", {}, "5"),
        () => who.listTools("demo", { limit: "5" }),
        () => who.listTools("demo", { signal: {} }),
        () => who.listTools("demo", { signal: null }),
        () => who.listTools("demo", { retries: 1.5 }),
        () => who.listTools("demo", { timeoutMs: 5n }),
        () => agent().token({ renew: 5 }),
        () => agent().onBehalfOf({ accessToken: 5 }),
        () => callToolWithProgress(who, "demo", "list_repos", [], {}),
        () => callToolWithProgress(who, "demo", "list_repos", {}, { onProgress: 5 }),
        () => callToolWithProgress({}, "demo", "list_repos"),
        () => me({}),
        () => servers(who, { limit: -1 }),
        () => agentAccount(who, 5),
        () => blobOf({ type: "text", text: "" }),
        () => blobOf({ type: "image", data: "???" }),
      ];
      for (const call of calls) assert.true((await failure(assert, (async () => call())())) instanceof TypeError, String(call));
      for (const options of [{ fetch: "fetch" }, { headers: 5 }, { headers: { "no header": "x" } }, { headers: { a: "b\nc" } }, { timeoutMs: "5" }, { retries: -1 }, { url: {} }, { url: 5 }]) {
        assert.throws(() => new AgentClient({ url: service, credentials: { apiKey: "rl_" }, ...options }), TypeError, JSON.stringify(options));
      }
    });

    QUnit.test("an option that there is not is named", async (assert) => {
      const who = alice();
      const calls = {
        tiemout: () => new AgentClient({ url: service, credentials: { apiKey: "rl_" }, tiemout: 5 }),
        clientSecert: () => client(service, { clientId: "id", clientSecret: "x", clientSecert: "x" }),
        nmae: () => agent().onBehalfOf({ email: "bob@example.com", nmae: "bob" }),
        timeoutMS: () => listRepos(who, "acme-corp", { timeoutMS: 5 }),
        Limit: () => who.listTools("demo", { Limit: 5 }),
        server: () => who.sessionGrants.list(demo.AGENT_ID, { server: "demo" }),
        expires_at: () => who.delegations.create(demo.AGENT_ID, { expires_at: "" }),
        onprogress: () => callToolWithProgress(who, "demo", "list_repos", {}, { onprogress: () => {} }),
      };
      for (const [name, call] of Object.entries(calls)) {
        const error = await failure(assert, (async () => call())());
        assert.true(error instanceof TypeError && error.message.includes(name), `${name}: ${error.message}`);
      }
    });

    QUnit.test("http:// to a private network, and a relative url, are allowed if that is said", async (assert) => {
      const made = (url, options) => new AgentClient({ url, credentials: { apiKey: "rl_" }, ...options });
      const names = ["deputize:8787", "nas.local", "deputize.internal", "x.home.arpa", "10.0.0.1", "192.168.1.20:8787", "172.16.0.1", "172.31.255.1", "169.254.1.1", "100.64.0.1", "[fd00::1]", "[fe80::1]"];
      for (const name of names) {
        assert.throws(() => made(`http://${name}`), /allowPrivateHttp/, name);
        assert.throws(() => made(`http://${name}`, { allowPrivateHttp: 1 }), TypeError, name);
        assert.true(made(`http://${name}/x`, { allowPrivateHttp: true }) instanceof AgentClient, name);
      }
      const open = ["example.com", "local.example.com", "11.0.0.1", "172.32.0.1", "192.169.0.1", "100.128.0.1", "10.0.0.1.example.com", "[2001:db8::1]", "[fc::1]", "[::ffff:10.0.0.1]", "user:pass@deputize"];
      for (const name of open) assert.throws(() => made(`http://${name}`, { allowPrivateHttp: true }), TypeError, name);

      assert.throws(() => made("/deputize"), /base/);
      assert.throws(() => made("/deputize", { base: "http://example.com" }), TypeError);
      const seen = [];
      const fetch = async (url) => (seen.push(url), Response.json({ tools: [] }));
      await made("/deputize/", { base: "https://example.com/app/page?x#y", fetch }).listTools("demo");
      assert.deepEqual(seen, ["https://example.com/deputize/api/v1/proxy/demo/tools"]);
    });

    QUnit.test("what is sent goes by the application's fetch, with its headers, which replace none of the client's", async (assert) => {
      const seen = [];
      const own = async (url, init) => (seen.push([url, init]), fetch(url, init));
      const made = (headers) => new AgentClient({ url: service, credentials: { apiKey: demo.ALICE_API_KEY }, fetch: own, headers });
      assert.equal((await made({ "X-Runlayer-Api-Key": "another", accept: "text/html" }).listTools("demo")).length, 2);
      let calls = 0;
      await listRepos(made(async () => ({ traceparent: `00-${String(++calls).padStart(32, "0")}-${"1".repeat(16)}-01` })));
      const [[, first], [url, second]] = seen;
      assert.deepEqual([first.headers.get("x-runlayer-api-key"), first.headers.get("accept")], [demo.ALICE_API_KEY, "application/json"]);
      assert.deepEqual([url, second.method, second.redirect], [`${service}/api/v1/proxy/demo/tools`, "POST", "manual"]);
      assert.deepEqual(JSON.parse(second.body), { tool_name: "list_repos", arguments: { org: "acme-corp" } });
      assert.equal(second.headers.get("traceparent"), `00-${"1".padStart(32, "0")}-${"1".repeat(16)}-01`);
      const cause = new Error("no span");
      const error = await failure(assert, made(() => { throw cause; }).listTools("demo"));
      assert.deepEqual([error.code, error.cause], ["headers_function_failed", cause]);
    });

    QUnit.test("whatever fetch throws or answers, a call ends with an error", async (assert) => {
      hurry();
      const broken = new ReadableStream({ start: (controller) => controller.error(new Error("broken")) });
      const fetches = {
        network_error: [
          () => { throw new TypeError("no network"); },
          () => Promise.reject("no network"),
          () => Promise.reject(),
          () => Response.error(),
          () => new Response(broken),
          () => new Response(new ReadableStream({ start: (to) => (to.enqueue("a text"), to.close()) })),
          () => ({ get status() { throw new Error("no status"); } }),
          () => ({ status: 200, headers: { get: () => { throw new Error("no header"); } } }),
        ],
        malformed_answer: [
          () => undefined,
          () => null,
          () => "{}",
          () => 7,
          () => ({}),
          () => ({ ok: true, json: async () => ({ tools: [] }) }),
          () => ({ status: "200", headers: new Headers() }),
          () => ({ status: 200, headers: new Map(), body: null }),
          () => ({ status: 7e9, headers: new Headers() }),
          () => new Response("{"),
          () => new Response(null),
        ],
        redirected: [() => ({ status: 302, headers: new Headers() }), () => ({ type: "opaqueredirect", status: 0 })],
      };
      for (const [code, all] of Object.entries(fetches)) {
        for (const fetch of all) {
          const made = (credentials) => new AgentClient({ url: service, credentials, fetch, dangerouslyAllowSecretInBrowser: true });
          for (const credentials of [{ apiKey: "rl_" }, { clientId: "id", clientSecret: "x" }]) {
            const error = await failure(assert, made(credentials).listTools("demo"));
            assert.equal(error.code, code, String(fetch));
            assert.true(error instanceof DeputizeError);
          }
        }
      }
      const silent = new AgentClient({ url: service, credentials: { apiKey: "rl_" }, fetch: () => new Promise(() => {}) });
      assert.equal((await failure(assert, silent.listTools("demo", { timeoutMs: 20 }))).code, "timeout");
      const polyfill = { status: 200, headers: new Headers(), text: async () => '{"tools":[]}' };
      assert.deepEqual(await new AgentClient({ url: service, credentials: { apiKey: "rl_" }, fetch: () => polyfill }).listTools("demo"), []);
      const stubbed = globalThis.fetch;
      globalThis.fetch = () => { throw new Error("stubbed"); };
      try {
        assert.equal((await failure(assert, alice().listTools("demo"))).code, "network_error");
      } finally {
        globalThis.fetch = stubbed;
      }
    });
  });

  // --- Extras -----------------------------------------------------------------------------------------

  QUnit.module("extras", () => {
    QUnit.test("who the user is, and which servers and agents there are", async (assert) => {
      const user = await me(alice());
      const { createdAt, updatedAt, ...rest } = user;
      assert.false(Number.isNaN(Date.parse(createdAt)) || Number.isNaN(Date.parse(updatedAt)));
      assert.deepEqual(Object.keys(rest), ["id", "email", "name", "role", "active", "groups"]);
      assert.deepEqual([user.id, user.email, user.role, user.active], [demo.USER_ID, "alice@example.com", "admin", true]);

      const way = await lane([], 1);
      const found = await servers(alice(way.url));
      assert.deepEqual(found.map(({ id, auth }) => [id, auth]), [["demo", "none"], ["demo-oauth", "oauth"], ["modern", "none"]]);
      assert.deepEqual(Object.keys(found[0]), ["id", "name", "url", "auth", "headerName", "pinning", "active", "createdAt", "updatedAt"]);
      assert.true((await way.requests("GET /api/v1/servers")).length >= 3, "a page at a time");
      assert.equal((await servers(alice(), { limit: 1 })).length, 1);

      const [account] = await agentAccounts(alice());
      assert.deepEqual(Object.keys(account), ["id", "name", "active", "disabledBy", "ownerUserId", "groups", "allowedOrigins", "sharedGrants", "createdAt", "updatedAt"]);
      assert.deepEqual(await agentAccount(alice(), demo.AGENT_ID), account);
      assert.deepEqual(await agentAccount(carol(), demo.AGENT_ID), { id: demo.AGENT_ID, name: account.name, active: true });
      assert.equal((await failure(assert, agentAccount(carol(), "../me"))).status, 404);
      const refused = await failure(assert, me(agent()));
      assert.deepEqual([refused.status, refused.requestId.length], [403, 36]);
      for (const body of ["", "null", "[1]", "{}", '{"id":7}']) {
        const lanes = await lane([{ on: "GET /api/v1/me", body }, { on: "GET /api/v1/servers", body }]);
        assert.equal((await failure(assert, me(alice(lanes.url)))).code, "malformed_answer", body);
        assert.equal((await failure(assert, servers(alice(lanes.url)))).code, "malformed_answer", body);
      }
    });

    QUnit.test("a tool says how far it is, to a function and to a loop", async (assert) => {
      const heard = [];
      const call = callToolWithProgress(alice(), "modern", "slow", { steps: 3 }, { onProgress: (progress) => heard.push(progress) });
      const said = [];
      for await (const each of call) said.push(each);
      const steps = [1, 2, 3].map((progress) => ({ progress, total: 3 }));
      assert.deepEqual(heard, steps);
      const result = await call;
      assert.equal(saidBy(result), "took 3 steps");
      assert.deepEqual(said, [...steps.map((step) => ({ type: "progress", ...step })), { type: "result", result }]);
      const bob = agent().onBehalfOf({ userId: demo.BOB_ID });
      assert.true(saidBy(await callToolWithProgress(bob, "demo", "list_repos", { org: "acme-corp" })).startsWith("acme-corp has"));
      // A tool with parameters as headers, which the service adds.
      const query = await callToolWithProgress(alice(), "modern", "query", { region: "eu", sql: "select 1" });
      assert.equal(JSON.parse(saidBy(query)).region, "eu");
      const failed = await callToolWithProgress(alice(), "modern", "fail");
      assert.true(failed.isError);
    });

    QUnit.test("a call that says how far it is fails as any other", async (assert) => {
      const bob = agent().onBehalfOf({ userId: demo.BOB_ID });
      const args = { org: "acme-corp", repo: "website" };
      const [ours, other] = await Promise.all([
        failure(assert, callToolWithProgress(bob, "demo", "delete_repo", args)),
        failure(assert, bob.callTool("demo", "delete_repo", args)),
      ]);
      assert.true(ours instanceof DeputizeError);
      assert.deepEqual({ ...ours.toJSON(), requestId: 0 }, { ...other.toJSON(), requestId: 0 });
      assert.notEqual(ours.requestId, other.requestId);
      assert.equal((await failure(assert, callToolWithProgress(alice(), "nowhere", "x"))).status, 404);
      const unknown = await failure(assert, callToolWithProgress(alice(), "modern", "no such tool"));
      assert.true(unknown instanceof DeputizeError, unknown.message);
      const controller = new AbortController();
      const slow = callToolWithProgress(alice(), "modern", "slow", { steps: 1000 }, { signal: controller.signal });
      for await (const _ of slow) {
        controller.abort("that will do");
        break;
      }
      assert.equal(await failure(assert, slow), "that will do");
      const cause = new Error("no bar");
      const broken = callToolWithProgress(alice(), "modern", "slow", { steps: 2 }, { onProgress: () => { throw cause; } });
      assert.equal(await failure(assert, broken), cause);
    });

    QUnit.test("events are read as they are cut, and what is none is an error", async (assert) => {
      const streamed = (...pieces) => {
        const body = new ReadableStream({ start: (to) => (pieces.forEach((piece) => to.enqueue(new TextEncoder().encode(piece))), to.close()) });
        const fetch = async () => new Response(body, { headers: { "content-type": "text/event-stream; charset=utf-8" } });
        return new AgentClient({ url: service, credentials: { apiKey: "rl_" }, fetch });
      };
      const message = (method, params) => JSON.stringify({ jsonrpc: "2.0", method, params });
      const log = (level) => `event: message\r\ndata: ${message("notifications/message", { level, data: "é" })}\r\n\r\n`;
      const end = `:\n\ndata: {"jsonrpc":"2.0","id":"1",\ndata:"result":{"content":[]}}\n\n`;
      const text = `${log("debug")}${log("error")}data: ${message("notifications/progress", { progress: 1, progressToken: "1" })}\n\ndata:\n\n${end}`;
      for (const size of [1, 2, 3, 7, 10_000]) {
        const pieces = text.match(new RegExp(`[^]{1,${size}}`, "g"));
        const logs = [];
        const said = [];
        for await (const each of callToolWithProgress(streamed(...pieces), "demo", "x", {}, { onLog: (log) => logs.push(log), logLevel: "notice" })) said.push(each.type);
        assert.deepEqual([logs, said], [[{ level: "error", data: "é" }], ["log", "progress", "result"]], String(size));
      }
      const lines = `data: {"id":"1","result":{"content":[\n${"data:\n".repeat(300_000)}data: ]}}\n\n`;
      assert.deepEqual(await callToolWithProgress(streamed(...lines.match(/[^]{1,4096}/g)), "demo", "x"), { content: [] });
      for (const none of ["", "data: {\n\n", "data: null\n\n", log("error"), 'data: {"id":"1","result":{}}\n\n', `data: {"id":"1","result":7}\n\n`]) {
        const error = await failure(assert, callToolWithProgress(streamed(none), "demo", "x"));
        assert.deepEqual([error.code, error.hint.endsWith("may have run")], ["malformed_answer", true], none);
      }
      const theirs = await failure(assert, callToolWithProgress(streamed('data: {"id":"1","error":{"code":-32602,"message":"Unknown tool"}}\n\n'), "demo", "x"));
      assert.deepEqual([theirs.code, theirs.detail], ["upstream_refused", "The MCP server refused the call: Unknown tool"]);
    });

    QUnit.test("images, audio and resources have bytes", async (assert) => {
      const pieces = [
        [{ type: "image", data: "AAEC/w==", mimeType: "image/png" }, "image/png"],
        [{ type: "audio", data: "AAEC/w==", mimeType: "audio/wav" }, "audio/wav"],
        [{ type: "resource", resource: { uri: "x:", blob: "AAEC/w==", mimeType: "image/gif" } }, "image/gif"],
        [{ type: "resource", resource: { uri: "x:", blob: "AAEC/w==" } }, ""],
      ];
      for (const [piece, type] of pieces) {
        const blob = blobOf(piece);
        assert.deepEqual([blob.type, [...new Uint8Array(await blob.arrayBuffer())]], [type, [0, 1, 2, 255]]);
      }
    });
  });

  // --- Making a client -------------------------------------------------------------------------------

  QUnit.module("making a client", () => {
    const secret = { clientId: "id", clientSecret: "hush" };

    QUnit.test("the address is https, or of this machine", (assert) => {
      const urls = ["https://example.com", "https://example.com/deputize/", "http://localhost:1", "http://127.0.0.1", "http://[::1]:8", new URL("https://example.com")];
      for (const url of urls) assert.true(client(url, { apiKey: "rl_" }) instanceof AgentClient);
      const no = ["http://example.com", "http://127.0.0.1.example.com", "ftp://localhost", "example.com", "", undefined, "https://user:pass@example.com", "https://example.com?x", "https://example.com#x"];
      for (const url of no) assert.throws(() => client(url, { apiKey: "rl_" }), TypeError, String(url));
    });

    QUnit.test("credentials are of one kind, and complete", async (assert) => {
      const pair = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, false, ["sign", "verify"]);
      const no = [
        undefined,
        null,
        {},
        { apiKey: "" },
        { apiKey: undefined },
        { apiKey: "rl_", userToken: "x" },
        { clientId: "id" },
        { clientId: "id", clientSecret: undefined },
        { clientId: "id", clientSecret: "" },
        { clientId: "", clientSecret: "x" },
        { ...secret, privateKey: pair.privateKey },
        { clientId: "id", privateKey: pair.publicKey },
        { clientId: "id", privateKey: "-----BEGIN PRIVATE KEY-----" },
        { clientId: "id", privateKey: pair.privateKey, keyId: "" },
        { userToken: 7 },
        { token: "a.b.c" },
      ];
      for (const credentials of no) assert.throws(() => client(service, credentials), TypeError);
      assert.throws(() => new AgentClient(), TypeError);
    });

    QUnit.test("an agent's secret or key in a page is refused, unless that is meant", async (assert) => {
      const { privateKey } = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, false, ["sign", "verify"]);
      const isPage = typeof document === "object";
      // In other runtimes, this makes it look like a page.
      if (!isPage) globalThis.document = {};
      try {
        for (const credentials of [secret, { clientId: "id", privateKey }]) {
          assert.throws(
            () => new AgentClient({ url: service, credentials }),
            (error) => error instanceof DeputizeError && error.code === "secret_in_browser" && !error.message.includes("hush"),
          );
          assert.throws(() => new AgentClient({ url: service, credentials, dangerouslyAllowSecretInBrowser: 1 }), DeputizeError);
          assert.true(new AgentClient({ url: service, credentials, dangerouslyAllowSecretInBrowser: true }) instanceof AgentClient);
        }
        const others = [{ userToken: "a.b.c" }, { apiKey: "rl_" }, { token: () => "a.b.c" }];
        for (const credentials of others) assert.true(new AgentClient({ url: service, credentials }) instanceof AgentClient);
      } finally {
        if (!isPage) delete globalThis.document;
      }
      if (!isPage) assert.true(new AgentClient({ url: service, credentials: secret }) instanceof AgentClient);
    });

    QUnit.test("a client shows nothing of its credentials", (assert) => {
      const shown = agent();
      assert.false(JSON.stringify(shown).includes(demo.CLIENT_SECRET));
      const all = [shown, shown.delegations, shown.sessionGrants].flatMap((object) => Reflect.ownKeys(object).map((key) => object[key]));
      assert.false(all.some((value) => value === demo.CLIENT_SECRET));
    });

    QUnit.test("the package gives three things", (assert) => {
      assert.deepEqual(Object.keys(deputize).sort(), ["AgentClient", "DeputizeError", "setModule"]);
    });
  });

  // Nothing of the user's comes back when they do, so no test that needs it comes after this.
  QUnit.module("the row of a user who is deactivated", () => {
    QUnit.test("403 Delegator user is deactivated", async (assert) => {
      const carol = `/api/v1/users/${demo.CAROL_ID}`;
      const hint = "Contact an admin to reactivate the user";
      const known = agent().onBehalfOf({ userId: demo.CAROL_ID });
      await known.token();
      await administer("PATCH", carol, { active: false });
      try {
        const unknown = agent().onBehalfOf({ userId: demo.CAROL_ID });
        const detail = "invalid_grant: Delegator user is deactivated";
        await row(assert, unknown.token(), 403, "invalid_grant", detail, hint);
        await row(assert, listRepos(known), 403, "access_denied", "Delegator user is deactivated", hint);
      } finally {
        await administer("PATCH", carol, { active: true });
      }
    });
  });

  QUnit.module("at the end", () => {
    QUnit.test("no secret is in any error that was thrown, or was printed", (assert) => {
      const words = (error, depth = 0) => {
        if (depth > 3 || (typeof error !== "object" && typeof error !== "function") || error === null) return String(error);
        const own = Reflect.ownKeys(error).map((key) => `${String(key)}: ${words(error[key], depth + 1)}`);
        return [String(error), ...own].join("\n");
      };
      assert.true(thrown.length > 80, `${thrown.length} errors`);
      assert.true(secrets.size > 20, `${secrets.size} secrets`);
      const all = thrown.map((error) => words(error)).concat(printed);
      for (const secret of secrets) {
        assert.false(all.some((text) => text.includes(secret)), `${secret.slice(0, 4)}…`);
      }
    });
  });
}

/** Runs the suite. `report` gets each test when it ends, and finally the totals. */
export function run(told, report) {
  return new Promise((resolve) => {
    QUnit.config.autostart = false;
    QUnit.config.reorder = false;
    QUnit.config.testTimeout = 60_000;
    QUnit.on("testEnd", ({ fullName, status, runtime, errors }) => {
      const why = errors.map(({ message, expected, actual, stack }) =>
        [message, `expected ${JSON.stringify(expected)}`, `actual ${JSON.stringify(actual)}`, stack].join("\n"),
      );
      report({ name: fullName.join(" > "), status, millis: Math.round(runtime), why });
    });
    QUnit.on("runEnd", ({ testCounts }) => resolve(testCounts));
    suite(told);
    QUnit.start();
  });
}
