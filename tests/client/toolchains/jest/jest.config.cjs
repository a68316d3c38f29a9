const project = (displayName, testEnvironment) => ({
  displayName,
  testEnvironment,
  rootDir: process.env.ROOT,
  testMatch: ["<rootDir>/*.test.cjs"],
  transform: {},
});

// jest's own jsdom has no fetch, so applications that call it use this environment.
module.exports = { projects: [project("node", "node"), project("jsdom", "jest-fixed-jsdom")] };
