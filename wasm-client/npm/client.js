// The client's public side. The work is done in WebAssembly. Here is what is better in JavaScript: promises that end,
// lists that can be iterated over, and options.

import { known, optionalText, text } from "./checks.js";
import { DeputizeError } from "./error.js";
import { List } from "./list.js";
import { CALL, clientOf, onBehalfOf, time, toolCall } from "./options.js";
import { toolPage, toolResult } from "./result.js";
import { lazily, start } from "./start.js";
import { within } from "./within.js";

// Longer than the service itself needs for a call: 2 minutes for the tool, 24 s for a refresh.
const TOOL_MS = 150_000;
const OTHER_MS = 30_000;

const EARLY = "Try again, or give it longer by timeoutMs";
const TRY_AGAIN = { late: EARLY };
const MAY_HAVE_RUN = { late: "The tool may have run: look before you repeat the call", early: EARLY };
const MAY_BE_DONE = { late: "The request may have been carried out: look before you repeat it", early: EARLY };

const LIST = [...CALL, "limit"];

/** By this, `extras.js` asks for what is not here; it may stand beside another copy of this file. */
const ASK = Symbol.for("deputize.ask");

/** A function of the application, called with a signal that ends it. */
function bounded(run) {
  return (asked) =>
    within({ timeoutMs: OTHER_MS }, { late: "Look at the application's token function" }, async ({ signal }) =>
      run({ ...asked, signal }),
    );
}

const MADE_HERE = Symbol();

export class AgentClient {
  #client;
  #isOnBehalf;
  #isAgent;
  #limits;

  constructor(options, made) {
    if (made?.by === MADE_HERE) {
      this.#client = made.client;
      this.#limits = made.limits;
      this.#isOnBehalf = true;
    } else {
      let { make, timeoutMs, retries } = clientOf(options, bounded);
      const { credentials } = options;
      this.#isAgent = credentials.clientId !== undefined ? "client" : credentials.token && "tokens";
      this.#limits = { timeoutMs, retries };
      this.#client = lazily(async () => {
        const client = make(await start());
        // The client holds the credentials now, and wipes them in the end.
        make = undefined;
        return client;
      });
    }
    this.delegations = new Delegations((...call) => this.#call(...call));
    this.sessionGrants = new SessionGrants((...call) => this.#call(...call));
  }

  async #call({ signal, timeoutMs, retries = this.#limits.retries }, hints, run, otherwise = OTHER_MS) {
    const limits = { signal, timeoutMs: timeoutMs ?? this.#limits.timeoutMs ?? otherwise, retries };
    return within(limits, hints, async (call) => {
      const client = await this.#client();
      try {
        return await run(client, call);
      } catch (thrown) {
        // No function of the application's has failed: its user is to sign in again (sign-in.js).
        if (thrown?.cause?.code === "signed_out" && DeputizeError.is(thrown.cause)) throw thrown.cause;
        // The WebAssembly throws the fields of an error. Made into an error here, its stack is this call's.
        throw thrown?.isDeputizeError ? new DeputizeError(thrown) : thrown;
      }
    });
  }

  [ASK]({ isToolCall, ...options }, run) {
    return this.#call(options, isToolCall ? MAY_HAVE_RUN : TRY_AGAIN, run, isToolCall ? TOOL_MS : OTHER_MS);
  }

  async token(options) {
    const { renew, ...call } = known("token's options", options, [...CALL, "renew"]);
    if (typeof renew !== "boolean") optionalText("renew", renew);
    return this.#call(call, TRY_AGAIN, (client, call) => client.token(renew, call));
  }

  onBehalfOf(user) {
    if (this.#isOnBehalf) throw new TypeError("This client acts for a user already: ask the agent's own");
    const acting = onBehalfOf(user, bounded);
    if (!this.#isAgent) throw new TypeError("Only an agent acts on behalf of others: this client is a user's own");
    if (this.#isAgent === "tokens" && user.accessToken === undefined) {
      throw new TypeError("Without the agent's own credentials, a user is named by their accessToken");
    }
    const client = lazily(async () => acting(await this.#client()));
    return new AgentClient(undefined, { by: MADE_HERE, client, limits: this.#limits });
  }

  listTools(serverId, options) {
    text("serverId", serverId);
    const { limit, ...call } = known("listTools' options", options, LIST);
    const ask = async (client, call) => toolPage(await client.listTools(serverId, call));
    return new List(() => this.#call(call, TRY_AGAIN, ask), limit);
  }

  async callTool(serverId, name, args, options) {
    const call = toolCall(serverId, name, args, options);
    const ask = async (client, call) => toolResult(await client.callTool(serverId, name, args, call));
    return this.#call(call, MAY_HAVE_RUN, ask, TOOL_MS);
  }

  async connect(serverId, options) {
    text("serverId", serverId);
    const { scope, ...call } = known("connect's options", options, [...CALL, "scope"]);
    optionalText("scope", scope);
    return this.#call(call, TRY_AGAIN, (client, call) => client.connect(serverId, scope, call));
  }
}

class Delegations {
  #call;

  constructor(call) {
    this.#call = call;
  }

  list(agentAccountId, options) {
    optionalText("agentAccountId", agentAccountId);
    const { limit, ...call } = known("delegations.list's options", options, LIST);
    const page = (next) =>
      this.#call(call, TRY_AGAIN, (client, call) => client.listDelegations(agentAccountId, next, call));
    return new List(page, limit);
  }

  async create(agentAccountId, options) {
    text("agentAccountId", agentAccountId);
    const names = [...CALL, "serverIds", "expiresAt"];
    const { serverIds, expiresAt, ...call } = known("delegations.create's options", options, names);
    if (serverIds !== undefined) {
      if (!Array.isArray(serverIds)) throw new TypeError("serverIds must be a list of texts");
      serverIds.forEach((id) => text("each of serverIds", id));
    }
    const end = time("expiresAt", expiresAt);
    return this.#call(call, MAY_BE_DONE, (client, call) =>
      client.createDelegation(agentAccountId, serverIds, end, call),
    );
  }

  async revoke(delegationId, options) {
    text("delegationId", delegationId);
    const call = known("delegations.revoke's options", options, CALL);
    return this.#call(call, TRY_AGAIN, (client, call) => client.revokeDelegation(delegationId, call));
  }
}

class SessionGrants {
  #call;

  constructor(call) {
    this.#call = call;
  }

  list(agentAccountId, options) {
    text("agentAccountId", agentAccountId);
    const { limit, serverId, ...call } = known("sessionGrants.list's options", options, [...LIST, "serverId"]);
    optionalText("serverId", serverId);
    const page = (next) =>
      this.#call(call, TRY_AGAIN, (client, call) => client.listSessionGrants(agentAccountId, serverId, next, call));
    return new List(page, limit);
  }

  async create(agentAccountId, serverId, options) {
    text("agentAccountId", agentAccountId);
    text("serverId", serverId);
    const { shared = false, ...call } = known("sessionGrants.create's options", options, [...CALL, "shared"]);
    if (typeof shared !== "boolean") throw new TypeError("shared must be true or false");
    return this.#call(call, MAY_BE_DONE, (client, call) =>
      client.createSessionGrant(agentAccountId, serverId, shared, call),
    );
  }

  async toggle(agentAccountId, serverId, options) {
    text("agentAccountId", agentAccountId);
    text("serverId", serverId);
    const call = known("sessionGrants.toggle's options", options, CALL);
    return this.#call(call, MAY_BE_DONE, (client, call) => client.toggleSessionGrant(agentAccountId, serverId, call));
  }

  async revoke(sessionGrantId, options) {
    text("sessionGrantId", sessionGrantId);
    const call = known("sessionGrants.revoke's options", options, CALL);
    return this.#call(call, TRY_AGAIN, (client, call) => client.revokeSessionGrant(sessionGrantId, call));
  }
}
