// For Node.

import { readFile } from "node:fs/promises";
import { startBy } from "./client.js";
import * as deputize from "./deputize.js";

startBy(async () => {
  deputize.initSync({ module: await readFile(new URL("./deputize_bg.wasm", import.meta.url)) });
  return deputize;
});

export { AgentClient, DeputizeError } from "./client.js";
