// The elements of the page. Texts are only ever set as text, so nothing that a server says becomes markup.

import { DeputizeError } from "deputize";

/** An element. Attributes that begin with "on" are listeners; those that are false or undefined are left out. */
export function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== false && value !== undefined) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== undefined && child !== false));
  return made;
}

export const byId = (id) => document.getElementById(id);

/** Announces a text to users who do not see the page change. */
export function say(text) {
  byId("said").textContent = text;
}

export const waiting = (text) => element("p", { class: "waiting" }, text);
export const nothing = (text) => element("p", { class: "nothing" }, text);
export const badge = (text, kind = "") => element("span", { class: `badge ${kind}` }, text);

/** An error: what happened, what to do about it, and its id in the audit trail. */
export function problem(error, ...actions) {
  const { detail, hint, code, status, requestId, retryAfter, deniedFor, explanation } = error;
  const known = error instanceof DeputizeError;
  return element(
    "div",
    { class: "problem" },
    element("p", { class: "what" }, known ? detail : String(error?.message ?? error)),
    hint && element("p", { class: "hint" }, hint),
    deniedFor && element("p", { class: "hint" }, `Denied for the ${deniedFor}${explanation ? `: ${explanation}` : ""}`),
    retryAfter !== undefined && element("p", { class: "hint" }, `Try again in ${retryAfter} s`),
    actions.length > 0 && element("div", { class: "actions" }, actions),
    known && element("p", { class: "facts" }, [status, code].filter(Boolean).join(" "), requestId && asked(requestId)),
  );
}

function asked(requestId) {
  const copy = async () => {
    await navigator.clipboard.writeText(requestId);
    say("Copied");
  };
  return element("span", {}, "request ", element("code", {}, requestId), " ", element("button", { type: "button", class: "link", onclick: copy, "aria-label": "Copy the request id" }, "Copy"));
}

/** A button for something that takes time. Errors are shown in `place`, with the `actions` that could fix them. */
export function button(text, kind, place, run, attributes, actions) {
  const made = element("button", { type: "button", class: kind, ...attributes }, text);
  made.addEventListener("click", () => once(made, place, run, actions));
  return made;
}

/** Runs it unless it is running already. Answers whether it succeeded. */
export async function once(control, place, run, actions = () => []) {
  if (control.getAttribute("aria-busy") === "true") return false;
  control.setAttribute("aria-busy", "true");
  place.replaceChildren();
  try {
    await run();
    return true;
  } catch (error) {
    place.replaceChildren(problem(error, ...actions(error)));
    return false;
  } finally {
    control.removeAttribute("aria-busy");
  }
}

/**
 * Fills a place with something that takes time to get. The last call wins. With `keep`, the present content stays
 * until then, and the focus moves from one of its controls to that control's successor.
 */
export async function fill(place, text, get, { keep = false, actions = () => [] } = {}) {
  const turn = Symbol();
  place.turn = turn;
  place.setAttribute("aria-busy", "true");
  if (!keep || !place.hasChildNodes()) place.replaceChildren(waiting(text));
  let content;
  try {
    content = await get();
  } catch (error) {
    const again = element("button", { type: "button", onclick: () => fill(place, text, get, { actions }) }, "Try again");
    content = element("div", { role: "alert" }, problem(error, ...actions(error), again));
  }
  if (place.turn !== turn) return;
  const focused = place.contains(document.activeElement) ? document.activeElement : undefined;
  const label = focused?.getAttribute("aria-label");
  place.removeAttribute("aria-busy");
  place.replaceChildren(content);
  if (!focused) return;
  const successor = label && [...place.querySelectorAll("[aria-label]")].find((each) => each.getAttribute("aria-label") === label);
  place.tabIndex = -1;
  (successor || place).focus();
}

/** Asks for confirmation before something is revoked. */
export function confirmed(title, text) {
  const dialog = byId("confirm");
  byId("confirm-title").textContent = title;
  byId("confirm-text").textContent = text;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) =>
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true }),
  );
}

export function date(text) {
  return new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" }).format(new Date(text));
}
