// The client's public side. The work is done in WebAssembly. Here is what is better in JavaScript: promises that end,
// lists that can be iterated over, and options.

import { DeputizeError } from "./error.js";
import { List } from "./list.js";
import { address, inside, onBehalfOf, text } from "./options.js";
import { lazily, start } from "./start.js";
import { within } from "./within.js";

// Longer than the service itself needs for a call: 2 minutes for the tool, 24 s for a refresh.
const TOOL_MS = 150_000;
const OTHER_MS = 30_000;

const MAY_HAVE_RUN = "The tool may have run: look before you repeat the call";
const MAY_BE_DONE = "The request may have been carried out: look before you repeat it";
const TRY_AGAIN = "Try again, or give it longer by timeoutMs";

/** A function of the application, called with a signal that ends it. */
function bounded(run) {
  return (asked) =>
    within({ timeoutMs: OTHER_MS }, "Look at the application's token function", async (signal) =>
      run({ ...asked, signal }),
    );
}

const MADE_HERE = Symbol();

export class AgentClient {
  #client;
  #isOnBehalf;
  #isAgent;

  constructor(options, made) {
    if (made?.by === MADE_HERE) {
      this.#client = made.client;
      this.#isOnBehalf = true;
    } else {
      const url = address(options?.url);
      let make = inside(url, options.credentials, options.dangerouslyAllowSecretInBrowser === true, bounded);
      this.#isAgent = options.credentials.clientId !== undefined ? "client" : options.credentials.token && "tokens";
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

  #call({ signal, timeoutMs = OTHER_MS } = {}, late, run) {
    return within({ signal, timeoutMs }, late, async (ended) => {
      const client = await this.#client();
      try {
        return await run(client, ended);
      } catch (thrown) {
        // The WebAssembly throws the fields of an error. Made into an error here, its stack is this call's.
        throw thrown?.isDeputizeError ? new DeputizeError(thrown) : thrown;
      }
    });
  }

  token(options) {
    return this.#call(options, TRY_AGAIN, (client) => client.token());
  }

  onBehalfOf(user) {
    if (this.#isOnBehalf) throw new TypeError("This client acts for a user already: ask the agent's own");
    const acting = onBehalfOf(user, bounded);
    if (!this.#isAgent) throw new TypeError("Only an agent acts on behalf of others: this client is a user's own");
    if (this.#isAgent === "tokens" && user.accessToken === undefined) {
      throw new TypeError("Without the agent's own credentials, a user is named by their accessToken");
    }
    const client = lazily(async () => acting(await this.#client()));
    return new AgentClient(undefined, { by: MADE_HERE, client });
  }

  listTools(serverId, options) {
    text("serverId", serverId);
    const page = () => this.#call(options, TRY_AGAIN, (client, signal) => client.listTools(serverId, signal));
    return new List(page, options?.limit);
  }

  async callTool(serverId, name, args, { signal, timeoutMs = TOOL_MS } = {}) {
    text("serverId", serverId);
    text("name", name);
    if (args !== undefined && (typeof args !== "object" || args === null || Array.isArray(args))) {
      throw new TypeError("args must be an object of named arguments");
    }
    return this.#call({ signal, timeoutMs }, MAY_HAVE_RUN, (client, ended) =>
      client.callTool(serverId, name, args, ended),
    );
  }

  async connect(serverId, { scope, ...options } = {}) {
    text("serverId", serverId);
    return this.#call(options, TRY_AGAIN, (client, signal) => client.connect(serverId, scope, signal));
  }
}

class Delegations {
  #call;

  constructor(call) {
    this.#call = call;
  }

  list(agentAccountId, options) {
    if (agentAccountId !== undefined) text("agentAccountId", agentAccountId);
    const page = (next) =>
      this.#call(options, TRY_AGAIN, (client, signal) => client.listDelegations(agentAccountId, next, signal));
    return new List(page, options?.limit);
  }

  async create(agentAccountId, { serverIds, expiresAt, ...options } = {}) {
    text("agentAccountId", agentAccountId);
    const end = expiresAt instanceof Date ? expiresAt.toISOString() : expiresAt;
    return this.#call(options, MAY_BE_DONE, (client, signal) =>
      client.createDelegation(agentAccountId, serverIds, end, signal),
    );
  }

  async revoke(delegationId, options) {
    text("delegationId", delegationId);
    return this.#call(options, TRY_AGAIN, (client, signal) => client.revokeDelegation(delegationId, signal));
  }
}

class SessionGrants {
  #call;

  constructor(call) {
    this.#call = call;
  }

  list(agentAccountId, options) {
    text("agentAccountId", agentAccountId);
    const page = (next) =>
      this.#call(options, TRY_AGAIN, (client, signal) =>
        client.listSessionGrants(agentAccountId, options?.serverId, next, signal),
      );
    return new List(page, options?.limit);
  }

  async create(agentAccountId, serverId, { shared = false, ...options } = {}) {
    text("agentAccountId", agentAccountId);
    text("serverId", serverId);
    return this.#call(options, MAY_BE_DONE, (client, signal) =>
      client.createSessionGrant(agentAccountId, serverId, shared, signal),
    );
  }

  async toggle(agentAccountId, serverId, options) {
    text("agentAccountId", agentAccountId);
    text("serverId", serverId);
    return this.#call(options, MAY_BE_DONE, (client, signal) =>
      client.toggleSessionGrant(agentAccountId, serverId, signal),
    );
  }

  async revoke(sessionGrantId, options) {
    text("sessionGrantId", sessionGrantId);
    return this.#call(options, TRY_AGAIN, (client, signal) => client.revokeSessionGrant(sessionGrantId, signal));
  }
}
