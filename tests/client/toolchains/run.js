// The package in what applications are built, bundled and tested with: each builds a small application and runs it
// against the service. `rows` are the tests; the files around this one are the applications. To run some of them:
//
//   TOOLCHAIN=Vite node ../run.js toolchains

import assert from "node:assert/strict";
import { execFile, execFileSync, spawn } from "node:child_process";
import {
  copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync,
} from "node:fs";
import { createServer } from "node:http";
import { basename, extname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { launch, test } from "../runtimes.js";

const here = fileURLToPath(new URL(".", import.meta.url));
const modules = join(here, "node_modules");
const command = (name) => join(modules, ".bin", name);
/** What needs a newer Node than this one. */
const NODE_22 = resolve(here, "../../upstreams/node_modules/node/bin/node");

/** What the job answers where the package works. */
const EXPECTED = {
  said: "acme-corp has 5 repositories",
  refused: [403, "access_denied", "Policy denied", "user"],
};

// --- What each toolchain is asked for --------------------------------------------------------------------

/** Each row: what it shows, and how. `kit` has the ways to run an application. */
const rows = {
  "esbuild > a page with deputize/inline needs no loader and no copied file": async (kit) => {
    await kit.esbuild({ entryPoints: ["page/inline.js"], format: "esm", outfile: kit.out("main.js") });
    await kit.page();
  },
  "esbuild > a page with deputize works with its file beside the scripts": async (kit) => {
    await kit.esbuild({ entryPoints: ["page/main.js"], format: "esm", outfile: kit.out("main.js") });
    copyFileSync(join(modules, "deputize/deputize_bg.wasm"), kit.out("deputize_bg.wasm"));
    await kit.page();
  },
  "esbuild > a page without the file is told of deputize/inline": async (kit) => {
    await kit.esbuild({ entryPoints: ["page/main.js"], format: "esm", outfile: kit.out("main.js") });
    const { code, failed, cause } = await kit.pageSays();
    assert.equal(code, "not_loaded");
    assert.match(failed, /import from deputize\/inline$/);
    assert.match(cause, /HTTP 404 for /);
  },
  "esbuild > a page whose policy forbids WebAssembly is told of the policy": async (kit) => {
    await kit.esbuild({ entryPoints: ["page/inline.js"], format: "esm", outfile: kit.out("main.js") });
    const { code, failed } = await kit.pageSays(kit.address("?strict"));
    assert.equal(code, "not_loaded");
    assert.match(failed, /The page's Content-Security-Policy must allow WebAssembly: script-src 'wasm-unsafe-eval'$/);
  },
  "esbuild > a page gives the module itself, as bytes or as an address": async (kit) => {
    for (const loader of ["binary", "file"]) {
      const options = { format: "esm", loader: { ".wasm": loader }, outfile: kit.out("main.js") };
      await kit.esbuild({ entryPoints: ["page/given.js"], ...options });
      await kit.page();
    }
  },
  "esbuild > a script for Node, as a module and as CommonJS": async (kit) => {
    for (const [format, file] of [["esm", "main.mjs"], ["cjs", "main.cjs"]]) {
      await kit.esbuild({ entryPoints: ["server/main.js"], platform: "node", format, outfile: kit.out(file) });
      await kit.node(kit.out(file));
    }
  },
  "esbuild > who needs only the error gets nothing else": async (kit) => {
    await kit.esbuild({ entryPoints: ["page/error.js"], format: "esm", minify: true, outfile: kit.out("main.js") });
    kit.holdsOnlyTheError();
  },

  "Rollup > a page with the node-resolve plugin and nothing else": async (kit) => {
    await kit.rollup("page/main.js");
    await kit.page();
  },
  "Rollup > a page with the plugin's option for browsers, and the file beside the scripts": async (kit) => {
    await kit.rollup("page/main.js", { browser: true });
    copyFileSync(join(modules, "deputize/deputize_bg.wasm"), kit.out("deputize_bg.wasm"));
    await kit.page();
  },
  "Rollup > a page with the plugin's option for browsers and deputize/inline": async (kit) => {
    await kit.rollup("page/inline.js", { browser: true });
    await kit.page();
  },
  "Rollup > a script for Node": async (kit) => {
    await kit.rollup("server/main.js", { exportConditions: ["node"] });
    await kit.node(kit.out("main.js"));
  },
  "Rollup > who needs only the error gets nothing else": async (kit) => {
    await kit.rollup("page/error.js", { browser: true });
    kit.holdsOnlyTheError();
  },

  "webpack > a page gets the WebAssembly as a file": async (kit) => {
    await kit.webpack({ entry: "./page/main.js" });
    kit.holdsItAsAFile();
    await kit.page();
  },
  "webpack > a page with deputize/inline is one script": async (kit) => {
    await kit.webpack({ entry: "./page/inline.js" });
    assert.deepEqual(kit.files(), ["main.js"]);
    await kit.page();
  },
  "webpack > a page that requires it": async (kit) => {
    copyFileSync(join(here, "page/required.cjs"), kit.out("page.cjs"));
    await kit.webpack({ entry: kit.out("page.cjs") });
    await kit.page();
  },
  "webpack > a script for Node": async (kit) => {
    await kit.webpack({ entry: "./server/main.js", target: "node" });
    writeFileSync(kit.out("package.json"), "{}");
    await kit.node(kit.out("main.js"));
  },
  "webpack > who needs only the error gets nothing else": async (kit) => {
    await kit.webpack({ entry: "./page/error.js" });
    kit.holdsOnlyTheError();
  },

  "Vite > a page, built": async (kit) => {
    await kit.vite();
    kit.holdsItAsAFile();
    await kit.page();
  },
  "Vite > a page of the development server": async (kit) => {
    const { createServer } = await import("vite");
    const options = { port: kit.ports.vite, strictPort: true, hmr: false };
    const server = await createServer({ ...kit.viteConfig, server: options });
    await server.listen();
    try {
      await kit.page(`http://127.0.0.1:${kit.ports.vite}/`);
    } finally {
      await server.close();
    }
  },
  "Vite > a script for Node": async (kit) => {
    await kit.vite({ build: { ssr: "../server/main.js" }, ssr: { noExternal: true } });
    await kit.node(kit.out("main.js"));
  },

  ...nextRows("Turbopack", ["build"], {
    "a client component": async (kit, url) => {
      kit.holdsItAsAFile(join(here, "next/.Turbopack/static"));
      await kit.page(url);
    },
    "a Server Component": (kit, url) => kit.renders(`${url}/server`),
    "a Server Component in the edge runtime": (kit, url) => kit.renders(`${url}/edge`),
    "a route handler": (kit, url) => kit.answers(`${url}/api/node`),
    "a route handler in the edge runtime": (kit, url) => kit.answers(`${url}/api/edge`),
    "an API route in the edge runtime": (kit, url) => kit.answers(`${url}/api/route`),
  }),
  ...nextRows("webpack", ["build", "--webpack"], {
    "a client component": async (kit, url) => {
      kit.holdsItAsAFile(join(here, "next/.webpack/static"));
      await kit.page(url);
    },
    "a Server Component": (kit, url) => kit.renders(`${url}/server`),
    "a Server Component in the edge runtime": (kit, url) => kit.renders(`${url}/edge`),
    "a route handler": (kit, url) => kit.answers(`${url}/api/node`),
    // Not a route handler: next/next.config.mjs says why.
    "an API route in the edge runtime": (kit, url) => kit.answers(`${url}/api/route`),
  }),

  "Bun > a script": (kit) => kit.prints([command("bun"), "server/main.js"]),
  "Bun > a page built by it, with deputize/inline": async (kit) => {
    await kit.run([command("bun"), "build", "page/inline.js", "--outfile", kit.out("main.js")]);
    await kit.page();
  },
  "Bun > a script for Bun, and one for Node, built by it": async (kit) => {
    await kit.run([command("bun"), "build", "server/main.js", "--target", "bun", "--outfile", kit.out("bun.js")]);
    await kit.prints([command("bun"), kit.out("bun.js")]);
    await kit.run([command("bun"), "build", "server/main.js", "--target", "node", "--outfile", kit.out("node.js")]);
    await kit.node(kit.out("node.js"));
  },
  "Bun > a program of one file, built by --compile, far from the package": async (kit) => {
    await kit.run([command("bun"), "build", "server/main.js", "--compile", "--outfile", kit.out("program")]);
    await kit.prints([kit.out("program")], { cwd: "/" });
  },

  "Deno > a script that may reach the network, and read no file": (kit) =>
    kit.prints([command("deno"), "run", "--no-prompt", "--allow-net", "--allow-env=TOLD", "server/main.js"]),

  "vitest > tests in node, jsdom and happy-dom": (kit) =>
    kit.run([NODE_22, join(modules, "vitest/vitest.mjs"), "run", "--root", "vitest"], { env: kit.env }),

  "jest > tests in node and jsdom": async (kit) => {
    writeFileSync(kit.out("package.json"), "{}");
    copyFileSync(join(here, "jest/job.test.cjs"), kit.out("job.test.cjs"));
    await kit.jobAsCommonJs();
    const env = { ...kit.env, ROOT: kit.out() };
    await kit.run([command("jest"), "--config", "jest/jest.config.cjs", "--ci"], { env });
  },

  "The README says for each of these which entry to use": () => {
    const readme = readFileSync(join(modules, "deputize/README.md"), "utf8");
    const [table] = readme.match(/^\| what you build [^]*?\n\n/m);
    const tools = Object.keys(rows).filter((name) => name.includes(" > ")).map((name) => name.split(/,| > /)[0]);
    assert.deepEqual([...new Set(tools)].filter((tool) => !table.includes(tool)), []);
  },

  "CommonJS > a script requires it": async (kit) => {
    await kit.jobAsCommonJs();
    copyFileSync(join(here, "server/main.cjs"), kit.out("main.cjs"));
    await kit.node(kit.out("main.cjs"));
    // As a Node before 20.19 does, which cannot require modules.
    await kit.prints([process.execPath, "--no-experimental-require-module", kit.out("main.cjs")]);
  },
};

/** Parts of the same Next.js application, which is built once with these arguments. */
function nextRows(bundler, args, parts) {
  let built;
  const row = (part) => async (kit) => {
    const isFirst = !built;
    built ??= kit.next(bundler, args);
    // The first one says why it was not built.
    const url = await (isFirst ? built : built.catch(() => assert.fail("it was not built")));
    await part(kit, url);
  };
  const name = (what) => `Next.js, built by ${bundler} > ${what}`;
  return Object.fromEntries(Object.entries(parts).map(([what, part]) => [name(what), row(part)]));
}

// --- How they are run --------------------------------------------------------------------------------------

const execute = promisify(execFile);

class Kit {
  constructor(shared, name) {
    Object.assign(this, shared);
    this.folder = join(here, "out", name.replace(/\W+/g, "-"));
    rmSync(this.folder, { recursive: true, force: true });
    mkdirSync(this.folder, { recursive: true });
  }

  out(...file) {
    return join(this.folder, ...file);
  }
  files(folder = this.folder) {
    return readdirSync(folder, { recursive: true }).filter((file) => statSync(join(folder, file)).isFile()).sort();
  }

  /** A program, whose output is answered. */
  async run([program, ...args], { cwd = here, env = this.env } = {}) {
    try {
      const { stdout } = await execute(program, args, { cwd, env, timeout: 400_000, maxBuffer: 2 ** 26 });
      return stdout;
    } catch ({ message, stdout, stderr }) {
      throw new Error(`${message}\n${stdout}${stderr}`);
    }
  }
  /** A program that does the job. */
  async prints(words, options) {
    assert.deepEqual(JSON.parse(await this.run(words, options)), EXPECTED);
  }
  node(file) {
    // Far from the package, which is in the script.
    return this.prints([process.execPath, file], { cwd: "/" });
  }

  /** A route that does the job. */
  async answers(url) {
    assert.deepEqual(await (await fetch(url, { method: "POST" })).json(), EXPECTED);
  }
  /** A page that was made on the server, which did the job. */
  async renders(url) {
    const html = await (await fetch(url)).text();
    const [, json] = html.match(/<pre>(.*?)<\/pre>/) ?? assert.fail(html);
    assert.deepEqual(JSON.parse(json.replaceAll("&quot;", '"')), EXPECTED);
  }

  /** A page that does the job. */
  async page(url) {
    assert.deepEqual(await this.pageSays(url), EXPECTED);
  }
  async pageSays(url) {
    if (!existsSync(this.out("index.html"))) copyFileSync(join(here, "page/index.html"), this.out("index.html"));
    const context = await this.browser.newContext();
    try {
      const page = await context.newPage();
      const said = new Promise((resolve, reject) => {
        page.on("pageerror", reject);
        page.exposeFunction("ended", resolve).catch(reject);
        setTimeout(reject, 30_000, new Error("the page said nothing"));
      });
      await page.exposeFunction("told", () => this.told);
      await page.goto(url ?? this.address());
      return await said;
    } finally {
      await context.close();
    }
  }

  address(query = "") {
    return `${this.pages}/${basename(this.folder)}/${query}`;
  }

  async esbuild(options) {
    const { build } = await import("esbuild");
    await build({ bundle: true, logLevel: "error", absWorkingDir: here, ...options });
  }
  async rollup(input, resolving) {
    const { rollup } = await import("rollup");
    const { nodeResolve } = await import("@rollup/plugin-node-resolve");
    const warned = [];
    const onwarn = (warning) => warned.push(warning.message);
    const bundle = await rollup({ input: join(here, input), plugins: [nodeResolve(resolving)], onwarn });
    await bundle.write({ file: this.out("main.js"), inlineDynamicImports: true });
    assert.deepEqual(warned, []);
  }
  async webpack(config) {
    const { default: webpack } = await import("webpack");
    const output = { path: this.folder, filename: "main.js" };
    const options = { mode: "production", context: here, output, performance: false, ...config };
    const stats = await promisify(webpack)(options);
    const { errors, warnings } = stats.toJson({ all: false, errors: true, warnings: true });
    assert.deepEqual([...errors, ...warnings], []);
  }
  get viteConfig() {
    return { root: join(here, "page"), base: "./", configFile: false, logLevel: "error", cacheDir: this.out(".vite") };
  }
  async vite(config = {}) {
    const { build } = await import("vite");
    await build({ ...this.viteConfig, ...config, build: { outDir: this.folder, emptyOutDir: true, ...config.build } });
  }

  /** A Next.js application that was built and started. */
  async next(bundler, args) {
    const env = { ...this.env, DIST_DIR: `.${bundler}`, NEXT_TELEMETRY_DISABLED: "1" };
    const cwd = join(here, "next");
    await this.run([command("next"), ...args], { cwd, env });
    const port = String(this.ports[bundler]);
    const start = [join(modules, "next/dist/bin/next"), "start", "-H", "127.0.0.1", "-p", port];
    const child = spawn(process.execPath, start, { cwd, env, stdio: ["ignore", "ignore", "inherit"] });
    this.stops.push(() => child.kill());
    const url = `http://127.0.0.1:${port}`;
    for (const deadline = Date.now() + 30_000; ; await new Promise((resolve) => setTimeout(resolve, 100))) {
      if (await fetch(url).then(({ ok }) => ok, () => false)) break;
      assert.ok(Date.now() < deadline, "next start did not answer");
    }
    return url;
  }

  async jobAsCommonJs() {
    await this.esbuild({ entryPoints: ["job.js"], format: "cjs", outfile: this.out("job.cjs") });
  }

  /** The WebAssembly, and not in a script. */
  holdsItAsAFile(folder = this.folder) {
    const files = this.files(folder);
    assert.equal(files.filter((file) => file.endsWith(".wasm")).length, 1, files.join());
    // How each module begins, in base64.
    const holdsIt = (file) => readFileSync(join(folder, file)).includes("AGFzbQEAAAA");
    assert.deepEqual(files.filter((file) => file.endsWith(".js") && holdsIt(file)), []);
  }
  holdsOnlyTheError() {
    const written = this.files().filter((file) => file !== "index.html");
    assert.deepEqual(written, ["main.js"]);
    const { size } = statSync(this.out("main.js"));
    assert.ok(size < 4_000, `${size} bytes`);
  }
}

const TYPES = { ".html": "text/html", ".js": "text/javascript", ".wasm": "application/wasm" };

/** What the pages are served by, under the policy that the README asks for. */
async function servePages(port, service) {
  const policy = `default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self' ${service}`;
  const strict = policy.replace(" 'wasm-unsafe-eval'", "");
  const server = createServer((request, response) => {
    const { pathname, search } = new URL(request.url, "http://localhost");
    const path = pathname.replace(/\/$/, "/index.html");
    try {
      const content = readFileSync(join(here, "out", path));
      response.setHeader("content-security-policy", search === "?strict" ? strict : policy);
      response.writeHead(200, { "content-type": TYPES[extname(path)] ?? "text/plain" }).end(content);
    } catch {
      response.writeHead(404).end();
    }
  });
  return listening(server, port);
}

function listening(server, port = 0) {
  return new Promise((resolve) => server.listen(port, "127.0.0.1", () => resolve(server)));
}

async function freePorts(...names) {
  const servers = await Promise.all(names.map(() => listening(createServer())));
  const ports = servers.map((server) => server.address().port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return Object.fromEntries(names.map((name, at) => [name, ports[at]]));
}

/** `service(origins)` starts a service that pages of these origins may call. `only` chooses rows by their beginning. */
export async function toolchains(tarball, service, report, only = "") {
  const installed = join(modules, "deputize");
  rmSync(installed, { recursive: true, force: true });
  mkdirSync(installed);
  execFileSync("tar", ["-xzf", tarball, "--strip-components=1", "-C", installed]);

  const ports = await freePorts("pages", "vite", "Turbopack", "webpack");
  // jsdom's and happy-dom's documents say that they are of localhost:3000.
  const origins = Object.values(ports).map((port) => `http://127.0.0.1:${port}`);
  const { demo, stop } = await service([...origins, "http://localhost:3000"].join(","));
  const pages = await servePages(ports.pages, demo.RUNLAYER_URL);
  const told = { url: demo.RUNLAYER_URL, clientId: demo.CLIENT_ID, clientSecret: demo.CLIENT_SECRET };
  const env = { ...process.env, NODE_ENV: undefined, TOLD: JSON.stringify(told), EXPECTED: JSON.stringify(EXPECTED) };
  const browser = await launch();
  const stops = [stop, () => pages.close(), () => browser.close()];
  process.on("exit", () => stops.forEach((stop) => stop()));
  const shared = { stops, told, env, ports, browser, pages: `http://127.0.0.1:${ports.pages}` };
  for (const [name, run] of Object.entries(rows)) {
    if (name.startsWith(only)) await test(name, report, () => run(new Kit(shared, name)));
  }
  for (const stop of stops.splice(0)) await stop();
}
