// The signed-in user: their client, and the names of what they see.

import { AgentClient } from "deputize";
import { agentAccount, agentAccounts, me, servers } from "deputize/extras";

export class Session {
  #agents = new Map();

  /** `kind` is `userToken` or `apiKey`. */
  constructor(url, kind, secret) {
    this.client = new AgentClient({ url, credentials: { [kind]: secret } });
  }

  /** Proves the credential, and reads which user it is and which servers there are. */
  async begin() {
    this.me = await me(this.client);
    this.servers = await servers(this.client);
    for (const agent of await agentAccounts(this.client)) this.#agents.set(agent.id, agent);
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
      this.#agents.set(id, await agentAccount(this.client, id).catch(() => unknown));
    }
    return this.#agents.get(id);
  }
}
