// Signing in the user of a page, which is a public client. Tokens are in the page's memory alone: each tab has a family
// of its own.

import { address, known, optionalText, text } from "./checks.js";
import {
  answerIn, challenge, errorIn, form, keep, kept, leaveFor, ofThisPage, post, refusal, secret, taken,
} from "./page.js";

/** The kind of these requests, and what their `state` begins with. */
const KIND = "deputize.sign-in";
/** For which apps a user is signed in in this tab, for `resume`. */
const HERE = "deputize.signed-in";
/** How long before its end an access token is renewed; at most the second half of its life. */
const EARLY_MS = 60_000;

const OPTIONS = ["url", "clientId", "redirectUri", "scope", "resource", "prompt", "state"];

function checked(what, options) {
  const given = known(`${what}'s options`, options, OPTIONS);
  const { clientId, redirectUri, scope = "tools:call offline_access", resource, prompt, state } = given;
  const url = address(given.url);
  text("clientId", clientId);
  text("redirectUri", redirectUri);
  text("scope", scope);
  optionalText("resource", resource);
  if (![undefined, "none", "consent"].includes(prompt)) throw new TypeError('prompt must be "none" or "consent"');
  return { url, clientId, redirectUri, scope, resource, prompt, own: state };
}

export async function signIn(options) {
  return begin(checked("signIn", options));
}

export async function resume(options) {
  const asked = checked("resume", options);
  // If the user gives up on the way, the page does not send them there again.
  return wasHere(asked, false) ? begin({ ...asked, isResumed: true }) : null;
}

async function begin({ prompt, ...attempt }) {
  const { url, clientId, redirectUri, scope, resource } = attempt;
  ofThisPage(redirectUri);
  const [state, verifier] = [secret(`${KIND}.`), secret()];
  const asked = {
    response_type: "code",
    client_id: clientId,
    redirect_uri: redirectUri,
    scope,
    resource,
    prompt,
    state,
    code_challenge: await challenge(verifier),
    code_challenge_method: "S256",
  };
  keep(KIND, { ...attempt, state, verifier });
  return leaveFor(`${url}/api/v1/oauth/authorize?${form(asked)}`);
}

/** What came of the answer that this page was opened with. Frameworks run a page's start twice. */
let came;

export async function handleCallback(at) {
  const answer = answerIn(KIND, at);
  if (!answer) return (at === undefined && came) || null;
  const coming = finish(answer);
  came = coming;
  coming.catch(() => came === coming && (came = undefined));
  return coming;
}

async function finish(answer) {
  const attempt = taken(KIND, answer, ({ url }) => url);
  const error = errorIn(answer);
  // Nobody asked to see this: the page shows what it shows to those who are not signed in.
  if (attempt.isResumed && /^(login|consent|interaction)_required$/.test(error?.code)) return null;
  if (error) throw error;
  const { redirectUri, resource, verifier, own } = attempt;
  // Sent once: a code that comes again ends what it gave.
  const tokens = await tokensFor(attempt, {
    grant_type: "authorization_code",
    code: answer.get("code"),
    redirect_uri: redirectUri,
    code_verifier: verifier,
    resource,
  });
  const session = new Session(attempt, tokens);
  sessions.add(session);
  wasHere(attempt, true);
  const credentials = Object.freeze({ userToken: (asked) => session.token(asked) });
  return Object.freeze({ credentials, scope: tokens.scope, state: own });
}

/** The sessions of this page. */
const sessions = new Set();

export async function signOut() {
  const ending = [...sessions];
  sessions.clear();
  came = undefined;
  kept(HERE, () => []);
  await Promise.all(ending.map((session) => session.end()));
}

/** Whether the app's user was signed in in this tab; from now on, they are or are not. */
function wasHere({ url, clientId }, isHere) {
  const app = `${url} ${clientId}`;
  const was = kept(HERE).includes(app);
  if (was !== isHere) kept(HERE, (all) => (isHere ? [...all, app] : all.filter((other) => other !== app)));
  return was;
}

class Session {
  #app;
  /** None once the session has ended. */
  #tokens;
  #endsAt;
  #renewsAt;
  #renewing;

  constructor(app, tokens) {
    this.#app = app;
    this.#keep(tokens);
  }

  #keep(tokens) {
    const millis = 1000 * (tokens.expires_in ?? 3600);
    this.#endsAt = Date.now() + millis;
    this.#renewsAt = this.#endsAt - Math.min(EARLY_MS, millis / 2);
    this.#tokens = { ...this.#tokens, ...tokens };
  }

  async token({ renew = false, refused } = {}) {
    this.#require();
    // Of a token that another caller has renewed by now, the newer one is the answer.
    const isRefused = refused === undefined ? renew : refused === this.#tokens.access_token;
    if (isRefused || Date.now() >= this.#renewsAt) {
      try {
        // One request for all that wait.
        await (this.#renewing ??= this.#renew().finally(() => (this.#renewing = undefined)));
      } catch (error) {
        // It is still good for a while.
        if (!this.#tokens || isRefused || Date.now() >= this.#endsAt) throw error;
      }
    }
    this.#require();
    return this.#tokens.access_token;
  }

  #require() {
    if (!this.#tokens) throw signedOut();
  }

  async #renew() {
    const { refresh_token } = this.#tokens;
    if (!refresh_token) throw signedOut();
    const ask = () => tokensFor(this.#app, { grant_type: "refresh_token", refresh_token });
    const isLost = ({ status }) => status === undefined || status >= 500;
    try {
      // The service answers the same request again with the same tokens, so a lost answer ends nothing.
      const tokens = await ask().catch((error) => (isLost(error) ? ask() : Promise.reject(error)));
      // Signed out meanwhile.
      this.#require();
      this.#keep(tokens);
    } catch (error) {
      if (error.code !== "invalid_grant") throw error;
      this.#forget();
      throw signedOut(error);
    }
  }

  #forget() {
    this.#tokens = undefined;
    sessions.delete(this);
  }

  async end() {
    const { refresh_token, access_token } = this.#tokens ?? {};
    this.#forget();
    if (!access_token) return;
    const { url, clientId } = this.#app;
    const fields = { token: refresh_token ?? access_token, client_id: clientId };
    // Also if the page is left at once.
    await post(`${url}/api/v1/oauth/revoke`, fields, { keepalive: true });
  }
}

async function tokensFor({ url, clientId }, fields) {
  const tokens = await post(`${url}/api/v1/oauth/token`, { ...fields, client_id: clientId });
  if (typeof tokens.access_token === "string") return tokens;
  throw refusal("malformed_answer", "The answer holds no access token", "Is url the address of a Deputize service?", {
    // Not to be asked again.
    status: 200,
  });
}

const signedOut = (cause) => refusal("signed_out", "The user is no longer signed in", "Sign in again", { cause });
