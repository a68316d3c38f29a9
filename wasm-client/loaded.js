// `node loaded.js PACKAGE`: prints how much a page loads of the package.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync } from "node:zlib";

/** The files that a page loads if it imports this entry without a bundler, with their sizes in bytes, by brotli. */
export function loaded(folder, entry = "browser.js") {
  const sizes = new Map();
  const visit = (file) => {
    if (sizes.has(file)) return;
    const content = readFileSync(join(folder, file));
    sizes.set(file, brotliCompressSync(content).length);
    if (!file.endsWith(".js")) return;
    for (const [, named] of content.toString().matchAll(/(?:from ?|new URL\()"\.\/(.*?)"/g)) visit(named);
  };
  visit(entry);
  return sizes;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const bytes = [...loaded(process.argv[2]).values()].reduce((sum, size) => sum + size, 0);
  console.log(`${(bytes / 1000).toFixed(1)} KB brotli in a page`);
}
