// Runs the suite in each runtime. Each gets the suite's parameters, and reports each test when it ends.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createServer } from "node:http";
import { readFile, writeFile } from "node:fs/promises";
import { basename, delimiter, extname, join } from "node:path";
import { Readable } from "node:stream";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

/** A test that does not belong to the suite. */
export async function test(name, report, run) {
  const begin = Date.now();
  let why;
  try {
    await run();
  } catch (error) {
    why = [String(error.message ?? error)];
  }
  report({ name, status: why ? "failed" : "passed", millis: Date.now() - begin, why });
}

/** As Node finds it: by its name, in an application's folder. */
export async function node(app, told, report) {
  const main = join(app, "node.js");
  await writeFile(
    main,
    `import { run } from "./suite.js";
     const line = (what) => process.stdout.write("\\0" + JSON.stringify(what) + "\\n");
     line({ counts: await run(${JSON.stringify(told)}, line) });`,
  );
  const child = spawn(process.execPath, [main], { stdio: ["ignore", "pipe", "inherit"] });
  let counts;
  for await (const line of createInterface({ input: child.stdout })) {
    if (!line.startsWith("\0")) continue;
    const said = JSON.parse(line.slice(1));
    if (said.counts) counts = said.counts;
    else report(said);
  }
  return counts;
}

const TYPES = { ".js": "text/javascript", ".wasm": "application/wasm" };

/** Pages without a bundler: an import map, and the package's folder unchanged. */
export async function pageServer(app) {
  const manifest = JSON.parse(await readFile(join(app, "node_modules/deputize/package.json"), "utf8"));
  const entry = manifest.exports["."].import.browser.replace("./", "/node_modules/deputize/");
  const imports = {
    deputize: entry,
    "deputize/extras": "/node_modules/deputize/extras.js",
    qunit: "/node_modules/qunit/qunit/esm/qunit.module.js",
  };
  const page = `<!doctype html><meta charset="utf-8"><title>deputize</title>
    <meta http-equiv="content-security-policy" content="default-src 'none'; script-src 'self' 'unsafe-inline' 'wasm-unsafe-eval'; connect-src 'self' http://127.0.0.1:*">
    <script>globalThis.QUnit = { config: { autostart: false } };</script>
    <script type="importmap">${JSON.stringify({ imports })}</script>
    <script type="module">
      import { run } from "./suite.js";
      const counts = await run(await told(), report);
      ended(counts);
    </script>`;
  const server = createServer(async (request, response) => {
    const path = new URL(request.url, "http://localhost").pathname;
    if (path === "/") return void response.writeHead(200, { "content-type": "text/html" }).end(page);
    try {
      const body = await readFile(join(app, path));
      response.writeHead(200, { "content-type": TYPES[extname(path)] ?? "text/plain" }).end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return server;
}

/** A Chromium or Chrome that is installed, if any. */
function installedChromium() {
  const names = [process.env.CHROMIUM, "chromium", "chromium-browser", "google-chrome"].filter(Boolean);
  const found = names.flatMap((name) => (name.includes("/") ? name : process.env.PATH.split(delimiter).map((folder) => join(folder, name)))).find(existsSync);
  if (!found) throw new Error("Chromium is missing: run tests/run, which installs it");
  return found;
}

/** Chromium, under any of its names. */
export async function launch(...further) {
  const { chromium } = await import("playwright-core");
  return chromium.launch({
    executablePath: installedChromium(),
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync", ...further],
  });
}

/** A page of an origin other than the service's. */
export async function chromium(origin, told, report) {
  const browser = await launch();
  try {
    const page = await browser.newPage();
    const counts = new Promise((resolve, reject) => {
      page.on("pageerror", reject);
      page.on("close", () => reject(new Error("the page was closed")));
      page.exposeFunction("ended", resolve).catch(reject);
    });
    await page.exposeFunction("told", () => told);
    await page.exposeFunction("report", report);
    await page.goto(origin);
    return await counts;
  } finally {
    await browser.close();
  }
}

/** A worker in workerd, bundled as wrangler does: with the same conditions, and its WebAssembly as a module. */
export async function work(entry, outdir, options = {}) {
  const { Miniflare } = await import("miniflare");
  await build({
    entryPoints: [entry],
    outdir,
    bundle: true,
    format: "esm",
    target: "es2022",
    conditions: ["workerd", "worker", "browser"],
    loader: { ".wasm": "copy" },
    logLevel: "error",
  });
  return new Miniflare({
    modules: true,
    modulesRoot: outdir,
    scriptPath: join(outdir, basename(entry)),
    modulesRules: [
      { type: "ESModule", include: ["**/*.js"] },
      { type: "CompiledWasm", include: ["**/*.wasm"] },
    ],
    compatibilityDate: "2026-01-01",
    cf: false,
    ...options,
  });
}

export async function workerd(app, told, report) {
  const entry = join(app, "worker.js");
  await writeFile(
    entry,
    `import { AgentClient } from "deputize";
     import { run } from "./suite.js";
     let agent;
     export default {
       async fetch(request) {
         const told = await request.json();
         if (new URL(request.url).pathname === "/call") {
           const { CLIENT_ID: clientId, CLIENT_SECRET: clientSecret } = told.demo;
           if (told.anew) agent = undefined;
           agent ??= new AgentClient({ url: told.between + "/lane/workerd", credentials: { clientId, clientSecret } });
           const call = agent.callTool("demo", "list_repos", { org: "acme-corp" }, told.options);
           return Response.json(await call.catch((error) => error));
         }
         const { readable, writable } = new TransformStream();
         const writer = writable.getWriter();
         const line = (what) => writer.write(new TextEncoder().encode(JSON.stringify(what) + "\\n"));
         run(told, line).then((counts) => line({ counts })).then(() => writer.close());
         return new Response(readable);
       },
     };`,
  );
  const worker = await work(entry, join(app, "worker"));
  try {
    const url = await worker.ready;
    await test("one client of a worker serves many visits at once", report, async () => {
      const visit = () => fetch(new URL("/call", url), { method: "POST", body: JSON.stringify(told) });
      const visits = await Promise.all(Array.from({ length: 20 }, visit));
      for (const answer of [...visits, await visit()]) {
        const text = await answer.text();
        assert.ok(answer.ok && text.includes("acme-corp has 5 repositories"), text);
      }
      const { requests } = await (await fetch(`${told.between}/lane/workerd`)).json();
      assert.equal(requests.filter(({ path }) => path.endsWith("/oauth/token")).length, 1);
    });
    // A visit that ends takes its requests with it, and the runtime of workerd then never answers them.
    await test("a visit that gives up while it waits for a token does not stop the next one", report, async () => {
      const body = JSON.stringify({ rules: [{ on: "POST /api/v1/oauth/token", hang: true }] });
      await fetch(`${told.between}/lane/workerd`, { method: "PUT", body });
      const visit = async (further) => (await fetch(new URL("/call", url), { method: "POST", body: JSON.stringify({ ...told, ...further }) })).json();
      assert.equal((await visit({ anew: true, options: { timeoutMs: 200 } })).code, "timeout");
      const began = Date.now();
      const [first, second] = await Promise.all([visit(), visit()]);
      for (const { content } of [first, second]) assert.ok(content[0].text.startsWith("acme-corp has"));
      assert.ok(Date.now() - began < 8_000, `${Date.now() - began} ms`);
    });
    const answer = await fetch(url, { method: "POST", body: JSON.stringify(told) });
    let counts;
    for await (const line of createInterface({ input: Readable.fromWeb(answer.body) })) {
      const said = JSON.parse(line);
      if (said.counts) counts = { ...said.counts, total: said.counts.total + 2 };
      else report(said);
    }
    return counts;
  } finally {
    await worker.dispose();
  }
}

export const here = fileURLToPath(new URL(".", import.meta.url));
