import { defineConfig } from "vitest/config";

const project = (environment, options) => ({
  test: { name: environment, environment, include: ["*.test.js"], ...options },
});

// vmThreads runs tests in a realm of their own, with fetch from outside.
const realm = project("jsdom", { name: "jsdom-in-vm", pool: "vmThreads" });

export default defineConfig({ test: { projects: [...["node", "jsdom", "happy-dom"].map((each) => project(each)), realm] } });
