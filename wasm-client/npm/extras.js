// What not every application needs, as functions that take a client. A bundler leaves out those that are not imported.

import { aFunction, known, text } from "./checks.js";
import { List } from "./list.js";
import { CALL, toolCall } from "./options.js";
import { malformed, toolResult } from "./result.js";
import { pieces, textOf } from "./send.js";

// By this, a client takes a request that it has no method for (client.js).
const ASK = Symbol.for("deputize.ask");

function clientOf(client) {
  if (typeof client?.[ASK] !== "function") throw new TypeError("The first argument must be an AgentClient");
  return client;
}

// --- Who and what there is -----------------------------------------------------------------------------

const USER = ["id", "email", "name", "role", "active", "groups", "created_at", "updated_at"];
const SERVER = ["id", "name", "url", "auth", "header_name", "pinning", "active", "created_at", "updated_at"];
const ACCOUNT = [
  "id", "name", "active", "disabled_by", "owner_user_id", "groups", "allowed_origins", "shared_grants", "created_at",
  "updated_at",
];

/** The fields with these names, in JavaScript's spelling. */
function shown(names, body) {
  if (typeof body?.id !== "string") throw malformed("The answer is not what it should be: it has no id");
  const spelled = (name) => name.replace(/_(.)/g, (_, first) => first.toUpperCase());
  const there = names.filter((name) => body[name] !== undefined);
  return Object.fromEntries(there.map((name) => [spelled(name), body[name]]));
}

function one(client, what, path, id, names, options) {
  const call = known(`${what}'s options`, options, CALL);
  return client[ASK](call, async (client, call) => {
    const { body } = await client.ask(path, id, undefined, undefined, call);
    return shown(names, body);
  });
}

function list(client, what, path, names, options) {
  const { limit, ...call } = known(`${what}'s options`, options, [...CALL, "limit"]);
  const page = (from = "") =>
    client[ASK](call, async (client, call) => {
      const { body, next } = await client.ask(path + from, "", undefined, undefined, call);
      if (!Array.isArray(body)) throw malformed("The answer is no list");
      return { items: body.map((item) => shown(names, item)), next };
    });
  return new List(page, limit);
}

export async function me(client, options) {
  return one(clientOf(client), "me", "/api/v1/me", "", USER, options);
}

export function servers(client, options) {
  return list(clientOf(client), "servers", "/api/v1/servers", SERVER, options);
}

export function agentAccounts(client, options) {
  return list(clientOf(client), "agentAccounts", "/api/v1/agent-accounts", ACCOUNT, options);
}

export async function agentAccount(client, id, options) {
  text("id", id);
  return one(clientOf(client), "agentAccount", "/api/v1/agent-accounts/{agent_account_id}", id, ACCOUNT, options);
}

// --- A tool that says how far it is --------------------------------------------------------------------

// The service passes on at most 8 MiB from an MCP server.
const MAX_ANSWER = 16 * 1024 * 1024;
const LEVELS = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];

// The service's MCP endpoint: /tools gives results only. A request of a revision with a handshake, but without one,
// needs no other headers; the service knows the server's revision, and speaks it.
const MCP = "/api/v1/proxy/{server_id}/mcp";
const MCP_HEADERS = { accept: "application/json, text/event-stream", "mcp-protocol-version": "2025-11-25" };

export function callToolWithProgress(client, serverId, name, args, options) {
  const given = toolCall(serverId, name, args, options, ["onProgress", "onLog", "logLevel"]);
  const { onProgress, onLog, logLevel = "info", ...call } = given;
  if (onProgress !== undefined) aFunction("onProgress", onProgress);
  if (onLog !== undefined) aFunction("onLog", onLog);
  const least = LEVELS.indexOf(logLevel);
  if (least < 0) throw new TypeError(`logLevel must be one of ${LEVELS.join(", ")}`);
  const _meta = {
    progressToken: "1",
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/logLevel": logLevel,
  };
  const message = { jsonrpc: "2.0", id: "1", method: "tools/call", params: { name, arguments: args ?? {}, _meta } };
  return new ToolProgress((said) =>
    clientOf(client)[ASK]({ ...call, isToolCall: true }, async (client, call) => {
      const { body: response } = await client.ask(MCP, serverId, MCP_HEADERS, message, call);
      for await (const { method, params, id, result, error } of messages(response)) {
        if (method === "notifications/progress") {
          const { progressToken, _meta, ...progress } = Object(params);
          said({ type: "progress", ...progress });
          onProgress?.(progress);
        } else if (method === "notifications/message") {
          const { _meta, ...log } = Object(params);
          // Servers with a handshake were not told.
          const level = LEVELS.indexOf(log.level);
          if (level >= 0 && level < least) continue;
          said({ type: "log", ...log });
          onLog?.(log);
        } else if (method === undefined && error !== undefined) {
          throw client.refused(...refusal(Object(error)), response.headers.get("x-request-id") ?? undefined);
        } else if (method === undefined && id === "1") {
          return toolResult(result);
        }
      }
      throw malformed("The answer ends before the tool's result", " If it is, the tool may have run");
    }),
  );
}

/** The status and the body that an error of the MCP endpoint would have elsewhere. */
function refusal({ code, message = "", data }) {
  const isOurs = typeof data?.error === "string";
  // The service puts the status in place of JSON-RPC's codes, which are negative.
  const status = code >= 400 && code < 600 ? code : isOurs ? 400 : 502;
  const detail = isOurs ? String(message) : `The MCP server refused the call: ${message}`;
  const body = isOurs ? data : { error: "upstream_refused", reason: "tool_call_refused" };
  return [status, { ...body, error_description: detail, detail }];
}

/** The messages of an answer, which are events (HTML standard, section 9.2), or one JSON text. */
async function* messages(response) {
  if (!/^text\/event-stream/i.test(response.headers.get("content-type") ?? "")) {
    return yield read(await textOf(response, MAX_ANSWER));
  }
  let rest = "";
  let held = "";
  let data = [];
  for await (const piece of pieces(response, MAX_ANSWER)) {
    if (piece === undefined) throw malformed("The answer is larger than 16 MiB");
    // A line can end in two characters, of which one is still to come.
    const whole = held + piece;
    held = whole.endsWith("\r") ? "\r" : "";
    const lines = whole.slice(0, whole.length - held.length).split(/\r\n|\r|\n/);
    rest += lines.shift();
    for (const line of lines) {
      if (/^data:/.test(rest)) data.push(rest.replace(/^data: ?/, ""));
      if (rest === "" && data.join("") !== "") yield read(data.join("\n"));
      if (rest === "") data = [];
      rest = line;
    }
  }
}

function read(text) {
  try {
    return Object(JSON.parse(text));
  } catch {
    throw malformed("The answer is no JSON", " If it is, the tool may have run");
  }
}

/** A call under way: a promise of its result, and an async iterator of what is said until then. */
class ToolProgress {
  #said = [];
  #result;
  #more;
  #wake;

  constructor(start) {
    this.#next();
    this.#result = start((said) => this.#say(said));
    const end = () => this.#say(undefined);
    this.#result.then(end, end);
  }

  #next() {
    this.#more = new Promise((resolve) => (this.#wake = resolve));
  }

  #say(said) {
    this.#said.push(said);
    this.#wake();
    this.#next();
  }

  async *[Symbol.asyncIterator]() {
    for (let at = 0; ; at++) {
      while (at >= this.#said.length) await this.#more;
      if (this.#said[at] === undefined) break;
      yield this.#said[at];
    }
    yield { type: "result", result: await this.#result };
  }

  then(fulfilled, rejected) {
    return this.#result.then(fulfilled, rejected);
  }

  catch(rejected) {
    return this.then(undefined, rejected);
  }

  finally(settled) {
    return this.#result.finally(settled);
  }

  get [Symbol.toStringTag]() {
    return "ToolProgress";
  }
}

// --- Elsewhere -----------------------------------------------------------------------------------------

export function blobOf(content) {
  const { data = content?.resource?.blob, mimeType = content?.resource?.mimeType ?? "" } = Object(content);
  if (typeof data !== "string") throw new TypeError("Only images, audio and resources with a blob hold bytes");
  try {
    return new Blob([Uint8Array.from(atob(data), (byte) => byte.charCodeAt(0))], { type: mimeType });
  } catch (cause) {
    throw new TypeError("The data is no base64", { cause });
  }
}

export { authProvider } from "./auth-provider.js";
