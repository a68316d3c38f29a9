// Holds an agent's credentials, and calls one tool for the user whose JWT a page sends. It verifies nothing itself:
// it exchanges the JWT for a token on behalf of its user. The service gives that token if the JWT is good and the
// user has delegated to the agent. The policies of both then decide what the tool may do.
//
//   POST /    Authorization: Bearer <user's JWT>    {"org": "acme-corp"}    answers the tool's result

import { AgentClient, DeputizeError } from "deputize";

const TOOL = "list_repos";
const MAX_BODY = 4 * 1024;
// What a page may be told; all else is the worker's own business.
const TOLD = ["code", "detail", "hint", "requestId", "retryAfter", "reason", "deniedFor", "explanation"];

// Made once for each instance, and keeps the agent's own tokens.
let agent;

export default {
  async fetch(request, env) {
    const answer = await answerTo(request, env).catch((error) => told(error));
    answer.headers.set("vary", "Origin");
    answer.headers.set("cache-control", "no-store");
    if (request.headers.get("origin") === env.PAGE_ORIGIN) {
      answer.headers.set("access-control-allow-origin", env.PAGE_ORIGIN);
      answer.headers.set("access-control-allow-headers", "authorization, content-type");
      answer.headers.set("access-control-expose-headers", "retry-after");
      answer.headers.set("access-control-max-age", "7200");
    }
    return answer;
  },
};

async function answerTo(request, env) {
  if (request.headers.get("origin") !== env.PAGE_ORIGIN) return refused(403, "access_denied", "This page may not ask here");
  if (request.method === "OPTIONS") return new Response(null, { status: 204 });
  if (request.method !== "POST") return refused(405, "method_not_allowed", "Only POST", { allow: "POST, OPTIONS" });
  const accessToken = /^Bearer (\S+)$/i.exec(request.headers.get("authorization") ?? "")?.[1];
  if (!accessToken) return refused(401, "unauthorized", "Send the user's JWT as a bearer token", { "www-authenticate": "Bearer" });
  const text = await textOf(request);
  if (text === undefined) return refused(413, "request_too_large", `At most ${MAX_BODY} bytes`);
  const args = argumentsOf(text);
  if (!args) return refused(400, "invalid_request", "Send the arguments as a JSON object, such as {\"org\": \"acme-corp\"}");

  const { RUNLAYER_URL: url, CLIENT_ID: clientId, CLIENT_SECRET: clientSecret, SERVER_ID: server } = env;
  agent ??= new AgentClient({ url, credentials: { clientId, clientSecret } });
  const result = await agent.onBehalfOf({ accessToken }).callTool(server, TOOL, args, { signal: request.signal });
  return Response.json(result);
}

/** The body, unless it is too long. No more than the limit is read, whatever the stated length is. */
async function textOf(request) {
  const decoder = new TextDecoder();
  let text = "";
  let length = 0;
  for await (const chunk of request.body ?? []) {
    length += chunk.length;
    if (length > MAX_BODY) return undefined;
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}

function argumentsOf(text) {
  try {
    const value = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function told(error) {
  if (!DeputizeError.is(error)) {
    console.error(error);
    return refused(500, "server_error", "Internal error");
  }
  // An error in the agent's own credentials is not the page's fault.
  const isOurs = error.code === "invalid_client";
  if (isOurs) console.error(`${error.detail}: ${error.hint} (request ${error.requestId})`);
  const fields = isOurs ? { code: "server_error", detail: "The agent could not be authenticated", requestId: error.requestId } : error;
  const body = Object.fromEntries(TOLD.map((name) => [name, fields[name]]).filter(([, value]) => value !== undefined));
  const headers = error.retryAfter === undefined ? {} : { "retry-after": String(error.retryAfter) };
  return Response.json(body, { status: isOurs ? 500 : (error.status ?? 502), headers });
}

function refused(status, code, detail, headers = {}) {
  return Response.json({ code, detail }, { status, headers });
}
