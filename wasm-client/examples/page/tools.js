// Calling a tool: the server, the tool, its arguments, and the result.

import { blobOf } from "deputize/extras";
import { offers } from "./connect.js";
import { badge, element, fill, nothing, problem, say } from "./dom.js";
import { argumentFields, parse } from "./schema-form.js";

export function showTools(place, session) {
  if (session.servers.length === 0) return place.replaceChildren(nothing("There is no server yet."));
  const servers = element("select", { id: "server" }, session.servers.map(({ id, name }) => element("option", { value: id }, name)));
  const tools = element("div");
  const show = () => listTools(tools, session, servers.value);
  servers.addEventListener("change", show);
  place.replaceChildren(element("div", { class: "field" }, element("label", { for: "server" }, "Server"), servers), tools);
  show();
}

function listTools(place, session, serverId) {
  const get = async () => {
    const tools = await session.client.listTools(serverId);
    if (tools.length === 0) return nothing("There is no tool here that you may call.");
    const names = element("select", { id: "tool" }, tools.map(({ name }, at) => element("option", { value: at }, name)));
    const one = element("div");
    const show = () => one.replaceChildren(toolForm(session, serverId, tools[names.value]));
    names.addEventListener("change", show);
    show();
    return element("div", {}, element("div", { class: "field" }, element("label", { for: "tool" }, "Tool"), names), one);
  };
  return fill(place, "Asking for the tools…", get, { actions: offers(session, serverId) });
}

function toolForm(session, serverId, tool) {
  const { fields, read } = argumentFields(tool.inputSchema);
  const json = element("textarea", { id: "as-json", rows: 6, spellcheck: "false", class: "code" });
  const jsonField = element("div", { class: "field", hidden: true }, element("label", { for: "as-json" }, "Arguments as JSON"), json);
  const byFields = element("div", { class: "stack" }, fields.length > 0 ? fields : element("p", { class: "note" }, "It takes no arguments."));
  const outcome = element("div", { class: "outcome", role: "status", "aria-live": "polite" });

  const swap = element("button", { type: "button", class: "link", "aria-pressed": "false" }, "Write JSON");
  swap.addEventListener("click", () => {
    const toJson = jsonField.hidden;
    if (toJson) {
      try {
        json.value = JSON.stringify(read(), null, 2);
      } catch {
        // The user can write JSON here, starting from an empty object.
        json.value = "{}";
      }
    }
    jsonField.hidden = !toJson;
    byFields.hidden = toJson;
    swap.setAttribute("aria-pressed", String(toJson));
    swap.textContent = toJson ? "Use the form" : "Write JSON";
  });

  const call = element("button", { type: "submit", class: "primary" }, "Call");
  const stop = element("button", { type: "button", class: "quiet", hidden: true }, "Stop");
  const form = element("form", { class: "stack", "aria-label": `Arguments of ${tool.name}` }, byFields, jsonField, element("div", { class: "actions" }, call, stop, swap), outcome);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (!stop.hidden) return;
    const ended = new AbortController();
    stop.onclick = () => ended.abort(new Error("Stopped; the tool may have run"));
    stop.hidden = false;
    call.setAttribute("aria-busy", "true");
    outcome.replaceChildren();
    const began = performance.now();
    try {
      const args = jsonField.hidden ? read() : parse(json.value, "This");
      const result = await session.client.callTool(serverId, tool.name, args, { signal: ended.signal });
      outcome.replaceChildren(resultOf(result, performance.now() - began));
    } catch (error) {
      outcome.replaceChildren(problem(error, ...offers(session, serverId)(error)));
    } finally {
      call.removeAttribute("aria-busy");
      stop.hidden = true;
    }
  });
  // While required fields are hidden, the browser must not ask for them.
  swap.addEventListener("click", () => (form.noValidate = !jsonField.hidden));

  const { readOnlyHint, destructiveHint } = tool.annotations ?? {};
  const kind = readOnlyHint ? badge("only reads") : destructiveHint ? badge("may destroy", "warn") : undefined;
  return element("div", {}, element("p", { class: "lead about" }, tool.description ?? "", " ", kind), form);
}

function resultOf(result, millis) {
  const data = result.structuredContent;
  // Servers repeat it as text, for clients that do not read structured content.
  const pieces = (result.content ?? []).filter((piece) => !(data && piece.type === "text" && isSame(piece.text, data)));
  const parts = pieces.map(shown);
  say(result.isError ? "The tool failed" : "Done");
  return element(
    "div",
    { class: result.isError ? "result failed" : "result" },
    element("p", { class: "facts" }, result.isError ? badge("the tool failed", "warn") : badge("done", "good"), `${Math.round(millis)} ms`),
    parts,
    data && element("details", {}, element("summary", {}, "Structured content"), element("pre", { tabindex: 0 }, JSON.stringify(data, null, 2))),
  );
}

/** A piece of a result. An image or a recording is shown from memory: the page's policy allows no other address. */
function shown(piece) {
  if (piece.type === "text") return element("p", { class: "text" }, piece.text);
  if (piece.type !== "image" && piece.type !== "audio") {
    return element("p", { class: "note" }, `A piece of the type ${piece.type}, which this page does not show`);
  }
  const src = URL.createObjectURL(blobOf(piece));
  const over = () => URL.revokeObjectURL(src);
  if (piece.type === "image") return element("img", { src, alt: "What the tool drew", onload: over, onerror: over });
  return element("audio", { src, controls: true, onerror: over });
}

function isSame(text, data) {
  try {
    return JSON.stringify(JSON.parse(text)) === JSON.stringify(data);
  } catch {
    return false;
  }
}
