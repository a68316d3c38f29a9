// For the edge runtime of Next.js and Vercel, where a module is imported by this name and bytes cannot be compiled
// (https://vercel.com/docs/functions/wasm).

import { AgentClient as Client } from "./client.js";
import module from "./deputize_bg.wasm?module";
import { startBy } from "./start.js";

const hint = () =>
  "The bundler must make deputize_bg.wasm?module a WebAssembly.Module, as Next.js does; or give one to setModule";

export const AgentClient = /* @__PURE__ */ startBy(Client, () => module, hint);
export { DeputizeError } from "./error.js";
export { setModule } from "./start.js";
