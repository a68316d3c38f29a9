// For pages, and other runtimes that can fetch a file beside this one.

import { startBy } from "./client.js";
import * as deputize from "./deputize.js";

startBy(async () => {
  await deputize.default({ module_or_path: fetch(new URL("./deputize_bg.wasm", import.meta.url)) });
  return deputize;
});

export { AgentClient, DeputizeError } from "./client.js";
