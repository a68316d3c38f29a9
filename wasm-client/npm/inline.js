// For servers, tests, and every bundler: the WebAssembly is inside the scripts, so that no file has to be found.

import { AgentClient as Client } from "./client.js";
import base64 from "./bytes.js";
import { isInPage, startFromWithin } from "./start.js";

/** By the engine or by Node, where that is possible: a loop takes ten times as long as the file would. */
function decoded() {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(base64);
  if (globalThis.Buffer) return globalThis.Buffer.from(base64, "base64");
  return Uint8Array.from(atob(base64), (byte) => byte.charCodeAt(0));
}

// A page's main thread must not compile at once what may be large; elsewhere that is faster.
const load = () => (isInPage() ? decoded() : new WebAssembly.Module(decoded()));

const hint = () =>
  isInPage()
    ? "The page's Content-Security-Policy must allow WebAssembly: script-src 'wasm-unsafe-eval'"
    : "This runtime compiles no bytes: import from deputize, whose entry for edge runtimes imports a module, or give one " +
      "to setModule";

export const AgentClient = /* @__PURE__ */ startFromWithin(Client, load, hint);
export { DeputizeError } from "./error.js";
export { setModule } from "./start.js";
