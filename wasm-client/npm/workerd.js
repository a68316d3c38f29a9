// For Cloudflare's workerd, where a module is imported and bytes cannot be compiled.

import { AgentClient as Client } from "./client.js";
import module from "./deputize_bg.wasm";
import { startBy } from "./start.js";

const hint = () =>
  "The bundler must make deputize_bg.wasm a WebAssembly.Module, as wrangler does; or give one to setModule";

export const AgentClient = /* @__PURE__ */ startBy(Client, () => module, hint);
export { DeputizeError } from "./error.js";
export { setModule } from "./start.js";
