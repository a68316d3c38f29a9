// The tarball: its content, its description, and its size.

import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import assert from "node:assert/strict";
import { loaded } from "../../wasm-client/loaded.js";
import { here, test } from "./runtimes.js";

/** The most bytes that a page may load, by brotli; and of an entry beside that one, with all that it imports. */
const LARGEST = 60_000;
const LARGEST_BESIDE = 6_000;

export async function packaging(app, tarball, report) {
  const installed = join(app, "node_modules/deputize");
  const read = (file) => readFileSync(join(installed, file), "utf8");
  const execute = (command, ...args) => {
    try {
      return execFileSync(join(here, "node_modules/.bin", command), args, { cwd: app, encoding: "utf8", stdio: "pipe" });
    } catch (error) {
      throw new Error(`${command} ${args.join(" ")}\n${error.stdout}${error.stderr}`);
    }
  };

  const tests = {
    "the tarball holds what it needs and nothing else": () => {
      const files = readdirSync(installed).sort();
      assert.deepEqual(files, [
        "LICENSE", "README.md", "auth-provider.js", "browser.js", "bytes.js", "checks.js", "client.js", "deputize.js",
        "deputize_bg.wasm", "deputize_bg.wasm.d.ts", "edge-light.js", "error.js", "extras.cjs", "extras.d.cts",
        "extras.d.ts", "extras.js", "index.d.cts", "index.d.ts", "inline.cjs", "inline.d.cts", "inline.d.ts", "inline.js",
        "list.js", "mcp.cjs", "mcp.d.cts", "mcp.d.ts", "mcp.js", "options.js", "package.json", "page.js", "result.js",
        "send.js", "sign-in.cjs", "sign-in.d.cts", "sign-in.d.ts", "sign-in.js", "start.js", "within.js", "workerd.js",
      ]);
      for (const file of files.filter((file) => /\.c?js$/.test(file))) {
        assert.ok(!read(file).includes("sourceMappingURL"), `${file} names a source map`);
        for (const [, imported] of read(file).matchAll(/from ?"\.\/([\w.-]+)/g)) assert.ok(existsSync(join(installed, imported)));
      }
      const { dependencies, peerDependencies, peerDependenciesMeta, scripts, version } = JSON.parse(read("package.json"));
      assert.deepEqual([dependencies, scripts], [undefined, undefined]);
      // Of one entry alone, whose users have it.
      assert.deepEqual(Object.keys(peerDependencies), ["@modelcontextprotocol/client"]);
      assert.deepEqual(peerDependenciesMeta, { "@modelcontextprotocol/client": { optional: true } });
      const workspace = readFileSync(join(here, "../../Cargo.toml"), "utf8");
      assert.equal(version, workspace.match(/\[workspace\.package\]\nversion = "(.*)"/)[1]);
    },

    "publint finds nothing": () => void execute("publint", "--strict", installed),

    // The module's own types are for bundlers only.
    "the types are found however they are looked for": () =>
      void execute("attw", tarball, "--no-emoji", "--exclude-entrypoints", "./deputize_bg.wasm"),

    "each entry has its types, in modules, in CommonJS and for bundlers": () => {
      const use = (deputize) => `
        const { AgentClient, DeputizeError } = ${deputize};
        const client: InstanceType<typeof AgentClient> = new AgentClient({ url: "https://deputize.example", credentials: { apiKey: "rl_" } });
        const tools: Promise<${deputize}.Tool[]> = Promise.resolve(client.listTools("demo"));
        const isOurs = (error: unknown): boolean => error instanceof DeputizeError;
        ${deputize}.setModule(new Uint8Array());
        ${deputize}.setModule(async () => fetch("https://deputize.example/deputize_bg.wasm"));
        // @ts-expect-error a module is needed
        ${deputize}.setModule();`;
      const useBeside = `
        const app: s.SignInOptions = { url: "https://deputize.example", clientId: "app", redirectUri: "https://app.example/" };
        const signedIn: Promise<s.SignedIn | null> = s.handleCallback();
        signedIn.then((session) => session && new a.AgentClient({ url: app.url, credentials: session.credentials }));
        // @ts-expect-error there is no such option
        s.signIn({ ...app, redirect_uri: app.redirectUri });`;
      const entries = { a: "deputize", b: "deputize/inline", s: "deputize/sign-in" };
      const all = (imported) => Object.entries(entries).map(imported).join("\n");
      const uses = `{${use("a")}}{${use("b")}}{${useBeside}}`;
      const modules = `${all(([name, entry]) => `import * as ${name} from "${entry}";`)}\n${uses}`;
      const commonJs = `${all(([name, entry]) => `import ${name} = require("${entry}");`)}\n${uses}`;
      writeFileSync(join(app, "entries.mts"), modules);
      writeFileSync(join(app, "entries.cts"), commonJs);
      writeFileSync(join(app, "entries.ts"), `${modules}\nimport module from "deputize/deputize_bg.wasm";\na.setModule(module);`);
      const strict = ["--noEmit", "--strict", "--target", "es2022", "--lib", "es2023,dom,dom.asynciterable", "--types", ""];
      execute("tsc", ...strict, "--module", "nodenext", "entries.mts", "entries.cts");
      execute("tsc", ...strict, "--module", "esnext", "--moduleResolution", "bundler", "entries.ts");
      const useMcp = `
        const provider = new m.OAuthProvider({ redirectUri: "https://app.example/" });
        new Client({ name: "app", version: "1" }).connect(m.transport({ url: "https://deputize.example", serverId: "demo", provider }));
        // @ts-expect-error one of them is needed
        m.transport({ url: "https://deputize.example", serverId: "demo" });`;
      const sdk = 'import { Client } from "@modelcontextprotocol/client";\n';
      writeFileSync(join(app, "mcp.mts"), `${sdk}import * as m from "deputize/mcp";${useMcp}`);
      writeFileSync(join(app, "mcp.cts"), `${sdk}import m = require("deputize/mcp");${useMcp}`);
      // Without a look into the types of MCP's SDK, some of which are Node's.
      execute("tsc", ...strict, "--skipLibCheck", "--module", "nodenext", "mcp.mts", "mcp.cts");
    },

    "an application type-checks against it, and mistakes do not": () => {
      writeFileSync(join(app, "application.ts"), readFileSync(join(here, "application.ts")));
      execute("tsc", "--noEmit", "--strict", "--target", "es2022", "--lib", "es2023,dom,dom.asynciterable", "--module", "nodenext", "--skipLibCheck", "false", "--types", "", "application.ts");
    },

    "its types are as types.ts says, and fit those of MCP's SDK": () => {
      writeFileSync(join(app, "types.ts"), readFileSync(join(here, "types.ts")));
      const mcp = resolve(here, "../upstreams/node_modules/@modelcontextprotocol/server/dist/index.d.mts");
      const compilerOptions = {
        noEmit: true, strict: true, exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true, skipLibCheck: true,
        target: "es2022", lib: ["es2023", "dom", "dom.asynciterable", "dom.iterable"], module: "nodenext", types: [],
        paths: { "@modelcontextprotocol/server": [mcp] },
      };
      writeFileSync(join(app, "tsconfig.json"), JSON.stringify({ compilerOptions, files: ["types.ts"] }));
      execute("tsc", "--project", "tsconfig.json");
    },

    "who does not use an extra does not get it": () => {
      const bundled = (imported) => {
        const entry = join(app, "extras-entry.js");
        writeFileSync(entry, `import { AgentClient } from "deputize";\n${imported}\nnew AgentClient({});`);
        return execute("esbuild", "--bundle", "--format=esm", "--conditions=workerd", "--external:*.wasm", "--log-level=error", entry);
      };
      const [none, one] = [bundled(""), bundled('import { me } from "deputize/extras";\nme();')];
      assert.ok(!none.includes("/api/v1/me") && !none.includes("notifications/progress"));
      assert.ok(one.includes("/api/v1/me") && !one.includes("notifications/progress"));
    },

    "each code of the service's is one of the types'": () => {
      const codes = readFileSync(join(here, "../../functions/api/src/error.rs"), "utf8").matchAll(/const [A-Z_]+: &str = "(\w+)"/g);
      const [, union] = read("index.d.ts").match(/export type ErrorCode =([^;]*);/);
      const missing = [...codes].map(([, code]) => code).filter((code) => !union.includes(`"${code}"`));
      assert.deepEqual(missing, []);
      assert.ok(union.includes('"access_denied"'));
    },

    "every member of the types is documented": () => {
      const lines = ["index", "extras", "sign-in", "mcp"].flatMap((entry) => read(`${entry}.d.ts`).split("\n"));
      const isMember = /^ {2}(readonly )?\w+\??(\(|: )|^export (class|function|interface|type) /;
      const undocumented = lines.filter((line, at) => isMember.test(line) && !line.endsWith(",") && !/\*\/$/.test(lines[at - 1]));
      assert.deepEqual(undocumented, []);
    },

    "a page loads at most 60 KB of it": () => {
      const sizes = [...loaded(installed)];
      const total = sizes.reduce((sum, [, size]) => sum + size, 0);
      console.log(`        ${total} bytes: ${sizes.map(([file, size]) => `${file} ${size}`).join(", ")}`);
      assert.ok(total <= LARGEST, `${total} bytes`);
    },

    "signing in and MCP's transport are at most 6 KB each, and need no WebAssembly": () => {
      for (const entry of ["sign-in.js", "mcp.js"]) {
        const sizes = loaded(installed, entry);
        const total = [...sizes.values()].reduce((sum, size) => sum + size, 0);
        console.log(`        ${entry}: ${total} bytes: ${[...sizes].map(([file, size]) => `${file} ${size}`).join(", ")}`);
        assert.ok(total <= LARGEST_BESIDE, `${entry}: ${total} bytes`);
        assert.deepEqual([...sizes.keys()].filter((file) => /wasm|bytes|deputize|start/.test(file)), []);
      }
    },
  };

  for (const [name, run] of Object.entries(tests)) await test(name, report, run);
}
