// oidc-client-ts of npm in Chromium: the site is two pages, and the library does everything in the browser. This program
// serves them and clicks in the user's place; it prints {"done"} or {"failed"}.
//
//   node oidc_client_ts.mjs '{..., "address", "password", "scope", "chromium", "picture"}'
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";
import { base, given, redirectUri, signedOutUri } from "./relying_party.mjs";

const PATIENCE = 20_000;
const library = createRequire(import.meta.url).resolve("oidc-client-ts").replace(/dist\/.*/, "dist/browser/oidc-client-ts.min.js");
const files = {
  "/oidc-client-ts.js": ["text/javascript", await readFile(library, "utf8")],
  "/site.js": ["text/javascript", await readFile(new URL("./oidc_client_ts_page.js", import.meta.url), "utf8")],
};
const settings = JSON.stringify({
  authority: given.issuer,
  client_id: given.client_id,
  redirect_uri: redirectUri,
  post_logout_redirect_uri: signedOutUri,
  scope: given.scope,
  loadUserInfo: !given.bound,
  automaticSilentRenew: false,
});
const page = `<!doctype html><html lang="en"><title>Shop</title><link rel="icon" href="data:,">
<script src="/oidc-client-ts.js"></script><script>const settings = ${settings}, bound = ${Boolean(given.bound)};</script><script src="/site.js"></script>`;
const server = createServer((request, response) => {
  const [type, body] = files[new URL(request.url, base).pathname] ?? ["text/html", page];
  response.writeHead(200, { "content-type": type }).end(body);
});
await new Promise((done) => server.listen(given.port, "127.0.0.1", done));

const FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update"];
const browser = await chromium.launch({ executablePath: given.chromium, headless: true, args: FLAGS });
const tab = await browser.newPage({ locale: "en-GB" });
tab.setDefaultTimeout(PATIENCE);
const faults = [];
// A refusal that the page looks at is no fault: a proof without a nonce, a token that was given back.
const REFUSAL = /^Failed to load resource.* status of 40[01]/;
tab.on("console", (message) => message.type() === "error" && !REFUSAL.test(message.text()) && faults.push(message.text()));
tab.on("pageerror", (error) => faults.push(String(error)));

// Calls a function of the site's own script; one that leaves the page has nothing to tell.
const ask = (name) => tab.evaluate((name) => site[name](), name);
const leave = (name) => tab.evaluate((name) => void site[name](), name);

async function signIn() {
  await tab.goto(`${base}/`);
  await leave("signIn");
  await tab.locator("input[autocomplete~=current-password]").waitFor();
  await tab.locator("input[autocomplete~=username], input[autocomplete~=email]").first().fill(given.address);
  await tab.locator("input[type=password]").fill(given.password);
  const form = tab.locator("form", { has: tab.locator("input[type=password]") });
  await form.locator("button[type=submit], button:not([type])").first().click();
  // The consents that the sign-up gave were for one scope only.
  await tab.locator("button[name=decision][value=allow]").click();
  await tab.waitForURL(`${redirectUri}*`);
}

try {
  await signIn();
  const me = await ask("finish");
  const refreshed = await ask("refresh");
  const revoked = await ask("revoke");
  await leave("signOut");
  await tab.waitForURL(`${signedOutUri}*`);
  await leave("trySilently");
  await tab.waitForURL(`${redirectUri}*`);
  const refused = await ask("refusal");
  if (faults.length > 0) throw new Error(`the browser complains: ${faults.join("; ")}`);
  console.log(JSON.stringify({ done: { me, refreshed, revoked, refused } }));
} catch (error) {
  await tab.screenshot({ path: given.picture }).catch(() => {});
  console.log(JSON.stringify({ failed: `${error.stack ?? error}`, url: tab.url(), faults }));
} finally {
  await browser.close();
}
process.exit();
