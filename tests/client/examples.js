// The examples of wasm-client/examples, with the package as npm installs it: the page in Chromium, the script in
// Node, the worker in workerd. SCREENSHOTS names a folder for pictures of the page.

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { createPrivateKey, randomUUID, sign } from "node:crypto";
import { cpSync, readFileSync, symlinkSync } from "node:fs";
import { createServer, request as send } from "node:http";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { here, launch, work } from "./runtimes.js";

const folder = resolve(here, "../../wasm-client/examples");

export async function examples(app, service, report) {
  for (const name of ["page", "node", "worker"]) {
    const isOurs = (path) => !path.includes("node_modules");
    cpSync(join(folder, name), join(app, name), { recursive: true, filter: (path) => isOurs(path.slice(folder.length)) });
    symlinkSync("../node_modules", join(app, name, "node_modules"));
  }
  // The service must know the page's origin, and the page the service's address.
  const port = await freePort();
  const origin = `http://127.0.0.1:${port}`;
  const { demo, data, stop } = await service(origin);
  const stopPage = await servePage(join(app, "page"), port, demo.RUNLAYER_URL);
  const browser = await launch();
  const worker = await exampleWorker(join(app, "worker"), demo);
  const people = peopleOf(demo, data);
  const tests = {
    ...pageTests({ browser, origin, demo, people }),
    ...nodeTests(join(app, "node"), demo),
    ...workerTests({ worker, browser, demo, people, origin, another: (bindings) => exampleWorker(join(app, "worker"), demo, bindings) }),
  };
  for (const [name, test] of Object.entries(tests)) {
    const began = Date.now();
    const why = await Promise.resolve().then(test).then(() => undefined, (error) => [String(error?.stack ?? error)]);
    report({ name, status: why ? "failed" : "passed", millis: Date.now() - began, why });
  }
  await worker.dispose();
  await browser.close();
  stopPage();
  stop();
}

async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function servePage(cwd, port, url) {
  const env = { ...process.env, PORT: String(port), DEPUTIZE_URL: url };
  const child = spawn(process.execPath, ["serve.js"], { cwd, env, stdio: ["ignore", "pipe", "inherit"] });
  process.on("exit", () => child.kill());
  for await (const line of createInterface({ input: child.stdout })) if (line.startsWith("listening on ")) break;
  return () => child.kill();
}

/** The users: JWTs of the demo's issuer for any address, and an expired one. */
function peopleOf(demo, data) {
  const issue = async (email) => {
    const body = new URLSearchParams({ email, password: demo.DEMO_PASSWORD });
    return (await (await fetch(`${demo.DEMO_ISSUER}/token`, { method: "POST", body })).json()).access_token;
  };
  const expired = async (email) => {
    const [header, claims] = (await issue(email)).split(".");
    const past = { ...JSON.parse(Buffer.from(claims, "base64url")), iat: 1_700_000_000, exp: 1_700_003_600 };
    const signed = `${header}.${Buffer.from(JSON.stringify(past)).toString("base64url")}`;
    const key = createPrivateKey({ key: readFileSync(join(data, "demo-issuer.key")), format: "der", type: "pkcs8" });
    return `${signed}.${sign("sha256", Buffer.from(signed), { key, dsaEncoding: "ieee-p1363" }).toString("base64url")}`;
  };
  /** An address that was never seen before. */
  const stranger = () => `${randomUUID().slice(0, 8)}@example.com`;
  return { issue, expired, stranger };
}

/** A request to the service without the examples. */
async function asked(demo, credential, method, path, body) {
  const headers = credential.startsWith("rl_") ? { "x-runlayer-api-key": credential } : { authorization: `Bearer ${credential}` };
  if (body) headers["content-type"] = "application/json";
  const answer = await fetch(demo.RUNLAYER_URL + path, { method, headers, body: body && JSON.stringify(body) });
  assert.ok(answer.ok, `${method} ${path}: ${answer.status}`);
  return answer.status === 204 ? undefined : answer.json();
}

// --- The page ------------------------------------------------------------------------------------------

function pageTests({ browser, origin, demo, people }) {
  const tests = {};

  /** A test with its own browser. Nothing may be blocked or thrown, and no request may go to another address. */
  const test = (name, run) => {
    tests[`page > ${name}`] = async () => {
      const context = await browser.newContext({ viewport: { width: 1120, height: 760 }, colorScheme: "light" });
      context.setDefaultTimeout(15_000);
      try {
        const page = await context.newPage();
        const complaints = [];
        const sent = [];
        page.on("pageerror", (error) => complaints.push(error.message));
        // The console also shows the service's refusals. These are not errors of the page.
        page.on("console", (message) => {
          if (message.type() === "error" && !message.text().startsWith("Failed to load resource")) complaints.push(message.text());
        });
        context.on("request", (request) => sent.push(request));
        await page.goto(origin);
        await run(new Shown(page, sent, context));
        assert.deepEqual(complaints, []);
      } finally {
        await context.close();
      }
    };
  };

  class Shown {
    constructor(page, sent, context) {
      Object.assign(this, { page, sent, context });
    }
    async signIn(secret, kind) {
      if (kind) await this.page.getByLabel(kind).check();
      await this.page.locator("#secret").fill(secret);
      await this.page.keyboard.press("Enter");
    }
    async signedIn(secret, kind) {
      await this.signIn(secret, kind);
      await this.page.getByRole("heading", { name: "Who acts for you" }).waitFor();
      await this.page.locator("#delegations:not([aria-busy])").waitFor();
      await this.page.locator("#tools [aria-busy]").waitFor({ state: "detached" });
    }
    button(name) {
      return this.page.getByRole("button", { name, exact: true });
    }
    argument(name) {
      return this.page.locator("#tools form").getByLabel(name);
    }
    /** The error shown at a place, line by line. */
    async problem(place) {
      const shown = this.page.locator(`${place} .problem`);
      await shown.waitFor();
      const [what, ...hints] = await shown.locator(".what, .hint").allInnerTexts();
      return { what, hints, facts: (await shown.locator(".facts").allInnerTexts()).join("") };
    }
    async screenshot(name) {
      if (process.env.SCREENSHOTS) await this.page.screenshot({ path: join(process.env.SCREENSHOTS, `${name}.png`), fullPage: true });
    }
  }

  test("who pastes nothing is told what to paste", async (shown) => {
    await shown.signIn("");
    const { what } = await shown.problem("#sign-in-problem");
    assert.equal(what, "Paste your user token first");
    assert.equal(await shown.page.evaluate(() => document.activeElement.id), "secret");
    await shown.screenshot("sign-in");
  });

  test("a token that has expired, or is none, is refused where it was pasted, with what to do", async (shown) => {
    await shown.signIn(await people.expired("bob@example.com"));
    const expired = await shown.problem("#sign-in-problem");
    assert.equal(expired.what, "User token refused: the token has expired");
    assert.equal(expired.hints.length, 1);
    assert.match(expired.facts, /^401 invalid_token\s+request [0-9a-f-]{36}/);
    await shown.screenshot("expired");
    await shown.signIn("no.such.token");
    await shown.page.getByText("the token is malformed").waitFor();
    assert.ok(await shown.page.locator("#signed-in").isHidden());
  });

  test("somebody new delegates to an agent, at one server and until a day, and takes it back", async (shown) => {
    const token = await people.issue(people.stranger());
    await shown.signedIn(token);
    await shown.page.getByText("Nobody acts for you.").waitFor();
    await shown.page.getByLabel("Agent account").fill(demo.AGENT_ID);
    await shown.page.getByLabel("Demo repositories").check();
    await shown.page.getByLabel("Until (optional)").fill("2099-01-31T12:00");
    await shown.button("Delegate").click();
    const row = shown.page.locator("#delegations .rows:not(.past) > li");
    await row.waitFor();
    assert.match(await row.innerText(), /^Support Bot\nDemo repositories · until .*2099/);
    const [made] = await asked(demo, token, "GET", "/api/v1/delegations");
    assert.deepEqual([made.server_ids, made.is_active], [["demo"], true]);

    await shown.button("Revoke Support Bot").click();
    await shown.button("Keep it").click();
    assert.equal((await asked(demo, token, "GET", "/api/v1/delegations"))[0].is_active, true);
    await shown.button("Revoke Support Bot").click();
    await shown.button("Revoke").click();
    await shown.page.getByText("Ended (1)").waitFor();
    await shown.page.getByText("Nobody acts for you.").waitFor();
    assert.equal((await asked(demo, token, "GET", "/api/v1/delegations"))[0].is_active, false);
  });

  test("an agent that does not exist is refused where it was named", async (shown) => {
    await shown.signedIn(await people.issue(people.stranger()));
    await shown.page.getByLabel("Agent account").fill(randomUUID());
    await shown.button("Delegate").click();
    const { what, facts } = await shown.problem("#delegations");
    assert.equal(what, "No such agent account");
    assert.match(facts, /^404 not_found/);
  });

  test("a session is lent, shared by the keyboard alone, and taken back", async (shown) => {
    const grants = async () => {
      const all = await asked(demo, demo.CAROL_API_KEY, "GET", `/api/v1/agent-accounts/${demo.AGENT_ID}/session-grants`);
      return all.filter((grant) => grant.is_active).map(({ server_id, shared }) => [server_id, shared]);
    };
    await shown.signedIn(demo.CAROL_API_KEY, "an API key");
    const what = "Demo chat (OAuth) for Support Bot";
    await shown.button(`Lend my session at ${what}`).press("Enter");
    const toggle = shown.page.getByRole("switch", { name: `Share ${what}` });
    await toggle.waitFor();
    assert.equal(await toggle.getAttribute("aria-checked"), "false");
    assert.deepEqual(await grants(), [["demo-oauth", false]]);

    await toggle.press("Space");
    await shown.page.getByRole("switch", { checked: true }).waitFor();
    assert.deepEqual(await grants(), [["demo-oauth", true]]);
    // After toggling by keyboard, the focus stays at the toggle, although the list was made again.
    assert.equal(await shown.page.evaluate(() => document.activeElement.getAttribute("aria-label")), `Share ${what}`);
    await shown.page.keyboard.press("Space");
    await shown.page.getByRole("switch", { checked: false }).waitFor();
    assert.deepEqual(await grants(), [["demo-oauth", false]]);

    await shown.button(`Revoke ${what}`).click();
    await shown.button("Revoke").click();
    await shown.button(`Lend my session at ${what}`).waitFor();
    assert.deepEqual(await grants(), []);
  });

  test("a tool is called by its form, and with JSON", async (shown) => {
    await shown.signedIn(await people.issue("alice@example.com"));
    await shown.page.getByLabel("Tool", { exact: true }).selectOption({ label: "list_repos" });
    // The browser asks for a required field; nothing is sent.
    await shown.button("Call").click();
    assert.equal(await shown.page.evaluate(() => document.activeElement.id), "argument-org");
    await shown.argument("org").fill("acme-corp");
    await shown.page.keyboard.press("Enter");
    await shown.page.getByText("acme-corp has 5 repositories").waitFor();
    await shown.screenshot("light");
    await shown.page.emulateMedia({ colorScheme: "dark" });
    await shown.screenshot("dark");

    await shown.button("Write JSON").click();
    const json = shown.page.getByLabel("Arguments as JSON");
    assert.deepEqual(JSON.parse(await json.inputValue()), { org: "acme-corp" });
    await json.fill('{"org": ');
    await shown.button("Call").click();
    assert.match((await shown.problem(".outcome")).what, /^This is not JSON: /);
    await json.fill('{"org": "acme-corp"}');
    await shown.button("Call").click();
    await shown.page.getByText("acme-corp has 5 repositories").waitFor();
  });

  test("where nobody is connected the error says so, and leads to where to sign in", async (shown) => {
    await shown.signedIn(await people.issue("bob@example.com"));
    await shown.page.getByLabel("Server", { exact: true }).selectOption("demo-oauth");
    const { what, hints, facts } = await shown.problem("#tools");
    assert.equal(what, "OAuth session not found");
    assert.equal(hints.length, 1);
    assert.match(facts, /^401 session_not_found\s+request [0-9a-f-]{36}/);
    await shown.page.locator("#tools").getByRole("button", { name: "Connect to Demo chat (OAuth)" }).click();
    const link = shown.page.getByRole("link", { name: /^Sign in at / });
    await link.waitFor();
    assert.ok((await link.getAttribute("href")).startsWith(`${demo.RUNLAYER_URL}/demo/`));
    await shown.button("Lend my session at Demo chat (OAuth) for Support Bot").click();
    assert.match((await shown.problem("#grants")).what, /^You have no OAuth session for this server/);
    await shown.screenshot("errors");
    await shown.page.setViewportSize({ width: 360, height: 700 });
    assert.equal(await shown.page.evaluate(() => document.documentElement.scrollWidth), 360);
    await shown.screenshot("narrow");
  });

  test("a call that the policies forbid is refused with what to do and the request's id in the trail", async (shown) => {
    await shown.signedIn(await people.issue("alice@example.com"));
    await shown.page.getByLabel("Tool", { exact: true }).selectOption({ label: "delete_repo" });
    const policy = await asked(demo, demo.ALICE_API_KEY, "POST", "/api/v1/policies", {
      name: "nobody deletes",
      text: 'forbid(principal, action == Action::"call_tool", resource == Tool::"demo/delete_repo");',
    });
    try {
      await shown.argument("org").fill("acme-corp");
      await shown.argument("repo").fill("website");
      await shown.button("Call").click();
      const { what, hints, facts } = await shown.problem(".outcome");
      assert.equal(what, "Policy denied");
      assert.match(hints[0], /policies/);
      assert.match(hints[1], /^Denied for the user: /);
      const [, requestId] = facts.match(/^403 access_denied\s+request ([0-9a-f-]{36})/);
      const trail = await asked(demo, demo.ALICE_API_KEY, "GET", "/api/v1/audit-events?limit=5");
      assert.ok(trail.some((event) => event.request_id === requestId));
    } finally {
      await asked(demo, demo.ALICE_API_KEY, "DELETE", `/api/v1/policies/${policy.id}`);
    }
  });

  test("who signs in after somebody else sees and sends their own alone", async (shown) => {
    const [alice, bob] = [await people.issue("alice@example.com"), await people.issue("bob@example.com")];
    await shown.signedIn(alice);
    await shown.page.getByText("alice@example.com").waitFor();
    await shown.button("Sign out").click();
    assert.ok(!(await shown.page.innerText("body")).includes("Support Bot"));
    shown.sent.length = 0;
    await shown.signedIn(bob);
    await shown.page.getByText("bob@example.com").waitFor();
    // A tool that only an admin may call is not offered.
    assert.deepEqual(await shown.page.getByLabel("Tool", { exact: true }).locator("option").allInnerTexts(), ["list_repos"]);
    const headers = await Promise.all(shown.sent.map((request) => request.allHeaders()));
    const credentials = new Set(headers.map(({ authorization }) => authorization).filter(Boolean));
    assert.deepEqual([...credentials], [`Bearer ${bob}`]);
  });

  test("the credential is in no address, storage or markup, and goes to the service alone", async (shown) => {
    const token = await people.issue("alice@example.com");
    await shown.signedIn(token);
    const { page, sent } = shown;
    const kept = await page.evaluate(async () =>
      JSON.stringify([location.href, { ...localStorage }, { ...sessionStorage }, document.cookie, await indexedDB.databases(), await caches.keys(), document.documentElement.outerHTML, document.getElementById("secret").value]),
    );
    assert.ok(!kept.includes(token));
    const hosts = new Set(sent.map((request) => new URL(request.url()).origin));
    assert.deepEqual([...hosts].sort(), [origin, demo.RUNLAYER_URL].sort());
    for (const request of sent) {
      assert.ok(!request.url().includes(token));
      if (request.url().startsWith(origin)) assert.equal((await request.allHeaders()).authorization, undefined);
    }
    await page.reload();
    assert.ok(await page.locator("#sign-in").isVisible());
  });

  test("what a server says is text and never markup", async (shown) => {
    const tool = { name: "evil", description: '<img src=x onerror="document.title = 1">', inputSchema: { type: "object", properties: { "<b>x</b>": { type: "string" } } } };
    await shown.context.route("**/api/v1/proxy/demo/tools", (route) =>
      route.fulfill({ json: { tools: [tool] }, headers: { "access-control-allow-origin": origin } }),
    );
    await shown.signedIn(await people.issue("bob@example.com"));
    await shown.page.getByText(tool.description).waitFor();
    assert.equal(await shown.page.locator("#tools img, #tools b").count(), 0);
  });

  test("an image that a tool draws is shown, and one that is none does no harm", async (shown) => {
    const pixel = "R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7";
    const content = [{ type: "image", mimeType: "image/gif", data: pixel }, { type: "text", text: "a pixel" }];
    const cors = { "access-control-allow-origin": origin };
    await shown.context.route("**/api/v1/proxy/demo/tools", (route) => {
      const json = route.request().method() === "GET" ? { tools: [{ name: "draw", inputSchema: { type: "object" } }] } : { content };
      return route.fulfill({ json, headers: cors });
    });
    await shown.signedIn(await people.issue("bob@example.com"));
    await shown.button("Call").click();
    await shown.page.getByText("a pixel").waitFor();
    await shown.page.waitForFunction(() => document.querySelector(".result img").naturalWidth === 1);
    content[0].data = "???";
    await shown.button("Call").click();
    assert.equal((await shown.problem(".outcome")).what, "The data is no base64");
  });

  test("every control has a name, and each kind of argument a field of its kind", async (shown) => {
    const properties = {
      text: { type: "string", default: "as it was" },
      count: { type: "integer", minimum: 1 },
      loud: { type: "boolean" },
      colour: { enum: ["red", 7], title: "Colour" },
      tags: { type: "array", items: { type: "string" } },
    };
    const tool = { name: "many", inputSchema: { type: "object", properties, required: ["count", "loud"] } };
    const cors = { "access-control-allow-origin": origin };
    let call;
    await shown.context.route("**/api/v1/proxy/demo/tools", (route) => {
      if (route.request().method() === "GET") return route.fulfill({ json: { tools: [tool] }, headers: cors });
      call = route.request().postDataJSON();
      return route.fulfill({ json: { content: [{ type: "text", text: "It went wrong" }], isError: true }, headers: cors });
    });
    await shown.signedIn(await people.issue("bob@example.com"));
    const { page } = shown;
    await shown.argument("count").fill("3");
    await shown.argument("Colour").selectOption({ label: "7" });
    await shown.argument("tags").fill('["a", "b"]');
    await shown.button("Call").click();
    await page.locator(".result").getByText("the tool failed").waitFor();
    assert.deepEqual(call, { tool_name: "many", arguments: { text: "as it was", count: 3, loud: false, colour: 7, tags: ["a", "b"] } });
    const nameless = await page.evaluate(() =>
      [...document.querySelectorAll("input, select, textarea, button, a")]
        .filter((each) => !(each.labels?.length || each.getAttribute("aria-label") || each.textContent.trim()))
        .map((each) => each.outerHTML),
    );
    assert.deepEqual(nameless, []);
  });

  return tests;
}

// --- The script ----------------------------------------------------------------------------------------

function nodeTests(cwd, demo) {
  const settings = ({ RUNLAYER_URL, CLIENT_ID, CLIENT_SECRET, SERVER_ID }) => ({ RUNLAYER_URL, CLIENT_ID, CLIENT_SECRET, SERVER_ID });
  const run = (args, environment = {}) => {
    const env = { PATH: process.env.PATH, ...settings(demo), ...environment };
    return new Promise((resolve) =>
      execFile(process.execPath, ["agent.js", ...args], { cwd, env }, (error, out, err) => resolve({ status: error?.code ?? 0, out, err })),
    );
  };
  const requestId = /request [0-9a-f-]{36}/;

  return {
    "node > an agent lists and calls what it may for a user": async () => {
      for (const user of ["bob@example.com", demo.BOB_ID]) {
        const { status, out, err } = await run([user]);
        assert.deepEqual([status, err], [0, ""]);
        assert.equal(
          out,
          `May act for ${user} for 60 minutes (tools:call)\nMay call at demo: list_repos\n` +
            "acme-corp has 5 repositories: billing-api, handbook, infrastructure, mobile-app, website\n",
        );
      }
    },

    "node > what the user may not, it is told it may not, with what to do": async () => {
      const { status, err } = await run(["bob@example.com", "delete_repo", '{"org": "acme-corp", "repo": "website"}']);
      assert.equal(status, 1);
      const [what, hint, facts] = err.split("\n");
      assert.equal(what, "Policy denied (for the user: a policy forbids it)");
      assert.equal(hint, "→ Review the agent account's and the user's policies");
      assert.match(facts, new RegExp(`^  403 access_denied, ${requestId.source}$`));
    },

    "node > every mistake is told in words, without a stack and without the secret": async () => {
      const mistakes = [
        [[], {}, /^usage: /],
        [["bob@example.com"], { CLIENT_SECRET: "" }, /^The environment lacks CLIENT_SECRET/],
        [["bob@example.com", "list_repos", "{"], {}, /^ARGUMENTS are not JSON: /],
        [["bob@example.com", "list_repos", "[]"], {}, /^args must be an object/],
        [["nobody@example.com"], {}, /^invalid_grant: No valid delegation\n→ The user must delegate/],
        [["bob"], {}, /^invalid_grant: actor_token must be a valid UUID\n→ /],
        [["bob@example.com"], { CLIENT_SECRET: `${demo.CLIENT_SECRET}x` }, /^invalid_client: Client authentication failed\n→ Verify/],
        [["bob@example.com"], { RUNLAYER_URL: "http://127.0.0.1:9" }, /could not be reached/],
        [["bob@example.com"], { SERVER_ID: "nowhere" }, /^No such server/],
      ];
      for (const [args, environment, expected] of mistakes) {
        const { status, out, err } = await run(args, environment);
        assert.equal(status, 1, err);
        assert.match(err, expected);
        assert.ok(!/^ {4}at /m.test(err), err);
        assert.ok(!(out + err).includes(demo.CLIENT_SECRET));
      }
    },
  };
}

// --- The worker ----------------------------------------------------------------------------------------

const configuration = () => {
  const lines = readFileSync(join(folder, "worker/wrangler.jsonc"), "utf8").split("\n");
  return JSON.parse(lines.filter((line) => !/^\s*\/\//.test(line)).join("\n"));
};

function exampleWorker(cwd, demo, bindings = {}) {
  const { main, compatibility_date: compatibilityDate, vars } = configuration();
  const { RUNLAYER_URL, CLIENT_ID, CLIENT_SECRET } = demo;
  return work(join(cwd, main), join(cwd, "dist"), {
    compatibilityDate,
    bindings: { ...vars, RUNLAYER_URL, CLIENT_ID, CLIENT_SECRET, ...bindings },
  });
}

function workerTests({ worker, browser, origin, demo, people, another }) {
  const page = configuration().vars.PAGE_ORIGIN;
  const ask = async (token, init = {}, at = worker) => {
    const headers = { origin: page, ...(token && { authorization: `Bearer ${token}` }), ...init.headers };
    const answer = await at.dispatchFetch("http://worker.example/", { method: "POST", body: '{"org": "acme-corp"}', ...init, headers });
    const text = await answer.text();
    assert.ok(!text.includes(demo.CLIENT_SECRET));
    return { status: answer.status, headers: answer.headers, body: text ? JSON.parse(text) : undefined };
  };

  return {
    "worker > a page of the one origin calls the tool as its user": async () => {
      const ours = await another({ PAGE_ORIGIN: origin });
      const context = await browser.newContext();
      try {
        // A page of the origin, whose own policy does not block the request.
        const tab = await context.newPage();
        await tab.goto(`${origin}/style.css`);
        const asked = { url: String(await ours.ready), token: await people.issue("bob@example.com") };
        const result = await tab.evaluate(async ({ url, token }) => {
          const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
          return (await fetch(url, { method: "POST", headers, body: '{"org": "acme-corp"}' })).json();
        }, asked);
        assert.match(result.content[0].text, /^acme-corp has 5 repositories/);
      } finally {
        await context.close();
        await ours.dispose();
      }
      const [event] = await asked(demo, demo.ALICE_API_KEY, "GET", "/api/v1/audit-events?limit=1");
      assert.deepEqual([event.user_id, event.agent_account_id, event.tool], [demo.BOB_ID, demo.AGENT_ID, "list_repos"]);
    },

    "worker > who has not delegated to the agent is told what to do": async () => {
      const token = await people.issue(people.stranger());
      await asked(demo, token, "GET", "/api/v1/me");
      const { status, body } = await ask(token);
      assert.equal(status, 403);
      const { requestId, ...rest } = body;
      assert.match(requestId, /^[0-9a-f-]{36}$/);
      assert.deepEqual(rest, {
        code: "invalid_grant",
        detail: "invalid_grant: No valid delegation",
        reason: "delegation_missing",
        hint: "The user must delegate to the agent account",
      });
    },

    "worker > a user's token that is no good is refused by the service": async () => {
      const expired = await ask(await people.expired("bob@example.com"));
      assert.equal(expired.status, 400);
      assert.match(expired.body.detail, /expired/);
      assert.equal((await ask("no.such.token")).body.code, "invalid_grant");
    },

    "worker > other pages, methods and bodies are refused before anything is asked": async () => {
      const token = await people.issue("bob@example.com");
      const foreign = await ask(token, { headers: { origin: "https://evil.example" } });
      assert.equal(foreign.status, 403);
      assert.equal(foreign.headers.get("access-control-allow-origin"), null);
      const preflight = await ask(undefined, { method: "OPTIONS", body: undefined });
      assert.deepEqual([preflight.status, preflight.headers.get("access-control-allow-origin")], [204, page]);
      assert.equal((await ask(token, { method: "GET", body: undefined })).status, 405);
      assert.equal((await ask(undefined)).status, 401);
      for (const body of ["", "{", "[]", "null", '"x"']) assert.equal((await ask(token, { body })).status, 400, body);
      assert.equal((await ask(token, { body: JSON.stringify({ org: "x".repeat(4096) }) })).status, 413);
    },

    "worker > a body that does not say how long it is is read no further than it may be": async () => {
      const headers = { origin: page, authorization: "Bearer a.b.c" };
      const url = await worker.ready;
      const status = await new Promise((resolve, reject) => {
        // The body never ends. A worker that read all of it before checking the length would never answer.
        const request = send(url, { method: "POST", headers }, (answer) => (resolve(answer.statusCode), answer.resume(), request.destroy()));
        request.on("error", reject);
        request.write("x".repeat(8 * 1024));
      });
      assert.equal(status, 413);
    },

    "worker > nothing of its own credentials is told, not even that they are wrong": async () => {
      const wrong = await another({ CLIENT_SECRET: `${demo.CLIENT_SECRET}x` });
      try {
        const { status, body } = await ask(await people.issue("bob@example.com"), {}, wrong);
        assert.equal(status, 500);
        assert.deepEqual([body.code, body.detail, body.hint], ["server_error", "The agent could not be authenticated", undefined]);
      } finally {
        await wrong.dispose();
      }
    },
  };
}
