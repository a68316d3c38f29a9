// The WebAssembly: where it comes from, and how it is started, once.
//
// Each entry has its own way to it, and `setModule` has the application's. No entry does anything when it is imported:
// what is not used of it can be left out (`sideEffects` of package.json).

import * as deputize from "./deputize.js";
import { DeputizeError } from "./error.js";

// In this order: the application's, the one inside the scripts, the entry's.
let given;
let carried;
let entry;

/**
 * Answers `AgentClient`, which is then started by what `load` answers: a module, its bytes, or the response with them.
 * `hint()` says what to do if that fails.
 */
export function startBy(AgentClient, load, hint) {
  entry ??= { load, hint };
  return AgentClient;
}

/** The same, for a module that is certainly there. In a bundle with two entries, it is preferred. */
export function startFromWithin(AgentClient, load, hint) {
  carried ??= { load, hint };
  return AgentClient;
}

export function setModule(source) {
  if (source === undefined || source === null) {
    throw new TypeError("setModule takes a WebAssembly.Module, its bytes, its address, or a response with it");
  }
  given = {
    load: () => (typeof source === "function" ? source() : source),
    hint: () => "Look at what setModule was given",
  };
}

/** The exports of the started WebAssembly. */
export const start = /* @__PURE__ */ lazily(async () => {
  const { load, hint } = given ?? carried ?? entry;
  try {
    const module = await loaded(await load());
    // At once where that is possible. A promise that belongs to one visit of a worker ends with the visit.
    if (module instanceof WebAssembly.Module) deputize.initSync({ module });
    else await deputize.default({ module_or_path: module });
    return deputize;
  } catch (cause) {
    throw new DeputizeError({
      code: "not_loaded",
      detail: "The WebAssembly of this package could not be loaded",
      hint: hint(),
      cause,
    });
  }
});

/** A module or bytes. Bundlers, frames and test environments have classes of their own. */
async function loaded(source) {
  const response = typeof source === "string" || typeof source.href === "string" ? await fetch(`${source}`) : source;
  if (typeof response.arrayBuffer !== "function") return response;
  if (!response.ok) throw new Error(`HTTP ${response.status} for ${response.url}`);
  const isNative = typeof Response === "function" && response instanceof Response;
  const isWasm = response.headers.get("content-type")?.startsWith("application/wasm");
  const canStream = isNative && isWasm && WebAssembly.compileStreaming;
  return canStream ? WebAssembly.compileStreaming(response) : response.arrayBuffer();
}

/** Makes it when it is first needed. If that fails, the next use tries again. */
export function lazily(make) {
  let made;
  return () =>
    (made ??= make().catch((error) => {
      made = undefined;
      throw error;
    }));
}

/** Whether a policy of a page applies to what runs here. */
export const isInPage = () => typeof document === "object" || typeof importScripts === "function";
