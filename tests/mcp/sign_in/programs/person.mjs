// What the TypeScript clients have in common: the app around the official client, as on a person's desk.
//
// The argument is JSON: the `url` that was pasted, the folder `home` in which the app keeps what it knows, its `name`,
// the `document` with its metadata if it has one, and whether it `opens` addresses for servers. Each line of standard
// input is a step, each line of standard output its result. `person.py` is the same for Python.

import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { createInterface } from "node:readline";

/** Takes the browser's answer, on any free port of this computer. */
class Callback {
  #arrived = [];
  #waiting = [];

  async open() {
    const server = createServer((request, response) => {
      const { pathname, searchParams } = new URL(request.url, "http://127.0.0.1");
      response.end("You can close this page");
      if (pathname !== "/callback") return;
      const waiting = this.#waiting.shift();
      if (waiting) waiting(searchParams);
      else this.#arrived.push(searchParams);
    });
    server.listen(0, "127.0.0.1").unref();
    await once(server, "listening");
    this.url = `http://127.0.0.1:${server.address().port}/callback`;
    return this;
  }

  next() {
    return this.#arrived.shift() ?? new Promise((resolve) => this.#waiting.push(resolve));
  }
}

/** The clients' `OAuthClientProvider`, with a file for what it keeps. */
class Provider {
  #file;
  #kept;

  constructor({ home, name, document }, redirectUrl) {
    this.#file = join(home, "kept.json");
    this.#kept = existsSync(this.#file) ? JSON.parse(readFileSync(this.#file, "utf8")) : {};
    this.redirectUrl = redirectUrl;
    this.clientMetadataUrl = document;
    this.clientMetadata = {
      client_name: name,
      redirect_uris: [redirectUrl],
      grant_types: ["authorization_code", "refresh_token"],
      response_types: ["code"],
      token_endpoint_auth_method: "none",
    };
  }

  #keep(what) {
    Object.assign(this.#kept, what);
    writeFileSync(this.#file, JSON.stringify(this.#kept));
  }

  state = () => (this.lastState = crypto.randomUUID());
  clientInformation = () => this.#kept.client;
  saveClientInformation = (client) => this.#keep({ client });
  tokens = () => this.#kept.tokens;
  saveTokens = (tokens) => this.#keep({ tokens });
  codeVerifier = () => this.verifier;
  saveCodeVerifier = (verifier) => void (this.verifier = verifier);
  redirectToAuthorization = (address) => void execFileSync(process.env.BROWSER, [String(address)]);
  invalidateCredentials = (scope) => {
    if (scope === "all" || scope === "tokens") this.#keep({ tokens: undefined });
    if (scope === "all" || scope === "client") this.#keep({ client: undefined });
  };
}

/**
 * Does the steps with the client that `make(options, provider, asked)` makes: `{ client, transport, verbs }`. `asked`
 * takes the addresses that servers ask it to open. `finish(transport, parameters)` hands it the browser's answer.
 */
export async function main(make, { UnauthorizedError, finish }) {
  const options = JSON.parse(process.argv[2]);
  const callback = await new Callback().open();
  const provider = new Provider(options, callback.url);
  const asked = [];
  let session;

  async function attempt(verb, params) {
    if (!session?.connected) {
      session = make(options, provider, asked);
      await session.client.connect(session.transport);
      session.connected = true;
    }
    return session.verbs[verb](params);
  }

  async function run(verb, params) {
    try {
      return await attempt(verb, params);
    } catch (error) {
      if (!(error instanceof UnauthorizedError)) throw error;
    }
    const answer = await callback.next();
    if (answer.get("state") !== provider.lastState) throw new Error("the state is another");
    if (answer.has("error")) throw new Error(`the answer is ${answer.get("error")}`);
    await finish(session.transport, answer);
    return attempt(verb, params);
  }

  for await (const line of createInterface({ input: process.stdin })) {
    const { do: verb, ...params } = JSON.parse(line);
    const said = await run(verb, params).then(
      (result) => ({ result }),
      (error) => ({ error: { kind: error.name, code: error.code, message: error.message, data: error.data } }),
    );
    console.log(JSON.stringify({ ...said, asked: asked.splice(0) }));
  }
  process.exit(0);
}
