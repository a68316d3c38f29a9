// Packs the package, installs it like a user, and runs the suite in each runtime against a separate service.
//
//   node run.js [packaging|realms|node|fuzz|chromium|workerd|sign-in|toolchains|examples]…
//
// DEPUTIZE_BIN is the service, CHROMIUM the browser. FUZZ_SEED and FUZZ_SECONDS are for the part `fuzz`. The last line is
// `N passed, N failed`.

import { execFileSync, spawn, spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { between } from "./between.js";
import { examples } from "./examples.js";
import { packaging } from "./packaging.js";
import { realms } from "./realms.js";
import { chromium, here, node, pageServer, test, workerd } from "./runtimes.js";
import { signIn } from "./sign-in.js";
import { signInUnits } from "./sign-in-units.js";
import { toolchains } from "./toolchains/run.js";

const PARTS = ["packaging", "realms", "node", "fuzz", "chromium", "workerd", "sign-in", "toolchains", "examples"];
const parts = process.argv.length > 2 ? process.argv.slice(2) : PARTS;
const binary = process.env.DEPUTIZE_BIN ?? resolve(here, "../../target/debug/deputize");
const built = resolve(here, "../../wasm-client/pkg");

const scratch = mkdtempSync(join(tmpdir(), "deputize-client-"));
process.on("exit", () => rmSync(scratch, { recursive: true, force: true }));

let passed = 0;
let failed = 0;

function report({ name, status, millis, why }) {
  if (status === "passed") passed++;
  else failed++;
  console.log(`${status === "passed" ? "ok" : "FAILED"}  ${name} (${millis} ms)`);
  for (const text of why ?? []) console.log(text.replace(/^/gm, "        "));
}

/** An application that has installed the result of `npm pack`. */
function install() {
  const app = join(scratch, "app");
  mkdirSync(app);
  writeFileSync(join(app, "package.json"), JSON.stringify({ name: "app", private: true, type: "module" }));
  const npm = (cwd, ...args) => execFileSync("npm", args, { cwd, encoding: "utf8" });
  const tarball = join(scratch, npm(built, "pack", "--silent", "--pack-destination", scratch).trim());
  npm(app, "install", "--silent", "--no-audit", "--no-fund", "--offline", tarball);
  mkdirSync(join(app, "node_modules/@modelcontextprotocol"));
  for (const name of ["qunit", "@modelcontextprotocol/client"]) {
    symlinkSync(join(here, "node_modules", name), join(app, "node_modules", name));
  }
  for (const file of ["suite.js", "fuzz.js", "leak.js"]) copyFileSync(join(here, file), join(app, file));
  return { app, tarball };
}

/** A service with a new demo organization, which pages of the origin may call. */
async function service(name, origin) {
  const data = join(scratch, name);
  const env = { ...process.env, DEPUTIZE_ALLOWED_ORIGINS: origin, RUST_LOG: "warn" };
  const child = spawn(binary, ["--port", "0", "--data-dir", data], { env, stdio: ["ignore", "pipe", "inherit"] });
  process.on("exit", () => child.kill());
  for await (const line of createInterface({ input: child.stdout })) {
    if (!line.startsWith("listening on ")) continue;
    child.stdout.resume();
    const variables = readFileSync(join(data, "demo.env"), "utf8").matchAll(/^export (\w+)='(.*)'$/gm);
    const demo = Object.fromEntries([...variables].map(([, name, value]) => [name, value]));
    return { demo, data, stop: () => child.kill() };
  }
  throw new Error(`${binary} did not start`);
}

/** A real MCP server that everyone may call. */
async function mcpServer({ RUNLAYER_URL, ALICE_API_KEY }) {
  const child = spawn(process.execPath, [resolve(here, "../upstreams/modern-server.mjs")], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  process.on("exit", () => child.kill());
  let url;
  for await (const line of createInterface({ input: child.stdout })) {
    url = line.match(/^listening on (.*)$/)?.[1];
    if (url) break;
  }
  const administer = async (path, body) => {
    const headers = { "x-runlayer-api-key": ALICE_API_KEY, "content-type": "application/json" };
    const answer = await fetch(RUNLAYER_URL + path, { method: "POST", headers, body: JSON.stringify(body) });
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
  };
  await administer("/api/v1/servers", { id: "modern", name: "Modern", url, auth: "none" });
  await administer("/api/v1/policies", { name: "modern", text: 'permit(principal, action, resource in Server::"modern");' });
  return () => child.kill();
}

const { app, tarball } = install();
const pages = await pageServer(app);
const origin = `http://127.0.0.1:${pages.address().port}`;
const runtimes = {
  node: (told) => node(app, told, report),
  chromium: (told) => chromium(origin, told, report),
  workerd: (told) => workerd(app, told, report),
};

for (const part of parts) {
  console.log(`\n${part}`);
  if (part === "packaging") {
    await packaging(app, tarball, report);
    continue;
  }
  if (part === "realms") {
    await realms(app, report);
    continue;
  }
  if (part === "toolchains") {
    await toolchains(tarball, (origins) => service(part, origins), report, process.env.TOOLCHAIN);
    continue;
  }
  if (part === "fuzz") {
    const { FUZZ_SEED = "1", FUZZ_SECONDS = "10" } = process.env;
    const run = (...args) => () => {
      const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd: app, encoding: "utf8" });
      if (status !== 0) throw new Error(stdout + stderr);
      console.log(`        ${stdout.trim()}`);
    };
    const made = run("fuzz.js", FUZZ_SEED, String(FUZZ_SECONDS * 1000));
    await test("no value and no answer ends in a trap, in silence or in an error of another kind", report, made);
    await test("ten thousand calls leave nothing behind", report, run("--expose-gc", "leak.js"));
    continue;
  }
  if (part === "sign-in") {
    await signInUnits(app, report);
    await signIn(app, (origins) => service(part, origins), report);
    continue;
  }
  if (part === "examples") {
    await examples(app, (origin) => service(part, origin), report);
    continue;
  }
  const { demo, stop } = await service(part, origin);
  const stopServer = await mcpServer(demo);
  const way = await between(demo.RUNLAYER_URL);
  const before = passed + failed;
  try {
    const told = { demo, between: `http://127.0.0.1:${way.address().port}`, runtime: part };
    const counts = await runtimes[part](told);
    // A suite that ended early has not passed.
    if (counts?.total !== passed + failed - before || counts.total === 0) throw new Error("some tests have not run");
  } catch (error) {
    report({ name: `${part} runs the suite`, status: "failed", millis: 0, why: [String(error?.stack ?? error)] });
  }
  way.closeAllConnections();
  way.close();
  stopServer();
  stop();
}

console.log(`\n${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
