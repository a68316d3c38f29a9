// A static server, in case there is no other. DEPUTIZE_URL is the service, if it is not the one in index.html.

import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

const TYPES = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".wasm": "application/wasm" };
const folder = fileURLToPath(new URL(".", import.meta.url));

const server = createServer(async (request, response) => {
  const path = normalize(decodeURIComponent(new URL(request.url, "http://localhost").pathname));
  const type = TYPES[extname(path)] ?? (path === "/" && TYPES[".html"]);
  try {
    if (!type) throw new Error("not a file of the page");
    let body = await readFile(join(folder, path === "/" ? "index.html" : path));
    const { DEPUTIZE_URL } = process.env;
    if (type === TYPES[".html"] && DEPUTIZE_URL) body = String(body).replaceAll("http://127.0.0.1:8787", DEPUTIZE_URL);
    response.setHeader("content-security-policy", "frame-ancestors 'none'");
    response.writeHead(200, { "content-type": type, "cache-control": "no-cache" }).end(body);
  } catch {
    response.writeHead(404).end();
  }
});
server.listen(Number(process.env.PORT ?? 5173), "127.0.0.1", () => console.log(`listening on http://127.0.0.1:${server.address().port}`));
