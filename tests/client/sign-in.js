// `deputize/sign-in` and `deputize/mcp` as people meet them: pages of an origin of their own, Chromium, and the service
// with the demo's provider. A person clicks through it all. What needs no browser is in sign-in-units.js.

import assert from "node:assert/strict";
import { generateKeyPairSync, sign } from "node:crypto";
import { createServer as createHttpServer } from "node:http";
import { createServer } from "node:https";
import { readFileSync, writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { extname, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { build } from "esbuild";
import { here, launch } from "./runtimes.js";

const TYPES = { ".js": "text/javascript", ".wasm": "application/wasm" };
const SAID = /^acme-corp has 5 repositories/;

/** The page of an application; and what the tests look at. */
const PAGE = (app, again) => `
  import { AgentClient } from "deputize";
  import { handleCallback, resume, signIn, signOut } from "deputize/sign-in";

  const app = ${JSON.stringify(app)};
  const [enter, leave, output] = document.querySelectorAll("button, output");
  async function start() {
    const session = (await handleCallback()) ?? (await resume({ ...app, ...${JSON.stringify(again)} }));
    enter.onclick = () => signIn({ ...app, state: { at: location.hash } }).catch(show);
    leave.onclick = () => signOut().then(() => show("Signed out"), show);
    if (!session) return "Nobody is signed in";
    const user = new AgentClient({ url: app.url, credentials: session.credentials });
    Object.assign(window, { session, user });
    return (await user.callTool("demo", "list_repos", { org: "acme-corp" })).content[0].text;
  }
  const show = (said) => (output.textContent = said.code ? said.code + ": " + said.detail : String(said));
  start().then(show, show);`;

/** An MCP client in a page, bundled. */
const MCP_PAGE = (url) => `
  import { Client } from "@modelcontextprotocol/client";
  import { OAuthProvider, transport } from "deputize/mcp";

  const [enter, leave, output] = document.querySelectorAll("button, output");
  const provider = new OAuthProvider({ redirectUri: location.origin + location.pathname, clientName: "Page" });
  const to = transport({ url: ${JSON.stringify(url)}, serverId: "demo", provider });
  const mcp = new Client({ name: "page", version: "1.0.0" });
  async function connect() {
    await mcp.connect(to);
    const { tools } = await mcp.listTools();
    const { content } = await mcp.callTool({ name: "list_repos", arguments: { org: "acme-corp" } });
    return content[0].text + " by " + tools.map(({ name }) => name);
  }
  const show = (said) => (output.textContent = said.code ? said.code + ": " + said.message : String(said));
  enter.onclick = () => connect().then(show, show);
  leave.onclick = () => provider.signOut().then(() => show("Signed out"), show);
  Object.assign(window, { provider, mcp, connect });
  provider.handleCallback(to).then((isBack) => (isBack ? connect() : "Nobody is signed in")).then(show, show);`;

export async function signIn(app, service, report) {
  const pages = await serve(app);
  const { port } = pages.server.address();
  const origin = `https://app.example:${port}`;
  // Only this one may call what is not MCP's.
  const { demo, stop } = await service(origin);
  const url = demo.RUNLAYER_URL;
  const browser = await launch("--host-resolver-rules=MAP *.example 127.0.0.1");
  const administer = administrator(demo);

  const register = async (path, further) => {
    const redirectUri = origin + path;
    const registered = await administer("POST", "/api/v1/apps", { name: path, redirect_uris: [redirectUri], auth_method: "none", ...further });
    return { url, clientId: registered.client_id, redirectUri };
  };
  const plain = await register("/plain/", { trusted: false });
  const trusted = await register("/trusted/", { trusted: true });
  pages.scripts.set("/plain/", PAGE(plain, {}));
  pages.scripts.set("/trusted/", PAGE(trusted, { prompt: "none" }));
  pages.scripts.set("/mcp/", await bundled(app, "mcp-page.js", MCP_PAGE(url)));
  pages.policies.set("/plain/", `default-src 'none'; script-src 'self' 'unsafe-inline' 'wasm-unsafe-eval'; connect-src 'self' ${url}`);

  const tests = { ...pageTests(), ...mcpTests() };
  for (const [name, run] of Object.entries(tests)) {
    if (process.env.TEST && !name.includes(process.env.TEST)) continue;
    const began = Date.now();
    const why = await run().then(() => undefined, (error) => [String(error?.stack ?? error)]);
    report({ name, status: why ? "failed" : "passed", millis: Date.now() - began, why });
  }
  await browser.close();
  pages.server.closeAllConnections();
  pages.server.close();
  stop();

  /** A person with a browser of their own. */
  async function person(email, run) {
    const context = await browser.newContext({ ignoreHTTPSErrors: true });
    context.setDefaultTimeout(15_000);
    const sent = [];
    context.on("request", (request) => sent.push(request));
    const codesAndTokens = () => sent.filter((request) => request.url() === `${url}/api/v1/oauth/token`).map((request) => Object.fromEntries(new URLSearchParams(request.postData())));
    try {
      await run({ context, sent, codesAndTokens, tab: async () => new Tab(await context.newPage(), email, { pages, origin, url }) });
    } finally {
      pages.isHeld = false;
      await context.close();
    }
  }

  /** The status of a call with this token, without the package. */
  async function status(token) {
    const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
    const body = JSON.stringify({ tool_name: "list_repos", arguments: { org: "acme-corp" } });
    return (await fetch(`${url}/api/v1/proxy/demo/tools`, { method: "POST", headers, body })).status;
  }

  function pageTests() {
    return {
      "page > a person signs in by clicking, and the page calls a tool as them": () =>
        person("bob@example.com", async ({ tab, codesAndTokens }) => {
          const bob = await (await tab()).opens("/plain/#reports");
          await bob.says("Nobody is signed in");
          await bob.signsIn();
          assert.equal(bob.page.url(), `${origin}/plain/`, "nothing of the answer is left");
          assert.deepEqual(await bob.page.evaluate(() => window.session.state), { at: "#reports" });
          assert.deepEqual((await bob.page.evaluate(() => window.session.scope)).split(" ").sort(), ["offline_access", "tools:call"]);
          const [event] = await administer("GET", "/api/v1/audit-events?limit=1");
          assert.deepEqual([event.user_id, event.client_id, event.tool], [demo.BOB_ID, plain.clientId, "list_repos"]);
          const kept = await bob.page.evaluate(() => JSON.stringify({ ...sessionStorage, ...localStorage }) + document.cookie);
          assert.ok(!kept.includes(await bob.token()) && !/rt_|verifier/.test(kept), kept);
          assert.deepEqual(codesAndTokens().map(({ grant_type }) => grant_type), ["authorization_code"]);
        }),

      "page > the documents' page works as it is written": () =>
        person("bob@example.com", async ({ tab }) => {
          const pageOf = (file) => readFileSync(resolve(here, "../..", file), "utf8").match(/```html\n(<button>.*?)```/s)[1];
          const documented = pageOf("docs/npm-package.md");
          assert.equal(documented, pageOf("wasm-client/npm/README.md"));
          const own = await register("/documented/", {});
          const replaced = [
            ['"https://deputize.example.com"', JSON.stringify(url)],
            ['"app-…"', JSON.stringify(own.clientId)],
            ["`${location.origin}/`", JSON.stringify(own.redirectUri)],
          ];
          pages.bodies.set("/documented/", replaced.reduce((text, [from, to]) => {
            assert.ok(text.includes(from), from);
            return text.replace(from, () => to);
          }, documented));
          const bob = await (await tab()).opens("/documented/");
          await bob.signsIn();
          await bob.page.reload();
          await bob.allows();
          await bob.says(SAID);
          const revoked = bob.page.waitForResponse(`${url}/api/v1/oauth/revoke`);
          await bob.clicks("Sign out");
          assert.equal((await revoked).status(), 200);
          await bob.page.reload();
          await bob.page.getByRole("button", { name: "Sign in" }).waitFor();
          assert.equal(bob.page.url(), own.redirectUri);
        }),

      "page > a token is renewed once for all calls, and a lost answer logs nobody out": () =>
        person("bob@example.com", async ({ tab, codesAndTokens }) => {
          const bob = await (await tab()).opens("/plain/");
          await bob.signsIn();
          const before = await bob.token();
          const both = await Promise.all([bob.token({ renew: true }), bob.token({ renew: true, refused: before })]);
          assert.ok(both[0] === both[1] && both[0] !== before);
          assert.equal(codesAndTokens().length, 2);

          // A token that is refused before its time.
          const form = new URLSearchParams({ token: both[0], client_id: plain.clientId });
          assert.equal((await fetch(`${url}/api/v1/oauth/revoke`, { method: "POST", body: form })).status, 200);
          for (const said of await bob.calls(5)) assert.match(said, SAID);
          assert.equal(codesAndTokens().length, 3);

          await bob.losesAnAnswer();
          assert.notEqual(await bob.token({ renew: true }), before);
          const [, , , lost, repeated] = codesAndTokens();
          assert.equal(lost.refresh_token, repeated.refresh_token);
          await bob.token({ renew: true });
          for (const said of await bob.calls()) assert.match(said, SAID);
        }),

      "page > a page of a trusted app that is loaded again asks nobody anything": () =>
        person("bob@example.com", async ({ tab, sent }) => {
          const bob = await (await tab()).opens("/trusted/");
          await bob.comesIn();
          const first = await bob.token();
          sent.length = 0;
          await bob.page.reload();
          await bob.page.waitForURL(`${origin}/trusted/`);
          await bob.says(SAID);
          assert.notEqual(await bob.token(), first);
          const documents = sent.filter((request) => request.isNavigationRequest());
          const shown = await Promise.all(documents.map(async (request) => [new URL(request.url()).pathname, (await request.response()).status()]));
          assert.deepEqual(shown, [["/trusted/", 200], ["/api/v1/oauth/authorize", 303], ["/trusted/", 200]]);
          assert.ok(documents[1].url().includes("prompt=none"));
        }),

      "page > a page of a trusted app whose user is signed in at the service no longer has no user": () =>
        person("bob@example.com", async ({ tab, context }) => {
          const bob = await (await tab()).opens("/trusted/");
          await bob.comesIn();
          await context.clearCookies();
          await bob.page.reload();
          await bob.page.waitForURL(`${origin}/trusted/`);
          await bob.says("Nobody is signed in");
          await bob.page.reload();
          await bob.says("Nobody is signed in");
        }),

      "page > a page of any other app that is loaded again leads to a short question": () =>
        person("bob@example.com", async ({ tab }) => {
          const bob = await (await tab()).opens("/plain/");
          await bob.signsIn();
          await bob.page.reload();
          await bob.page.getByText("You allowed this on").waitFor();
          await bob.allows();
          await bob.says(SAID);
          // Who goes back from the question is not sent there again.
          await bob.page.reload();
          await bob.page.getByText("You allowed this on").waitFor();
          await bob.opens("/plain/");
          await bob.says("Nobody is signed in");
        }),

      "page > each tab has a family of its own, and signing out in one leaves the other": () =>
        person("bob@example.com", async ({ tab, codesAndTokens }) => {
          const [one, other] = [await (await tab()).opens("/plain/"), await (await tab()).opens("/plain/")];
          await one.signsIn();
          await other.signsIn();
          const [ended, goesOn] = [await one.token(), await other.token()];
          await one.clicks("Sign out");
          await one.page.getByText("Signed out").waitFor();
          assert.deepEqual([await status(ended), await status(goesOn)], [401, 200]);
          assert.deepEqual(await one.calls(), [["signed_out", "Sign in again"]]);
          assert.equal(await status(await other.token({ renew: true })), 200);
          assert.match((await other.calls())[0], SAID);
          // A reload asks for nothing that was given up.
          await one.page.reload();
          await one.says("Nobody is signed in");
          assert.equal(codesAndTokens().filter(({ grant_type }) => grant_type === "refresh_token").length, 1);
        }),

      "page > who does not allow it is told, and may try again": () =>
        person("carol@example.com", async ({ tab, codesAndTokens }) => {
          const carol = await (await tab()).opens("/plain/");
          await carol.asks();
          await carol.clicks("Don’t allow");
          await carol.says("access_denied: The user did not allow it");
          assert.equal(carol.page.url(), `${origin}/plain/`);
          assert.deepEqual(codesAndTokens(), []);
          await carol.opens("/plain/");
          await carol.signsIn();
        }),

      "page > a user who revokes the app is asked to sign in again": () =>
        person("bob@example.com", async ({ tab }) => {
          const bob = await (await tab()).opens("/plain/");
          await bob.signsIn();
          const own = administrator(demo, demo.BOB_API_KEY);
          const given = (await own("GET", "/api/v1/authorizations")).filter(({ client_id }) => client_id === plain.clientId);
          assert.equal(given.length, 1);
          await own("DELETE", `/api/v1/authorizations/${given[0].id}`);
          assert.deepEqual(await bob.calls(2), [["signed_out", "Sign in again"], ["signed_out", "Sign in again"]]);
        }),

      "attack > the attacker's own answer, as a link on another site, signs nobody in": () =>
        person("carol@example.com", async (attacker) => {
          const carol = await (await attacker.tab()).opens("/plain/");
          const link = await carol.held();
          await person("bob@example.com", async (victim) => {
            const bob = await victim.tab();
            // The victim has begun to sign in, too.
            await bob.opens("/plain/");
            await bob.asks();
            for (const forged of [link.href, link.href.replace(/state=[^&]*/, "state=deputize.sign-in.x"), link.href.replace("code=", "error=x&code=")]) {
              pages.scripts.set("/evil/", `document.querySelector("output").innerHTML = ${JSON.stringify(`<a href="${forged.replaceAll("&", "&amp;")}">Look</a>`)}`);
              await bob.opens(`https://evil.example:${port}/evil/`);
              await bob.page.getByText("Look").click();
              await bob.says(/^sign_in_unknown: This is the answer to a sign-in that was not begun in this tab$/);
              assert.equal(bob.page.url().replace(/\?$/, ""), `${origin}/plain/`);
              await bob.page.reload();
              await bob.says("Nobody is signed in");
            }
            assert.deepEqual(victim.codesAndTokens(), [], "the code went nowhere");
          });
        }),

      "attack > the answer to another tab is refused": () =>
        person("bob@example.com", async ({ tab, codesAndTokens }) => {
          const one = await (await tab()).opens("/plain/");
          const answer = await one.held();
          const other = await (await tab()).opens(answer.href);
          await other.says(/^sign_in_unknown: /);
          assert.deepEqual(codesAndTokens(), []);
          await one.opens(answer.href);
          await one.says(SAID);
        }),

      "attack > an answer with another issuer is refused, and its code is sent nowhere": () =>
        person("bob@example.com", async ({ tab, codesAndTokens }) => {
          const bob = await (await tab()).opens("/plain/");
          const answer = await bob.held();
          assert.equal(answer.searchParams.get("iss"), url);
          answer.searchParams.set("iss", `https://evil.example:${port}`);
          await bob.opens(answer.href);
          await bob.says("sign_in_mismatch: The answer to the sign-in is another service's");
          assert.deepEqual(codesAndTokens(), []);
        }),

      "attack > an answer that is opened again is refused; its code alone is worth nothing, and with its verifier ends what it gave": () =>
        person("bob@example.com", async ({ tab, codesAndTokens }) => {
          const bob = await (await tab()).opens("/plain/");
          const answer = await bob.held();
          await bob.opens(answer.href);
          await bob.says(SAID);
          const [first] = codesAndTokens();
          const thief = async (form) => (await fetch(`${url}/api/v1/oauth/token`, { method: "POST", body: new URLSearchParams(form) })).json();
          const { code_verifier, ...withoutVerifier } = first;
          for (const form of [withoutVerifier, { ...first, code_verifier: "x".repeat(43) }]) assert.ok((await thief(form)).error);
          assert.match((await bob.calls())[0], SAID);
          assert.equal((await thief(first)).error, "invalid_grant");
          assert.deepEqual(await bob.calls(), [["signed_out", "Sign in again"]]);
          await bob.opens(answer.href);
          await bob.says(/^sign_in_unknown: /);
          assert.equal(code_verifier.length, 43);
        }),

      "attack > a page that is framed sends nobody to sign in": () =>
        person("bob@example.com", async ({ tab }) => {
          pages.scripts.set("/framing/", `document.body.append(Object.assign(document.createElement("iframe"), { src: "${origin}/trusted/" }))`);
          const bob = await (await tab()).opens("/framing/");
          const frame = bob.page.frameLocator("iframe");
          await frame.getByText("Nobody is signed in").waitFor();
          await frame.getByRole("button", { name: "Sign in" }).click();
          await frame.getByText("unsupported: The page is in a frame").waitFor();
        }),
    };
  }

  function mcpTests() {
    // Of an origin that the service does not list.
    const elsewhere = `https://mcp.example:${port}/mcp/`;
    return {
      "MCP > an MCP client in a page of any origin signs its user in, lists tools and calls one": () =>
        person("bob@example.com", async ({ tab, codesAndTokens }) => {
          const bob = await (await tab()).opens(elsewhere);
          await bob.says("Nobody is signed in");
          await bob.asks();
          await bob.page.getByText("Unverified").waitFor();
          await bob.page.getByText("“Page”").waitFor();
          await bob.allows();
          assert.equal(bob.page.url(), elsewhere);
          await bob.says(/^acme-corp has 5 repositories.* by .*list_repos/);
          const [event] = await administer("GET", "/api/v1/audit-events?limit=1");
          assert.deepEqual([event.user_id, event.tool], [demo.BOB_ID, "list_repos"]);
          const kept = await bob.page.evaluate(() => JSON.stringify({ ...sessionStorage, ...localStorage }));
          const { access_token: refused } = await bob.page.evaluate(() => window.provider.tokens());
          assert.ok(!kept.includes(refused) && !kept.includes("rt_"), kept);

          // Refused before its time, and renewed.
          const [{ client_id }] = codesAndTokens();
          await fetch(`${url}/api/v1/oauth/revoke`, { method: "POST", body: new URLSearchParams({ token: refused, client_id }) });
          await bob.losesAnAnswer();
          const { tools } = await bob.page.evaluate(() => window.mcp.listTools());
          assert.ok(tools.some(({ name }) => name === "list_repos"));
          assert.deepEqual(codesAndTokens().map(({ grant_type }) => grant_type), ["authorization_code", "refresh_token", "refresh_token"]);

          const { access_token: last } = await bob.page.evaluate(() => window.provider.tokens());
          await bob.clicks("Sign out");
          await bob.page.getByText("Signed out").waitFor();
          assert.equal(await status(last), 401);
        }),

      "MCP > a page that is loaded again is the same app, to which the user has to say so again": () =>
        person("bob@example.com", async ({ tab, codesAndTokens }) => {
          const bob = await (await tab()).opens(elsewhere);
          await bob.asks();
          await bob.allows();
          await bob.says(/repositories/);
          await bob.page.reload();
          await bob.says("Nobody is signed in");
          await bob.clicks("Sign in");
          await bob.page.getByText("You allowed this on").waitFor();
          await bob.allows();
          await bob.says(/repositories/);
          assert.equal(new Set(codesAndTokens().map(({ client_id }) => client_id)).size, 1);
        }),

      "MCP > a denial, a forged answer, another tab's and another issuer's are refused": () =>
        person("bob@example.com", async ({ tab, codesAndTokens }) => {
          const bob = await (await tab()).opens(elsewhere);
          await bob.asks();
          await bob.clicks("Don’t allow");
          await bob.says(/^access_denied: /);
          const forged = `${elsewhere}?code=c&state=deputize.mcp.x&iss=${encodeURIComponent(url)}`;
          await bob.opens(forged);
          await bob.says(/^sign_in_unknown: /);
          await bob.opens(elsewhere);
          const answer = await bob.held();
          const other = await (await tab()).opens(answer.href);
          await other.says(/^sign_in_unknown: /);
          answer.searchParams.set("iss", "https://evil.example");
          await bob.opens(answer.href);
          await bob.says(/^sign_in_mismatch: /);
          assert.deepEqual(codesAndTokens(), []);
        }),

      "MCP > the user of a page that has signed in is the user of its MCP client": () =>
        person("bob@example.com", async ({ tab }) => {
          const script = await bundled(app, "mcp-user.js", `
            import { Client } from "@modelcontextprotocol/client";
            import { transport } from "deputize/mcp";
            window.list = async (url, client) => {
              const mcp = new Client({ name: "page", version: "1.0.0" });
              await mcp.connect(transport({ url, serverId: "demo", client }));
              return (await mcp.listTools()).tools.map(({ name }) => name);
            };`);
          const bob = await (await tab()).opens("/trusted/");
          await bob.comesIn();
          await bob.page.addScriptTag({ content: script });
          assert.ok((await bob.page.evaluate((url) => window.list(url, window.user), url)).includes("list_repos"));
        }),

      "MCP > an agent's tokens, in three lines, renewed when they are refused": async () => {
        const { AgentClient } = await import(pathToFileURL(join(app, "node_modules/deputize/inline.js")));
        const { Client } = await import(pathToFileURL(join(app, "node_modules/@modelcontextprotocol/client/dist/index.mjs")));
        const { transport } = await import(pathToFileURL(join(app, "node_modules/deputize/mcp.js")));
        const client = new AgentClient({ url, credentials: { clientId: demo.CLIENT_ID, clientSecret: demo.CLIENT_SECRET } }).onBehalfOf({ email: "bob@example.com" });
        const mcp = new Client({ name: "agent", version: "1.0.0" });
        await mcp.connect(transport({ url, serverId: "demo", client }));
        const call = async () => (await mcp.callTool({ name: "list_repos", arguments: { org: "acme-corp" } })).content[0].text;
        assert.match(await call(), SAID);
        const form = { client_id: demo.CLIENT_ID, client_secret: demo.CLIENT_SECRET, token: (await client.token()).accessToken };
        await fetch(`${url}/api/v1/oauth/revoke`, { method: "POST", body: new URLSearchParams(form) });
        assert.match(await call(), SAID);
        await mcp.close();
      },

      "MCP > a program on a computer opens a browser, and gets the answer by a port": () =>
        person("bob@example.com", async ({ tab }) => {
          const { Client, UnauthorizedError } = await import(pathToFileURL(join(app, "node_modules/@modelcontextprotocol/client/dist/index.mjs")));
          const { OAuthProvider, transport } = await import(pathToFileURL(join(app, "node_modules/deputize/mcp.js")));
          const bob = await tab();
          const came = withResolvers();
          const server = createHttpServer((request, response) => (response.end("You can close this page."), came.resolve(request.url)));
          await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
          try {
            const redirectUri = `http://127.0.0.1:${server.address().port}/callback`;
            const provider = new OAuthProvider({ redirectUri, clientName: "Program", redirect: (to) => void bob.page.goto(to.href) });
            const to = () => transport({ url, serverId: "demo", provider });
            const mcp = new Client({ name: "program", version: "1.0.0" });
            await assert.rejects(mcp.connect(to()), (error) => error instanceof UnauthorizedError);
            await bob.page.locator(`button[value="${bob.email}"]`).click();
            await bob.page.getByText("a program on this computer").first().waitFor();
            await bob.clicks("Allow");
            const anew = to();
            assert.equal(await provider.handleCallback(anew, new URL(await came.promise, redirectUri)), true);
            await mcp.connect(anew);
            assert.ok((await mcp.listTools()).tools.some(({ name }) => name === "list_repos"));
            await mcp.close();
          } finally {
            server.close();
          }
        }),
    };
  }
}

/** A tab of a person's browser, and what they do in it. */
class Tab {
  constructor(page, email, { pages, origin, url }) {
    Object.assign(this, { page, email, pages, origin, url });
  }
  async opens(address) {
    await this.page.goto(address.startsWith("/") ? this.origin + address : address);
    return this;
  }
  async says(expected) {
    const output = this.page.locator("output:not(:empty)");
    await output.waitFor();
    const text = await output.textContent();
    if (expected instanceof RegExp) assert.match(text, expected);
    else assert.equal(text, expected);
  }
  async clicks(name) {
    await this.page.getByRole("button", { name, exact: true }).click();
  }
  /** From the page's button to the service's question. */
  async asks() {
    await this.clicks("Sign in");
    const isAsked = this.page.getByRole("button", { name: "Allow", exact: true });
    const who = this.page.locator(`button[value="${this.email}"]`);
    await isAsked.or(who).first().waitFor();
    if (await who.count()) await who.click();
    await isAsked.waitFor();
  }
  /** The same, where a trusted app's user is asked only the first time. */
  async comesIn() {
    await this.clicks("Sign in");
    await this.page.locator(`button[value="${this.email}"]`).click();
    const isAsked = this.page.getByRole("button", { name: "Allow", exact: true });
    await isAsked.or(this.page.locator("output:not(:empty)")).first().waitFor();
    if (this.page.url().startsWith(this.url)) await this.allows();
    await this.says(SAID);
  }
  async allows() {
    await this.clicks("Allow");
    await this.page.waitForURL((at) => at.origin !== this.url);
  }
  async signsIn() {
    await this.asks();
    await this.allows();
    await this.says(SAID);
  }
  /** The address with the answer, which the page has not seen. */
  async held(answer = "Allow") {
    this.pages.isHeld = true;
    await this.asks();
    await this.clicks(answer);
    await this.page.waitForURL(/[?&]state=/);
    this.pages.isHeld = false;
    return new URL(this.page.url());
  }
  /** The next answer of the token endpoint never comes. */
  async losesAnAnswer() {
    const lose = async (route) => {
      await route.fetch();
      await route.abort();
    };
    await this.page.route(`${this.url}/api/v1/oauth/token`, lose, { times: 1 });
  }
  token(asked = { renew: false }) {
    return this.page.evaluate((asked) => window.session.credentials.userToken(asked), asked);
  }
  calls(many = 1) {
    return this.page.evaluate(async (many) => {
      const call = () => window.user.callTool("demo", "list_repos", { org: "acme-corp" });
      const all = await Promise.allSettled(Array.from({ length: many }, call));
      return all.map(({ value, reason }) => value?.content[0].text ?? [reason.code, reason.hint]);
    }, many);
  }
}

function withResolvers() {
  const parts = {};
  parts.promise = new Promise((resolve, reject) => Object.assign(parts, { resolve, reject }));
  return parts;
}

/** A request to the service without the package: an admin's, or another user's. */
function administrator({ RUNLAYER_URL, ALICE_API_KEY }, key = ALICE_API_KEY) {
  return async (method, path, body) => {
    const headers = { "x-runlayer-api-key": key, "content-type": "application/json" };
    const answer = await fetch(RUNLAYER_URL + path, { method, headers, body: body && JSON.stringify(body) });
    assert.ok(answer.ok, `${method} ${path}: ${answer.status} ${answer.ok ? "" : await answer.text()}`);
    return answer.status === 204 ? undefined : answer.json();
  };
}

async function bundled(app, name, source) {
  const entry = join(app, name);
  writeFileSync(entry, source);
  const { outputFiles } = await build({ entryPoints: [entry], bundle: true, format: "esm", platform: "browser", write: false, logLevel: "error" });
  return outputFiles[0].text;
}

/**
 * The pages, by https and at every host. `isHeld`: a page that is opened with an answer does not see it, so that the
 * test has it.
 */
async function serve(app) {
  const pages = { scripts: new Map(), bodies: new Map(), policies: new Map(), isHeld: false };
  const imports = {
    deputize: "/node_modules/deputize/browser.js",
    "deputize/sign-in": "/node_modules/deputize/sign-in.js",
  };
  pages.server = createServer(certificate(), async (request, response) => {
    const { pathname, searchParams } = new URL(request.url, "https://app.example");
    const script = pages.scripts.get(pathname);
    const body = pages.bodies.get(pathname) ?? (script !== undefined && `
        <button>Sign in</button><button>Sign out</button><output></output>
        <script type="module">${script.replaceAll("</script", "<\\/script")}</script>`);
    if (body) {
      const isHeld = pages.isHeld && searchParams.has("state");
      const headers = { "content-type": "text/html; charset=utf-8" };
      if (pages.policies.has(pathname)) headers["content-security-policy"] = pages.policies.get(pathname);
      response.writeHead(200, headers);
      return void response.end(isHeld ? "" : `<!doctype html><title>App</title><link rel="icon" href="data:,">
        <script type="importmap">${JSON.stringify({ imports })}</script>${body}`);
    }
    try {
      const body = await readFile(join(app, pathname));
      response.writeHead(200, { "content-type": TYPES[extname(pathname)] ?? "text/plain" }).end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((resolve) => pages.server.listen(0, "127.0.0.1", resolve));
  return pages;
}

/** A self-signed certificate (RFC 5280 section 4.1), which the browser is told to take. */
function certificate() {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const der = (tag, ...parts) => {
    const content = Buffer.concat(parts);
    const long = content.length > 255 ? [0x82, content.length >> 8, content.length & 255] : [0x81, content.length];
    return Buffer.concat([Buffer.from([tag, ...(content.length < 128 ? [content.length] : long)]), content]);
  };
  const [SEQUENCE, SET, INTEGER, BITS, OID, TEXT, TIME] = [0x30, 0x31, 2, 3, 6, 12, 23];
  const named = der(SEQUENCE, der(SET, der(SEQUENCE, der(OID, Buffer.from("550403", "hex")), der(TEXT, Buffer.from("app.example")))));
  const byEcdsaWithSha256 = der(SEQUENCE, der(OID, Buffer.from("2a8648ce3d040302", "hex")));
  const time = (days) => new Date(Date.now() + days * 86_400_000).toISOString().replace(/^..|[-:T]|\..*/g, "") + "Z";
  const valid = der(SEQUENCE, ...[-1, 7].map((days) => der(TIME, Buffer.from(time(days)))));
  const key = publicKey.export({ type: "spki", format: "der" });
  const content = der(SEQUENCE, der(INTEGER, Buffer.from([1])), byEcdsaWithSha256, named, valid, named, key);
  const signature = der(BITS, Buffer.from([0]), sign("sha256", content, privateKey));
  const text = der(SEQUENCE, content, byEcdsaWithSha256, signature).toString("base64");
  return {
    key: privateKey.export({ type: "pkcs8", format: "pem" }),
    cert: `-----BEGIN CERTIFICATE-----\n${text}\n-----END CERTIFICATE-----\n`,
  };
}
