// Connecting the user to a server that asks for OAuth, which goes on in another tab.

import { element, problem, say } from "./dom.js";

/** A button that becomes a link to the address where the user signs in. */
export function connectButton(session, serverId, scope) {
  const made = element("button", { type: "button" }, `Connect to ${session.serverName(serverId)}`);
  made.addEventListener("click", async () => {
    made.setAttribute("aria-busy", "true");
    try {
      const { authorizationUrl } = await session.client.connect(serverId, { scope });
      const { protocol, host } = new URL(authorizationUrl);
      if (protocol !== "https:" && protocol !== "http:") throw new Error("The way to sign in there is no web address");
      const link = element("a", { href: authorizationUrl, target: "_blank", rel: "noopener noreferrer", class: "button" }, `Sign in at ${host} ↗`);
      made.replaceWith(link, element("span", { class: "note" }, "Come back and try again when it says that you are connected."));
      link.focus();
      say("Ready to sign in");
    } catch (error) {
      made.replaceWith(problem(error));
    }
  });
  return made;
}

/** The button to offer with an error that connecting would fix. */
export function offers(session, serverId) {
  return ({ code, scope }) =>
    ["session_not_found", "session_expired", "no_credentials", "insufficient_scope"].includes(code)
      ? [connectButton(session, serverId, scope)]
      : [];
}
