// What tests can learn about the token endpoint, and how they make it fail: a middleware of oidc-provider around it.

// The faults of the token endpoint:
//
//   works         nothing
//   hold_before   a request waits before the provider sees it; it never does if its client goes away
//   hold_after    a request waits when the provider is done with it: it has used up the refresh token
//   error_500     an error page
//   garbage       a page that is no error
//   silence       no answer at all
export const FAULTS = ["works", "hold_before", "hold_after", "error_500", "garbage", "silence"];

const html = (text) => `<!DOCTYPE html><title>${text}</title><h1>${text}</h1>`;

export class TokenEndpoint {
  // The number of requests that the provider has answered, by grant_type, and by "ok" or the error's code.
  answered = {};
  // The number of requests that the provider has not seen, by fault.
  unseen = {};
  // Everything that must stay secret, with its kind.
  secrets = [];
  held = 0;
  #fault = "works";
  #waiting = [];

  constructor(provider) {
    provider.use(async (ctx, next) => {
      if (ctx.method === "POST" && ctx.path === "/token") return this.#answer(ctx, next);
      await next();
      if (ctx.path === "/reg") this.#keepSecrets(ctx.body);
    });
  }

  // Also lets held requests go on.
  set fault(fault) {
    if (!FAULTS.includes(fault)) throw new Error(`there is no such fault: ${fault}`);
    this.#fault = fault;
    for (const release of this.#waiting.splice(0)) release(true);
  }

  async #answer(ctx, next) {
    const fault = this.#fault;
    if (fault === "error_500" || fault === "garbage") {
      this.#countUnseen(fault);
      ctx.status = fault === "garbage" ? 200 : 500;
      ctx.body = html(fault === "garbage" ? "Please sign in to this network" : "Something went wrong");
      return;
    }
    if (fault === "silence" || (fault === "hold_before" && !(await this.#hold(ctx)))) {
      this.#countUnseen(fault);
      ctx.respond = false;
      return;
    }
    await next();
    this.#count(ctx);
    if (fault === "hold_after") await this.#hold(ctx);
  }

  // Waits until it is released. false if the client has disconnected before.
  async #hold({ res }) {
    this.held += 1;
    const stayed = await new Promise((resolve) => {
      this.#waiting.push(resolve);
      res.once("close", () => resolve(false));
    });
    this.held -= 1;
    return stayed;
  }

  #countUnseen(fault) {
    this.unseen[fault] = (this.unseen[fault] ?? 0) + 1;
  }

  #count({ oidc, body, status }) {
    const outcome = status === 200 ? "ok" : body.error;
    const outcomes = (this.answered[oidc?.params?.grant_type ?? "none"] ??= {});
    outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
    this.#keepSecrets(body);
  }

  #keepSecrets(body) {
    for (const name of ["access_token", "refresh_token", "client_secret"]) {
      if (body[name]) this.secrets.push([`the provider's ${name}`, body[name]]);
    }
  }
}
