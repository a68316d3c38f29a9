// Ten thousand calls, of clients that are made anew for each, must leave nothing behind. In Node, with --expose-gc.
//
//   node --expose-gc leak.js     in the folder of an application that has installed the package

import { AgentClient } from "deputize";

// A kilobyte of each call would be ten megabytes.
const MOST = 6_000_000;

const TOKEN = { access_token: "a.b.c", token_type: "Bearer", expires_in: 3600, scope: "tools:call" };
const fetch = async (url) => Response.json(url.endsWith("/oauth/token") ? TOKEN : { content: [] });
const agent = new AgentClient({ url: "https://deputize.example", credentials: { clientId: "id", clientSecret: "x" }, fetch });
const users = [{ userId: "id" }, { accessToken: "u.v.w" }, { accessToken: async () => "u.v.w" }];

async function used(calls) {
  for (let call = 0; call < calls; call++) await agent.onBehalfOf(users[call % users.length]).callTool("demo", "x", { call });
  // What is collected is finalized in turns of its own.
  for (let turn = 0; turn < 5; turn++) {
    globalThis.gc();
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

const before = await used(5_000);
const grown = (await used(10_000)) - before;
console.log(`${grown} bytes more after 10,000 calls`);
process.exit(grown <= MOST ? 0 : 1);
