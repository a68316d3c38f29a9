// Signing in and out. The credential is only in this page's memory.

import { byId, once, say } from "./dom.js";
import { showDelegations } from "./delegations.js";
import { showGrants } from "./grants.js";
import { Session } from "./session.js";
import { showTools } from "./tools.js";

const url = document.querySelector('meta[name="deputize-url"]').content;
const form = byId("sign-in");
const secret = byId("secret");

byId("service").textContent = new URL(url).host;

const KINDS = {
  userToken: { label: "User token", note: "The access token that you got where you sign in." },
  apiKey: { label: "API key", note: "It begins with rl_. Fine for trying this out; a real page would not ask for it." },
};

function chosen() {
  const kind = new FormData(form).get("kind");
  byId("secret-label").textContent = KINDS[kind].label;
  byId("secret-note").textContent = KINDS[kind].note;
  return kind;
}

form.addEventListener("change", chosen);
chosen();

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const place = byId("sign-in-problem");
  const kind = chosen();
  await once(form, place, async () => {
    const text = secret.value.trim();
    if (!text) throw new Error(`Paste your ${KINDS[kind].label.replace("User", "user")} first`);
    const session = new Session(url, kind, text);
    await session.begin();
    signedIn(session);
  });
  if (!secret.value || place.hasChildNodes()) secret.focus();
});

byId("sign-out").addEventListener("click", () => {
  show(false);
  for (const place of ["delegations", "grants", "tools"]) byId(place).replaceChildren();
  say("Signed out");
  secret.focus();
});

function signedIn(session) {
  secret.value = "";
  byId("email").textContent = session.me.email ?? session.me.name ?? session.me.id;
  show(true);
  const grants = byId("grants");
  // The agents to which a user delegates are those to which they grant sessions.
  showDelegations(byId("delegations"), session, (agents) => showGrants(grants, session, agents));
  showTools(byId("tools"), session);
  byId("title").focus();
}

function show(isSignedIn) {
  byId("signed-out").hidden = isSignedIn;
  byId("signed-in").hidden = !isSignedIn;
  byId("who").hidden = !isSignedIn;
}
