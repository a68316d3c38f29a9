// The package where not all classes are of one realm: in frames, workers, jsdom and Node's vm (as jest uses it),
// `fetch` gives what is no instance of the classes that the package sees. And stand-ins for `fetch` and for the module,
// which are no instances of anything. Without a service: each test answers by itself.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { cpSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { createContext, runInContext, runInNewContext } from "node:vm";
import { pathToFileURL } from "node:url";
import { test } from "./runtimes.js";

const url = "https://deputize.example";
const RESULT = { content: [{ type: "text", text: "5 repositories" }] };
const WORDS = "Policy denied";
const DENIED = { error: "access_denied", error_description: WORDS, detail: WORDS, reason: "policy_denied_user" };

const foreign = runInNewContext("({ Uint8Array, DataView, WebAssembly })");
const jsonOf = (value) => (typeof value === "string" ? value : JSON.stringify(value));
const bytesOf = (value, Bytes = Uint8Array) => Bytes.from(Buffer.from(jsonOf(value)));

/** A response whose body comes in these pieces. An error among them breaks it off. */
function inPieces(pieces, init) {
  let at = 0;
  const pull = (controller) => {
    if (at === pieces.length) return controller.close();
    const piece = pieces[at++];
    return piece instanceof Error ? controller.error(piece) : controller.enqueue(piece);
  };
  return new Response(new ReadableStream({ pull }), init);
}

const wholeAnswer = (bytes) => [bytes.slice(0, 7), bytes.slice(7, 7), bytes.slice(7)];

export async function realms(app, report) {
  const installed = join(app, "node_modules/deputize");
  const wasm = readFileSync(join(installed, "deputize_bg.wasm"));
  const require = createRequire(join(app, "package.json"));
  const { AgentClient, DeputizeError } = await import(pathToFileURL(join(installed, "inline.js")));

  /** What a call comes to, if `fetch` answers this. */
  async function call(answer, Client = AgentClient, global = globalThis) {
    const before = global.fetch;
    global.fetch = async (...asked) => answer(...asked);
    try {
      const client = new Client({ url, credentials: { apiKey: "rl_1" } });
      return await client.callTool("demo", "list_repos", {}, { timeoutMs: 5_000 }).catch((error) => error);
    } finally {
      global.fetch = before;
    }
  }

  /** The package anew, with nothing started. */
  function fresh() {
    const module = { exports: {} };
    new Function("module", "exports", readFileSync(join(installed, "inline.cjs"), "utf8"))(module, module.exports);
    return module.exports;
  }

  const tests = {
    "a body whose bytes are another realm's is read to its end": async () => {
      for (const Bytes of [Uint8Array, foreign.Uint8Array, Buffer]) {
        const bytes = bytesOf(RESULT, Bytes);
        assert.deepEqual(await call(() => inPieces(wholeAnswer(bytes))), RESULT);
        const { buffer, byteOffset, byteLength } = bytes;
        assert.deepEqual(await call(() => inPieces([new foreign.DataView(buffer, byteOffset, byteLength)])), RESULT);
      }
    },

    "an error whose bytes are another realm's keeps its text": async () => {
      const bytes = bytesOf(DENIED, foreign.Uint8Array);
      const error = await call(() => inPieces(wholeAnswer(bytes), { status: 403 }));
      assert.ok(error instanceof DeputizeError);
      const { status, code, reason, detail } = error;
      assert.deepEqual([status, code, reason, detail], [403, "access_denied", "policy_denied_user", WORDS]);
    },

    "a body that breaks off is an error, and no success": async () => {
      for (const begun of [[], [bytesOf('{"content":')], [bytesOf(RESULT)]]) {
        const error = await call(() => inPieces([...begun, new TypeError("terminated")]));
        assert.ok(error instanceof DeputizeError, JSON.stringify(error));
        assert.equal(error.code, "network_error");
        assert.match(error.detail, /may have been carried out/);
        assert.equal(error.cause.message, "terminated");
      }
    },

    "a body that is not made of bytes is an error, and no success": async () => {
      for (const piece of ["text", { length: 2 ** 31 }, [1, 2], 5, null]) {
        const error = await call(() => inPieces([bytesOf(RESULT), piece]));
        assert.ok(error instanceof DeputizeError, JSON.stringify(error));
        assert.match(error.code, /^(malformed_answer|network_error)$/);
      }
      // A reader that never says that it is done, and has nothing more.
      const body = { getReader: () => ({ read: async () => ({}), cancel: async () => {} }) };
      const error = await call(() => ({ ok: true, status: 200, headers: new Headers(), body, type: "basic" }));
      assert.ok(error instanceof DeputizeError, JSON.stringify(error));
    },

    "a fetch without streams is read as a whole": async () => {
      // As of React Native, and of polyfills.
      const answer = (status, body) => ({
        ok: status < 300,
        status,
        type: "default",
        headers: new Headers(),
        arrayBuffer: async () => bytesOf(body, foreign.Uint8Array).buffer,
        text: async () => JSON.stringify(body),
      });
      assert.deepEqual(await call(() => answer(200, RESULT)), RESULT);
      const error = await call(() => answer(403, DENIED));
      assert.deepEqual([error.status, error.code, error.detail], [403, "access_denied", WORDS]);
    },

    "in a realm of its own, with the classes of fetch from outside, as in jest": async () => {
      const ours = /^(fetch|Request|Response|Headers|Abort|URL|Text|Readable|crypto|atob|btoa|\w+Timeout|queueMicrotask)/;
      const names = Object.getOwnPropertyNames(globalThis).filter((name) => ours.test(name));
      const outside = Object.fromEntries(names.map((name) => [name, globalThis[name]]));
      const context = createContext({ ...outside, module: { exports: {} } });
      context.exports = context.module.exports;
      runInContext(readFileSync(join(installed, "inline.cjs"), "utf8"), context);
      const inside = context.module.exports;
      assert.notEqual(inside.DeputizeError, DeputizeError);
      const result = await call(() => inPieces(wholeAnswer(bytesOf(RESULT))), inside.AgentClient, context);
      assert.equal(JSON.stringify(result), JSON.stringify(RESULT));
      const error = await call(() => inPieces([bytesOf(DENIED)], { status: 403 }), inside.AgentClient, context);
      assert.deepEqual([error.status, error.code, error.detail], [403, "access_denied", WORDS]);
      const broken = await call(() => Promise.reject(new TypeError("fetch failed")), inside.AgentClient, context);
      assert.deepEqual([broken.code, broken.cause.message], ["network_error", "fetch failed"]);
    },

    "a module is taken from the caller, whatever its realm": async () => {
      const address = `data:application/wasm;base64,${wasm.toString("base64")}`;
      const sources = {
        "a module": new WebAssembly.Module(wasm),
        "another realm's module": new foreign.WebAssembly.Module(wasm),
        "bytes": wasm,
        "another realm's bytes": foreign.Uint8Array.from(wasm),
        "a buffer": new Uint8Array(wasm).buffer,
        "a response": new Response(wasm, { headers: { "content-type": "application/wasm" } }),
        "a response without its type": new Response(wasm),
        "what has a response's methods": { ok: true, headers: new Headers(), arrayBuffer: async () => wasm },
        "a promise": Promise.resolve(wasm),
        "a function": () => wasm,
        "a function that answers a promise": async () => wasm,
        "an address": address,
        "a URL": new URL(address),
        "a bundler's class in place of URL": { href: address, toString: () => address },
      };
      for (const [what, source] of Object.entries(sources)) {
        const { AgentClient, setModule } = fresh();
        setModule(source);
        const client = new AgentClient({ url, credentials: { token: () => "t" } });
        assert.equal((await client.token()).accessToken, "t", what);
      }
    },

    "what is no module is an error that says where it came from, and the next call tries again": async () => {
      const { AgentClient, DeputizeError, setModule } = fresh();
      for (const nothing of [undefined, null]) assert.throws(() => setModule(nothing), TypeError);
      const client = new AgentClient({ url, credentials: { token: () => "t" } });
      const page = () => new Response("<!doctype html>", { headers: { "content-type": "text/html" } });
      const missing = () => new Response("", { status: 404 });
      for (const source of [wasm.subarray(0, 99), 5, {}, page, missing, () => Promise.reject(new Error("no"))]) {
        setModule(source);
        const error = await client.token().then(() => undefined, (error) => error);
        assert.ok(error instanceof DeputizeError, String(error));
        assert.deepEqual([error.code, error.hint], ["not_loaded", "Look at what setModule was given"]);
        assert.ok(error.cause instanceof Error);
      }
      setModule(wasm);
      assert.equal((await client.token()).accessToken, "t");
    },

    "where no bytes are compiled, the error says which entry is for that": async () => {
      const { Module } = WebAssembly;
      WebAssembly.Module = class {
        constructor() {
          throw new WebAssembly.CompileError("Wasm code generation disallowed by embedder");
        }
      };
      const { AgentClient } = fresh();
      const client = new AgentClient({ url, credentials: { token: () => "t" } });
      const error = await client.token().catch((error) => error);
      WebAssembly.Module = Module;
      assert.equal(error.code, "not_loaded");
      assert.match(error.hint, /^This runtime compiles no bytes: import from deputize, /);
    },

    "a page's entry elsewhere says that this is no page, and which entry is for that": async () => {
      // A copy, in which other tests have started nothing. Node's fetch loads no file.
      const copy = join(app, "node_modules/deputize-copy");
      cpSync(installed, copy, { recursive: true });
      const { AgentClient } = await import(pathToFileURL(join(copy, "browser.js")));
      const error = await new AgentClient({ url, credentials: { token: () => "t" } }).token().catch((error) => error);
      assert.deepEqual([error.code, error.cause.message], ["not_loaded", "fetch failed"]);
      assert.match(error.hint, /^This is no page: import from deputize\/inline, /);
    },

    "a stack trace names the package's own functions within the WebAssembly": async () => {
      let stack;
      const limit = Error.stackTraceLimit;
      Error.stackTraceLimit = 50;
      await call(() => {
        stack = new Error("here").stack;
        return inPieces([bytesOf(RESULT)]);
      });
      Error.stackTraceLimit = limit;
      assert.match(stack, /at (\w+\.wasm\.)?(exchange|client)::[\w:{}]+ \(wasm:/);
    },

    "a script that requires the package gets the same classes from both entries": () => {
      const [main, inline] = [require("deputize"), require("deputize/inline")];
      assert.equal(main, inline);
      assert.deepEqual(Object.keys(main).sort(), ["AgentClient", "DeputizeError", "setModule"]);
    },
  };

  for (const [name, run] of Object.entries(tests)) await test(name, report, run);
}
