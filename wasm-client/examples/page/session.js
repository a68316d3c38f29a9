// The signed-in user: their client, and the names of what they see.

import { AgentClient, DeputizeError } from "deputize";

export class Session {
  #url;
  #headers;
  #agents = new Map();

  /** `kind` is `userToken` or `apiKey`. */
  constructor(url, kind, secret) {
    this.#url = url;
    this.#headers = kind === "apiKey" ? { "x-runlayer-api-key": secret } : { authorization: `Bearer ${secret}` };
    this.client = new AgentClient({ url, credentials: { [kind]: secret } });
  }

  /** Proves the credential, and reads which user it is and which servers there are. */
  async begin() {
    // The client goes first: its errors say what to do about a wrong credential.
    await this.client.delegations.list(undefined, { limit: 1 });
    [this.me, this.servers] = await Promise.all([this.#get("/api/v1/me"), this.#get("/api/v1/servers")]);
    for (const agent of await this.#get("/api/v1/agent-accounts")) this.#agents.set(agent.id, agent);
  }

  serverName(id) {
    return this.servers.find((server) => server.id === id)?.name ?? id;
  }

  /** The agent accounts that are known so far. */
  get agents() {
    return [...this.#agents.values()];
  }

  /** Reads the name of an agent account, if the user may see it. */
  async agent(id) {
    if (!this.#agents.has(id)) {
      const unknown = { id, name: `Agent ${id.slice(0, 8)}…` };
      this.#agents.set(id, await this.#get(`/api/v1/agent-accounts/${encodeURIComponent(id)}`).catch(() => unknown));
    }
    return this.#agents.get(id);
  }

  // Requests that the package does not make: accounts and servers by their names.
  async #get(path) {
    const answer = await fetch(this.#url + path, { headers: this.#headers, credentials: "omit" });
    const body = await answer.json().catch(() => ({}));
    if (answer.ok) return body;
    const { error = "http_error", detail = `The service answered ${answer.status}` } = body;
    const requestId = answer.headers.get("x-request-id") ?? undefined;
    throw new DeputizeError({ code: error, detail, status: answer.status, requestId });
  }
}
