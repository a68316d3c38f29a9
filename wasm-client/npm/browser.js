// For pages, where the WebAssembly is a file beside the scripts.

import { AgentClient as Client } from "./client.js";
import { isInPage, startBy } from "./start.js";

const load = () => fetch(new URL("./deputize_bg.wasm", import.meta.url));

const hint = () =>
  isInPage()
    ? "deputize_bg.wasm must be served beside the scripts, and the page's Content-Security-Policy must allow it " +
      "(connect-src 'self', script-src 'wasm-unsafe-eval'). If your bundler does not take the file along, import " +
      "from deputize/inline"
    : "This is no page: import from deputize/inline, which needs no file, or give the module to setModule";

export const AgentClient = /* @__PURE__ */ startBy(Client, load, hint);
export { DeputizeError } from "./error.js";
export { setModule } from "./start.js";
