// A new user without a password: signs up with a passkey of Chromium's virtual authenticator, then signs in by the address
// field's own suggestion (conditional UI), by the button, and not at all when the authenticator does not know who it is.
// The test that starts this program answers {"ask": "mail"} by {"link": url}.
//
//   node passkeys.mjs '{"portal", "address", "chromium", "pictures"}'
import { mkdir } from "node:fs/promises";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const given = JSON.parse(process.argv[2]);
const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"];
const PATIENCE = 20_000;

function tell(what) {
  console.log(JSON.stringify(what));
}

function must(holds, what) {
  if (!holds) throw new Error(what);
}

const browser = await chromium.launch({ executablePath: given.chromium, headless: true, args: FLAGS });
const context = await browser.newContext({ locale: "en-GB" });
context.setDefaultTimeout(PATIENCE);
const page = await context.newPage();
const faults = [];
page.on("console", (message) => {
  if (message.type() === "error" && !/^Failed to load resource.* status of 4(22|29)/.test(message.text())) faults.push(message.text());
});
page.on("pageerror", (error) => faults.push(String(error)));
await mkdir(given.pictures, { recursive: true });
const devtools = await context.newCDPSession(page);
await devtools.send("WebAuthn.enable", { enableUI: false });
const { authenticatorId } = await devtools.send("WebAuthn.addVirtualAuthenticator", {
  options: {
    protocol: "ctap2", transport: "internal", hasResidentKey: true, hasUserVerification: true, isUserVerified: true,
    automaticPresenceSimulation: true,
  },
});

async function signUp() {
  await page.goto(`${given.portal}/my`);
  await page.locator("a[href*='/signup']").first().click();
  await page.locator("input[autocomplete~=username]").fill(given.address);
  await page.locator("main form button").first().click();
  await page.waitForURL("**/signup/verify**");
  tell({ ask: "mail" });
  const { value, done } = await answers.next();
  if (done) throw new Error("nobody knows of a mail");
  await page.goto(JSON.parse(value).link);
  await page.locator("main form button").first().click();
  const form = page.locator("form[data-passkey=create]");
  await form.waitFor();
  await page.screenshot({ path: `${given.pictures}/sign-up.png`, fullPage: true });
  await form.locator("button").click();
  await page.waitForURL(`${given.portal}/my`);
  const { credentials } = await devtools.send("WebAuthn.getCredentials", { authenticatorId });
  must(credentials.length === 1 && credentials[0].isResidentCredential, "the authenticator holds no passkey of ours");
  tell({ step: "sign-up" });
}

async function signInBySuggestion() {
  await context.clearCookies();
  // Nobody touches anything: the authenticator answers the question that the page asks by itself.
  await page.goto(`${given.portal}/my`);
  await page.waitForURL(`${given.portal}/my`);
  tell({ step: "suggestion" });
}

async function signInByButton() {
  await context.clearCookies();
  await devtools.send("WebAuthn.setUserVerified", { authenticatorId, isUserVerified: false });
  await page.goto(`${given.portal}/my`);
  await page.waitForURL("**/login**");
  const form = page.locator("form[data-passkey=get]");
  await form.locator("button").click();
  await form.locator("[role=alert]").waitFor();
  await page.screenshot({ path: `${given.pictures}/refused.png`, fullPage: true });
  must(new URL(page.url()).pathname === "/login", "somebody who was not verified got in");
  await devtools.send("WebAuthn.setUserVerified", { authenticatorId, isUserVerified: true });
  await form.locator("button").click();
  await page.waitForURL(`${given.portal}/my`);
  tell({ step: "button" });
}

try {
  await signUp();
  await signInBySuggestion();
  await signInByButton();
  must(faults.length === 0, `the browser complains: ${faults.join("; ")}`);
  tell({ done: true });
} catch (error) {
  await page.screenshot({ path: `${given.pictures}/failed.png`, fullPage: true }).catch(() => {});
  tell({ failed: `${error.stack ?? error}`, url: page.url() });
  process.exitCode = 1;
} finally {
  await browser.close();
}
process.exit();
