// Measures the npm package, the MCP client with oauth4webapi, and bare fetch with the same job. The instructions come
// as JSON on standard input; the figures go as JSON to standard output.

import { cpSync, mkdirSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync } from "node:zlib";
import { build } from "esbuild";
import { Miniflare } from "miniflare";
import { chromium } from "playwright-core";
import { loaded } from "../../../wasm-client/loaded.js";

const here = fileURLToPath(new URL(".", import.meta.url));
const JOBS = ["deputize", "mcp", "fetch"];
const WARM_UP = 50;

const asked = JSON.parse(readFileSync(0, "utf8"));
const { job, tool, args, rounds, calls, port, pkg, output } = asked;

// --- What is measured ----------------------------------------------------------------------------------

/** Each job, bundled and minified for a runtime with the conditions of its bundlers. */
async function bundled(runtime, conditions, platform) {
  const outdir = join(output, runtime);
  await build({
    entryPoints: JOBS.map((name) => join(here, "jobs", `${name}.js`)),
    outdir,
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    platform,
    conditions,
    nodePaths: [join(output, "node_modules")],
    loader: { ".wasm": "copy" },
    assetNames: "[name]",
    logLevel: "error",
  });
  return outdir;
}

rmSync(output, { recursive: true, force: true });
mkdirSync(join(output, "node_modules"), { recursive: true });
symlinkSync(pkg, join(output, "node_modules/deputize"));
const inPage = await bundled("browser", ["browser"], "browser");
cpSync(join(pkg, "deputize_bg.wasm"), join(inPage, "deputize_bg.wasm"));
const inNode = await bundled("node", ["node"], "node");
const inWorkerd = await bundled("workerd", ["workerd", "worker", "browser"], "browser");

// --- Size ----------------------------------------------------------------------------------------------

const brotli = (path) => brotliCompressSync(readFileSync(path)).length;
const size = {
  shipped: [...loaded(pkg).values()].reduce((sum, size) => sum + size, 0),
  deputize: brotli(join(inPage, "deputize.js")) + brotli(join(inPage, "deputize_bg.wasm")),
  mcp: brotli(join(inPage, "mcp.js")),
  fetch: brotli(join(inPage, "fetch.js")),
};

// --- Chromium ------------------------------------------------------------------------------------------

const TYPES = { ".js": "text/javascript", ".wasm": "application/wasm" };

/** Isolated from other origins, which makes the browser's clock precise enough. */
function servePages() {
  const server = createServer((request, response) => {
    const isolated = { "cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp" };
    const type = TYPES[extname(request.url)];
    if (!type) return void response.writeHead(200, { ...isolated, "content-type": "text/html" }).end("<!doctype html>");
    response.writeHead(200, { ...isolated, "content-type": type }).end(readFileSync(join(inPage, request.url)));
  });
  return new Promise((resolve) => server.listen(port, "127.0.0.1", () => resolve(server)));
}

const pages = await servePages();
const browser = await chromium.launch({ executablePath: asked.chromium, args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"] });

async function inNewPage(run, told) {
  // A separate context, so that nothing is cached.
  const context = await browser.newContext();
  try {
    const page = await context.newPage();
    await page.goto(`http://127.0.0.1:${port}/`);
    return await page.evaluate(run, told);
  } finally {
    await context.close();
  }
}

const firstInPage = (name) =>
  inNewPage(
    async ({ name, job, tool, args }) => {
      const began = performance.now();
      const { start } = await import(`/${name}.js`);
      await start(job).call(tool, args);
      return performance.now() - began;
    },
    { name, job, tool, args },
  );

/**
 * Calls by each in turn, one at a time: the milliseconds of each call, and its processor time if that is known. Runs
 * in a page, and here.
 */
async function interleaved({ start, jobs, job, tool, args, calls, warmUp }) {
  const made = jobs.map((name, at) => ({ name, ...start[at](job), took: [], onCpu: [] }));
  const onCpu = () => {
    const used = globalThis.process?.cpuUsage?.();
    return used && (used.user + used.system) / 1000;
  };
  for (let turn = -warmUp; turn < calls; turn += 1) {
    // The order alternates, so that neither side always runs after the other.
    const order = turn % 2 === 0 ? made : [...made].reverse();
    for (const each of order) {
      const before = onCpu();
      const began = performance.now();
      await each.call(tool, args);
      const ended = performance.now();
      const after = onCpu();
      if (turn < 0) continue;
      each.took.push(ended - began);
      if (before !== undefined) each.onCpu.push(after - before);
    }
  }
  return Object.fromEntries(made.map(({ name, took, onCpu }) => [name, { took, onCpu }]));
}

const told = { jobs: ["deputize", "fetch"], job, tool, args, calls, warmUp: WARM_UP };

const callsInPage = () =>
  inNewPage(
    async ({ source, told }) => {
      if (!crossOriginIsolated) throw new Error("the clock is coarse");
      const start = await Promise.all(told.jobs.map(async (name) => (await import(`/${name}.js`)).start));
      return (0, eval)(`(${source})`)({ ...told, start });
    },
    { source: String(interleaved), told },
  );

async function callsInNode() {
  const start = await Promise.all(told.jobs.map(async (name) => (await import(join(inNode, `${name}.js`))).start));
  return interleaved({ ...told, start });
}

// --- workerd -------------------------------------------------------------------------------------------

/** A worker that makes a new isolate of one of the bundles for each request, and passes the request on. */
function workers() {
  const main = `import { start } from "./job.js";
    export default { fetch: async (request, { job, tool, args }) => Response.json(await start(job).call(tool, args)) };`;
  const textBindings = Object.fromEntries(JOBS.map((name) => [name, readFileSync(join(inWorkerd, `${name}.js`), "utf8")]));
  const wasm = readdirSync(inWorkerd).find((file) => file.endsWith(".wasm"));
  const script = `export default {
    async fetch(request, env) {
      const name = new URL(request.url).pathname.slice(1);
      const modules = { "main.js": ${JSON.stringify(main)}, "job.js": env[name] };
      if (name === "deputize") modules[${JSON.stringify(wasm)}] = { wasm: env.wasm };
      const worker = env.LOADER.get(crypto.randomUUID(), () => ({
        compatibilityDate: "2026-01-01", mainModule: "main.js", modules, env: env.told,
      }));
      return worker.getEntrypoint().fetch(request);
    },
  };`;
  return new Miniflare({
    modules: [{ type: "ESModule", path: "outer.js", contents: script }],
    compatibilityDate: "2026-01-01",
    cf: false,
    workerLoaders: { LOADER: {} },
    bindings: { ...textBindings, told: { job, tool, args } },
    dataBlobBindings: { wasm: new Uint8Array(readFileSync(join(inWorkerd, wasm))) },
  });
}

const edge = workers();
const edgeUrl = await edge.ready;

async function firstInWorkerd(name) {
  const began = performance.now();
  const answer = await fetch(new URL(name, edgeUrl));
  const result = await answer.text();
  const took = performance.now() - began;
  if (!answer.ok || !JSON.parse(result).content) throw new Error(`workerd, ${name}: ${answer.status} ${result}`);
  return took;
}

// --- All of it -----------------------------------------------------------------------------------------

async function firsts(measure) {
  const took = Object.fromEntries(JOBS.map((name) => [name, []]));
  // The first round fills the disk's cache and does not count.
  for (let round = 0; round <= rounds; round += 1) {
    for (const name of JOBS) {
      const millis = await measure(name);
      if (round > 0) took[name].push(millis);
    }
  }
  return took;
}

try {
  const first = { Chromium: await firsts(firstInPage), workerd: await firsts(firstInWorkerd) };
  const perCall = { Node: await callsInNode(), Chromium: await callsInPage() };
  process.stdout.write(JSON.stringify({ size, first, perCall, chromium: browser.version(), node: process.version }));
} finally {
  await edge.dispose();
  await browser.close();
  pages.close();
}
