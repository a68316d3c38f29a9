// The tarball: its content, its description, and its size.

import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import assert from "node:assert/strict";
import { loaded } from "../../wasm-client/loaded.js";
import { here, test } from "./runtimes.js";

/** The most bytes that a page may load, by brotli. */
const LARGEST = 60_000;

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
        "LICENSE", "README.md", "browser.js", "bytes.js", "client.js", "deputize.js", "deputize_bg.wasm",
        "deputize_bg.wasm.d.ts", "edge-light.js", "error.js", "extras.cjs", "extras.d.cts", "extras.d.ts", "extras.js",
        "index.d.cts", "index.d.ts", "inline.cjs", "inline.d.cts", "inline.d.ts", "inline.js", "list.js", "options.js",
        "package.json", "result.js", "send.js", "start.js", "within.js", "workerd.js",
      ]);
      for (const file of files.filter((file) => /\.c?js$/.test(file))) {
        assert.ok(!read(file).includes("sourceMappingURL"), `${file} names a source map`);
        for (const [, imported] of read(file).matchAll(/from ?"\.\/([\w.-]+)/g)) assert.ok(existsSync(join(installed, imported)));
      }
      const { dependencies, scripts, version } = JSON.parse(read("package.json"));
      assert.deepEqual([dependencies, scripts], [undefined, undefined]);
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
      const modules = `import * as a from "deputize";\nimport * as b from "deputize/inline";\n{${use("a")}}{${use("b")}}`;
      const commonJs = `import a = require("deputize");\nimport b = require("deputize/inline");\n{${use("a")}}{${use("b")}}`;
      writeFileSync(join(app, "entries.mts"), modules);
      writeFileSync(join(app, "entries.cts"), commonJs);
      writeFileSync(join(app, "entries.ts"), `${modules}\nimport module from "deputize/deputize_bg.wasm";\na.setModule(module);`);
      const strict = ["--noEmit", "--strict", "--target", "es2022", "--lib", "es2023,dom,dom.asynciterable", "--types", ""];
      execute("tsc", ...strict, "--module", "nodenext", "entries.mts", "entries.cts");
      execute("tsc", ...strict, "--module", "esnext", "--moduleResolution", "bundler", "entries.ts");
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
      const lines = [...read("index.d.ts").split("\n"), ...read("extras.d.ts").split("\n")];
      const isMember = /^ {2}(readonly )?\w+\??(\(|: )|^export (class|interface|type) /;
      const undocumented = lines.filter((line, at) => isMember.test(line) && !line.endsWith(",") && !/\*\/$/.test(lines[at - 1]));
      assert.deepEqual(undocumented, []);
    },

    "a page loads at most 60 KB of it": () => {
      const sizes = [...loaded(installed)];
      const total = sizes.reduce((sum, [, size]) => sum + size, 0);
      console.log(`        ${total} bytes: ${sizes.map(([file, size]) => `${file} ${size}`).join(", ")}`);
      assert.ok(total <= LARGEST, `${total} bytes`);
    },
  };

  for (const [name, run] of Object.entries(tests)) await test(name, report, run);
}
