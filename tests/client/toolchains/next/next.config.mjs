// Nothing of it is for the package: where the application begins, where each bundler writes, and which files it takes.
export default {
  distDir: process.env.DIST_DIR,
  turbopack: { root: new URL("..", import.meta.url).pathname },
  // Next.js 16.4 builds no route handler of the edge runtime with --webpack, not even one of a single line: the build
  // looks for a file, route_client-reference-manifest.js, that it has not written. API routes it does build.
  pageExtensions: process.env.DIST_DIR === ".webpack" ? ["js", "jsx"] : ["js", "turbopack.js"],
};
