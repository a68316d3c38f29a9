import type { ModuleSource } from "./index.js";

/** What it is, depends on the bundler: a module, its bytes, or its address. */
declare const module: ModuleSource;
export default module;
