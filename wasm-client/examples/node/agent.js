// An agent that calls a tool on behalf of a user who has delegated to it.
//
//   node agent.js USER [TOOL [ARGUMENTS]]     USER by email or id, ARGUMENTS as JSON

import { AgentClient, DeputizeError } from "deputize";

const USAGE = `usage: node agent.js USER [TOOL [ARGUMENTS]]
  USER       an email address, or a user's id
  TOOL       list_repos, if left out
  ARGUMENTS  JSON, such as '{"org": "acme-corp"}'`;

const SETTINGS = ["RUNLAYER_URL", "CLIENT_ID", "CLIENT_SECRET", "SERVER_ID"];

async function main([user, name = "list_repos", json = '{"org": "acme-corp"}']) {
  if (!user) throw new Usage(USAGE);
  const missing = SETTINGS.filter((setting) => !process.env[setting]);
  if (missing.length > 0) throw new Usage(`The environment lacks ${missing.join(", ")}: source data/demo.env`);
  const { RUNLAYER_URL: url, CLIENT_ID: clientId, CLIENT_SECRET: clientSecret, SERVER_ID: server } = process.env;
  const args = argumentsOf(json);

  const agent = new AgentClient({ url, credentials: { clientId, clientSecret } });
  const acting = agent.onBehalfOf(user.includes("@") ? { email: user } : { userId: user });

  const { expiresIn, scope } = await acting.token();
  console.log(`May act for ${user} for ${Math.round(expiresIn / 60)} minutes (${scope})`);

  const tools = await acting.listTools(server);
  console.log(`May call at ${server}: ${tools.map((tool) => tool.name).join(", ") || "nothing"}`);

  const result = await acting.callTool(server, name, args);
  // Servers often repeat structured content as text.
  const repeated = JSON.stringify(result.structuredContent);
  for (const { type, text } of result.content) if (text !== repeated) console.log(type === "text" ? text : `(${type})`);
  if (result.isError) throw new Usage(`${name} failed`);
}

function argumentsOf(json) {
  try {
    return JSON.parse(json);
  } catch (error) {
    throw new Usage(`ARGUMENTS are not JSON: ${error.message}`);
  }
}

/** An error that the user at the shell can fix. */
class Usage extends Error {}

try {
  await main(process.argv.slice(2));
} catch (error) {
  process.exitCode = 1;
  if (error instanceof DeputizeError) {
    console.error(`${error.detail}${error.explanation ? ` (for the ${error.deniedFor}: ${error.explanation})` : ""}`);
    if (error.hint) console.error(`→ ${error.hint}`);
    if (error.requestId) console.error(`  ${error.status} ${error.code}, request ${error.requestId}`);
  } else if (error instanceof Usage || error instanceof TypeError) {
    console.error(error.message);
  } else {
    throw error;
  }
}
