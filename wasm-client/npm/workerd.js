// For Cloudflare's workerd, where a module is imported and bytes cannot be compiled.

import { startBy } from "./client.js";
import * as deputize from "./deputize.js";
import module from "./deputize_bg.wasm";

startBy(async () => {
  deputize.initSync({ module });
  return deputize;
});

export { AgentClient, DeputizeError } from "./client.js";
