// What Chromium loads for a page with scripts off, and whether a person can go on from there. The instructions come as
// JSON on standard input; what was seen goes as JSON to standard output.

import { readFileSync } from "node:fs";
import { chromium } from "playwright-core";

const { url, press, until, chromium: executablePath } = JSON.parse(readFileSync(0, "utf8"));

const browser = await chromium.launch({
  executablePath,
  args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
});
try {
  const context = await browser.newContext({ javaScriptEnabled: false });
  context.setDefaultTimeout(20_000);
  const page = await context.newPage();
  const { host } = new URL(url);
  const files = [];
  let elsewhere = 0;
  await context.route("**", (route) => {
    if (new URL(route.request().url()).host === host) return route.continue();
    elsewhere += 1;
    return route.abort();
  });
  // A redirect has no body to read.
  const note = (response) => response.body().then((body) => files.push([response.url(), body.length]), () => {});
  const noted = [];
  const onResponse = (response) => noted.push(note(response));
  context.on("response", onResponse);
  await page.goto(url);
  // Chromium asks for the icon after the page.
  const icon = await page.locator('link[rel="icon"]').getAttribute("href", { timeout: 1_000 }).catch(() => null);
  await Promise.all(noted);
  context.off("response", onResponse);
  const iconUrl = icon && new URL(icon, page.url()).href;
  if (iconUrl && !files.some(([name]) => name === iconUrl)) {
    const answer = await context.request.get(iconUrl);
    files.push([iconUrl, (await answer.body()).length]);
  }
  const seen = {
    bytes: files.reduce((sum, [, length]) => sum + length, 0),
    files: files.length,
    elsewhere,
    scripts: await page.locator("script").count(),
    ended_at: "",
  };
  // The last button leads to an app's address, where nothing listens.
  const [end, ...buttons] = [press.at(-1), ...press.slice(0, -1)];
  for (const selector of buttons) await page.click(selector);
  if (end) {
    const sent = page.waitForRequest((request) => request.isNavigationRequest() && request.url().startsWith(until));
    await page.click(end);
    seen.ended_at = (await sent).url();
  }
  process.stdout.write(JSON.stringify(seen));
} finally {
  await browser.close();
}
