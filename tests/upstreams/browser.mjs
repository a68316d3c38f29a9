// Chromium, controlled line by line: each line of standard input is a JSON array with a command's name and its
// arguments. The answer is one line, {"done": …} or {"failed": "why"}. CHROMIUM is the executable. HOSTS_HERE is a JSON
// object: to a host of the internet, the port of this machine that stands in for it, with a certificate of its own.
// SCRIPTS=off is a browser in which pages run no script.

import { createInterface } from "node:readline";
import axe from "axe-core";
import { chromium } from "playwright-core";

const PATIENCE_MS = 20_000;

const hostsHere = Object.entries(JSON.parse(process.env.HOSTS_HERE ?? "{}"));
const rules = hostsHere.map(([host, port]) => `MAP ${host} 127.0.0.1:${port}`);
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM,
  args: rules.length > 0 ? [`--host-resolver-rules=${rules.join(",")}`] : [],
});
const context = await browser.newContext({
  viewport: { width: 760, height: 620 },
  ignoreHTTPSErrors: rules.length > 0,
  javaScriptEnabled: process.env.SCRIPTS !== "off",
});
context.setDefaultTimeout(PATIENCE_MS);

// The tabs by name. Commands are for the one in front.
const tabs = new Map();
let page;

// All answers that the browser has got, and its complaints.
const answers = [];
const complaints = [];
// The addresses that the tabs went to, and who waits for one.
const wentTo = [];
const waiting = new Set();
context.on("response", (response) => answers.push(told(response)));

async function tab(name) {
  page = tabs.get(name);
  if (page !== undefined) return;
  const opened = await context.newPage();
  opened.on("console", (message) => {
    if (message.type() === "error") complaints.push(`${message.text()} at ${message.location().url}`);
  });
  opened.on("pageerror", (error) => complaints.push(`${error.message} at ${opened.url()}`));
  // Also what another program opens: the protocol's own events have it.
  const events = await context.newCDPSession(opened);
  await events.send("Network.enable");
  events.on("Network.requestWillBeSent", ({ type, request }) => {
    if (type !== "Document") return;
    wentTo.push(request.url);
    for (const look of waiting) look(request.url);
  });
  tabs.set(name, opened);
  page = opened;
}

await tab("first");

function goesTo(start) {
  const been = wentTo.find((url) => url.startsWith(start));
  if (been) return been;
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => settle(reject, new Error(`did not go to ${start}`)), PATIENCE_MS);
    const look = (url) => url.startsWith(start) && settle(resolve, url);
    const settle = (how, what) => (clearTimeout(late), waiting.delete(look), how(what));
    waiting.add(look);
  });
}

async function told(response) {
  const headers = await response.allHeaders();
  // A redirect has no body to read.
  const body = await response.text().catch(() => "");
  return { url: response.url(), status: response.status(), headers, body };
}

// What axe-core finds against the page: the rule, and the elements. It is put into the page by the browser's debugger,
// which no policy of the page's stops.
async function inaccessible() {
  await page.evaluate(axe.source);
  const { violations } = await page.evaluate(() => window.axe.run());
  return violations.map(({ id, help, nodes }) => ({ id, help, nodes: nodes.map((node) => node.html) }));
}

const commands = {
  tab,
  forget: () => context.clearCookies(),
  open: async (url) => (await page.goto(url)).status(),
  fill: (selector, text) => page.fill(selector, text),
  click: (selector) => page.click(selector),
  wait_for: async (selector) => void (await page.waitForSelector(selector)),
  text: (selector) => page.innerText(selector),
  call: (name, value) => page.evaluate(([name, value]) => window[name](value), [name, value]),
  url: () => page.url(),
  goes_to: goesTo,
  screenshot: async (path) => void (await page.screenshot({ path, fullPage: true })),
  prefer: (colorScheme) => page.emulateMedia({ colorScheme }),
  resize: (width, height) => page.setViewportSize({ width, height }),
  fits: () => page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth),
  press: (key) => page.keyboard.press(key),
  check: (selector) => page.check(selector),
  choose: (selector, value) => page.selectOption(selector, value),
  has_focus: () => page.evaluate(() => document.activeElement?.outerHTML ?? ""),
  inaccessible,
  add_cookie: (cookie) => context.addCookies([cookie]),
  answers: () => Promise.all(answers),
  complaints: () => complaints,
};

console.log(JSON.stringify({ done: browser.version() }));
for await (const line of createInterface({ input: process.stdin })) {
  const [name, ...values] = JSON.parse(line);
  try {
    console.log(JSON.stringify({ done: (await commands[name](...values)) ?? null }));
  } catch (error) {
    console.log(JSON.stringify({ failed: error.message }));
  }
}
await browser.close();
