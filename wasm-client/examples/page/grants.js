// Which of the user's OAuth sessions an agent may use: for each agent and protected server, none, a personal grant (in
// use when the agent acts for this user) or a shared one (for users without a grant of their own, too).

import { connectButton } from "./connect.js";
import { badge, button, confirmed, element, fill, nothing, say } from "./dom.js";

export function showGrants(place, session, agents) {
  const again = () => showGrants(place, session, agents);
  return fill(place, "Looking up your grants…", async () => {
    const servers = session.servers.filter(({ auth }) => auth === "oauth");
    if (servers.length === 0) return nothing("No server here asks for a sign-in of yours.");
    if (agents.length === 0) return nothing("Delegate to an agent first; then it can be lent a session.");
    const groups = await Promise.all(
      agents.map(async (agent) => {
        const grants = (await session.client.sessionGrants.list(agent.id)).filter((grant) => grant.isActive);
        const rows = servers.map((server) => row(session, agent, server, grants, again));
        return element("div", {}, element("h3", {}, agent.name), element("ul", { class: "rows" }, rows));
      }),
    );
    return element("div", {}, groups);
  }, { keep: true });
}

function row(session, agent, server, grants, again) {
  const { sessionGrants } = session.client;
  const here = grants.filter(({ serverId }) => serverId === server.id);
  const own = here.find(({ grantorUserId }) => grantorUserId === session.me.id);
  const others = here.find((grant) => grant !== own && grant.shared);
  const place = element("div", { role: "alert" });
  const what = `${server.name} for ${agent.name}`;

  const note = own
    ? own.shared
      ? "Your session, also for others that the agent acts for"
      : "Your session, when the agent acts for you"
    : others
      ? `${others.grantorEmail ?? "Somebody"} shares a session`
      : "The agent has no session to use";

  const toggle = async () => {
    const { shared } = await sessionGrants.toggle(agent.id, server.id);
    say(shared ? "Shared now" : "Personal now");
    await again();
  };
  const lend = async () => {
    await sessionGrants.create(agent.id, server.id);
    say(`${agent.name} may use your session`);
    await again();
  };
  const revoke = async () => {
    const text = own.shared ? "Nobody whom the agent acts for can use your session any more." : "It can no longer use your session there.";
    if (!(await confirmed(`Revoke the grant of ${server.name}?`, text))) return;
    await sessionGrants.revoke(own.id);
    say("Revoked");
    await again();
  };

  const controls = own
    ? [
        button("Shared", "switch", place, toggle, { role: "switch", "aria-checked": String(own.shared), "aria-label": `Share ${what}` }),
        button("Revoke", "danger quiet", place, revoke, { "aria-label": `Revoke ${what}` }),
      ]
    : [button("Lend mine", "", place, lend, { "aria-label": `Lend my session at ${what}` }, () => [connectButton(session, server.id)])];

  return element(
    "li",
    {},
    element(
      "div",
      { class: "row" },
      element(
        "div",
        { class: "name" },
        element("strong", {}, server.name, " ", own && badge(own.shared ? "shared" : "personal", own.shared ? "shared" : "")),
        element("span", { class: "note" }, note),
      ),
      element("div", { class: "controls" }, controls),
    ),
    place,
  );
}
