// Which agents act for the user: lists them, revokes one, adds one.

import { badge, button, confirmed, date, element, fill, nothing, once, say } from "./dom.js";

/** `changed` is called with the agents that act for the user now. */
export function showDelegations(place, session, changed) {
  const again = () => showDelegations(place, session, changed);
  return fill(place, "Looking up who acts for you…", async () => {
    const mine = await session.client.delegations.list();
    const active = mine.filter((delegation) => delegation.isActive);
    const ended = mine.filter((delegation) => !delegation.isActive);
    for (const { agentAccountId } of mine) await session.agent(agentAccountId);
    const agents = await Promise.all([...new Set(active.map((each) => each.agentAccountId))].map((id) => session.agent(id)));
    changed(agents);
    const rows = await Promise.all(active.map((delegation) => row(session, delegation, again)));
    const past = await Promise.all(ended.slice(0, 20).map((delegation) => row(session, delegation)));
    return element(
      "div",
      {},
      rows.length > 0 ? element("ul", { class: "rows" }, rows) : nothing("Nobody acts for you."),
      past.length > 0 &&
        element("details", {}, element("summary", {}, `Ended (${ended.length})`), element("ul", { class: "rows past" }, past)),
      element("details", { open: rows.length === 0 }, element("summary", {}, "Let an agent act for you"), form(session, again)),
    );
  }, { keep: true });
}

async function row(session, delegation, again) {
  const { id, agentAccountId, serverIds, expiresAt, revokedAt } = delegation;
  const { name } = await session.agent(agentAccountId);
  const where = serverIds ? serverIds.map((server) => session.serverName(server)).join(", ") : "every server";
  const until = revokedAt ? `revoked ${date(revokedAt)}` : expiresAt ? `until ${date(expiresAt)}` : "until you revoke it";
  const place = element("div", { role: "alert" });
  const revoke = async () => {
    const text = `${name} can then no longer act for you, from its next call on. You can delegate to it again.`;
    if (!(await confirmed(`Revoke ${name}?`, text))) return;
    await session.client.delegations.revoke(id);
    say(`${name} no longer acts for you`);
    await again();
  };
  return element(
    "li",
    {},
    element(
      "div",
      { class: "row" },
      element("div", { class: "name" }, element("strong", {}, name), element("span", { class: "note" }, `${where} · ${until}`)),
      again ? button("Revoke", "danger quiet", place, revoke, { "aria-label": `Revoke ${name}` }) : badge(revokedAt ? "revoked" : "expired"),
    ),
    place,
  );
}

function form(session, again) {
  const agent = element("input", { id: "new-agent", name: "agent", list: "known-agents", required: true, autocomplete: "off", spellcheck: "false", placeholder: "its id, a UUID" });
  const known = element("datalist", { id: "known-agents" }, session.agents.map(({ id, name }) => element("option", { value: id }, name)));
  const servers = session.servers.map(({ id, name }) =>
    element("label", {}, element("input", { type: "checkbox", name: "server", value: id }), ` ${name}`),
  );
  const until = element("input", { id: "new-until", name: "until", type: "datetime-local" });
  const place = element("div", { role: "alert" });
  const made = element(
    "form",
    { class: "stack" },
    element("div", { class: "field" }, element("label", { for: "new-agent" }, "Agent account"), agent, known),
    element("fieldset", { class: "choice" }, element("legend", {}, "At these servers (all, if none is ticked)"), servers),
    element("div", { class: "field" }, element("label", { for: "new-until" }, "Until (optional)"), until),
    place,
    element("div", { class: "actions" }, element("button", { type: "submit", class: "primary" }, "Delegate")),
  );
  made.addEventListener("submit", (event) => {
    event.preventDefault();
    once(made, place, async () => {
      const fields = new FormData(made);
      const serverIds = fields.getAll("server");
      const created = await session.client.delegations.create(agent.value.trim(), {
        serverIds: serverIds.length > 0 ? serverIds : undefined,
        expiresAt: until.value ? new Date(until.value) : undefined,
      });
      say(`${(await session.agent(created.agentAccountId)).name} acts for you now`);
      await again();
    });
  });
  return made;
}
