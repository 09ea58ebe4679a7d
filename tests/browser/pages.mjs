// One person's way through the pages of steps 1, 2 and 6, those of the own sign-in, and results-feed's own, in a real browser, in one
// language, with or without script.
// Every page is checked by axe-core for WCAG 2.2 AA and kept as a picture. The test that starts this program answers its
// questions, one line of JSON each: {"ask": "mail"} by {"link": url}, {"ask": "race"} once results have moved on, {"ask": "status"}
// once they have another status.
//
//   node pages.mjs '{"portal", "results", "language", "script", "address", "password", "unit", "chromium", "pictures"}'
import { createHmac } from "node:crypto";
import { mkdir, readFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const given = JSON.parse(process.argv[2]);
const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const LEVELS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22a", "wcag22aa"];
const FLAGS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync",
];
// Those who wait for nothing wait at most so long, in milliseconds.
const PATIENCE = 20_000;

function tell(what) {
  console.log(JSON.stringify(what));
}

async function ask(what) {
  tell({ ask: what });
  const { value, done } = await answers.next();
  if (done) throw new Error(`nobody answers ${what}`);
  return JSON.parse(value);
}

function must(holds, what) {
  if (!holds) throw new Error(what);
}

const browser = await chromium.launch({ executablePath: given.chromium, headless: true, args: FLAGS });
const context = await browser.newContext({
  locale: { ja: "ja-JP", en: "en-GB", fr: "fr-FR" }[given.language],
  javaScriptEnabled: given.script,
  viewport: { width: 1024, height: 768 },
  reducedMotion: "reduce",
});
context.setDefaultTimeout(PATIENCE);
const page = await context.newPage();
const faults = [];
page.on("console", (message) => {
  // A page that refuses a form is no fault of the page; a script or a style that is refused is.
  if (message.type() === "error" && !/^Failed to load resource.* status of 4(22|29)/.test(message.text())) faults.push(message.text());
});
page.on("pageerror", (error) => faults.push(String(error)));
await mkdir(given.pictures, { recursive: true });

let shown = 0;
// Looks at the page: language, accessibility, a picture.
async function look(name, { status = 200, answer } = {}) {
  if (answer) must(answer.status() === status, `${name} answers ${answer.status()}`);
  const language = await page.getAttribute("html", "lang");
  must(language === given.language, `${name} is in ${language}, not in ${given.language}`);
  must((await page.title()).trim() !== "", `${name} has no title`);
  must((await page.locator("h1").count()) === 1, `${name} has ${await page.locator("h1").count()} headings of level 1`);
  // A page without script has no timers either, and the checker waits by them.
  if (!given.script) await page.evaluate(() => { window.setTimeout = (run, _, ...more) => { Promise.resolve().then(() => run(...more)); return 0; }; });
  await page.evaluate(axe);
  const found = await page.evaluate((levels) => axe.run(document, { runOnly: levels, preload: false }), LEVELS);
  const violations = found.violations.map(({ id, help, nodes }) => ({ id, help, at: nodes.map((node) => node.html) }));
  const picture = `${String(++shown).padStart(2, "0")}-${name}.png`;
  await page.screenshot({ path: `${given.pictures}/${picture}`, fullPage: true });
  tell({ page: name, path: new URL(page.url()).pathname, violations, checks: found.passes.length, picture });
}

function isRedirect(status) {
  return status >= 300 && status < 400;
}

// Clicks, and waits for the page behind it.
async function follow(locator) {
  const isPage = (answer) => answer.request().isNavigationRequest() && !isRedirect(answer.status());
  const [answer] = await Promise.all([
    page.waitForEvent("response", isPage), page.waitForEvent("load"), locator.first().click(),
  ]);
  return answer;
}

// Presses the button of the form that holds an element.
async function send(selector) {
  const form = page.locator("form", { has: page.locator(selector) }).first();
  return follow(form.locator("button:not([type=button]), input[type=submit]"));
}

// Where the mail's link led: the own page of the sign-in has no other way there.
let identity;

// What an app for one-time codes shows now (RFC 6238).
function codeOf(key) {
  const bits = [...key.replaceAll(" ", "")].map((letter) => "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".indexOf(letter).toString(2).padStart(5, "0"));
  const secret = Buffer.from(bits.join("").match(/.{8}/g).map((byte) => Number.parseInt(byte, 2)));
  const step = Buffer.alloc(8);
  step.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30_000)));
  const tag = createHmac("sha1", secret).update(step).digest();
  const number = tag.readUInt32BE(tag[19] & 15) & 0x7fffffff;
  return String(number % 1_000_000).padStart(6, "0");
}

// The portal is registered with a look of its own, for light and for dark screens.
async function lookInTheDark(name) {
  const logo = page.locator("header img");
  must((await logo.getAttribute("alt")) === "My Page", "the logo does not say whose it is");
  must(await logo.evaluate((image) => image.complete && image.naturalWidth > 0), "the logo is not shown");
  const ground = () => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
  const light = await ground();
  await page.emulateMedia({ colorScheme: "dark" });
  must((await ground()) !== light, "dark pages are as light as others");
  await look(name);
  await page.emulateMedia({ colorScheme: "light" });
}

async function signUp() {
  await page.goto(`${given.portal}/`);
  await look("home");
  await page.goto(`${given.portal}/my`);
  await look("sign-in");
  await lookInTheDark("sign-in-dark");
  await follow(page.locator("a[href*='/signup']"));
  await look("sign-up");
  await page.locator("input[autocomplete~=email], input[autocomplete~=username]").first().fill("no address");
  await send("input[autocomplete~=email], input[autocomplete~=username]");
  await look("sign-up-refused");
  const address = page.locator("input[autocomplete~=email], input[autocomplete~=username]").first();
  must((await address.inputValue()) === "no address", "what was written is gone after an error");
  await address.fill(given.address);
  await send("input[autocomplete~=email], input[autocomplete~=username]");
  await look("mail-sent");
  const { link } = await ask("mail");
  identity = new URL(link).origin;
  await page.goto(link);
  await look("address-proof");
  if ((await page.locator("input[autocomplete~=new-password]").count()) === 0) await send("button");
  await look("password");
  for (const field of await page.locator("input[type=password]").all()) await field.fill(given.password);
  await send("input[autocomplete~=new-password]");
  await page.waitForURL(`${given.portal}/my`);
  // A new user's profile may be on its way for a moment.
  let answer = await page.reload();
  for (let tries = 0; answer.status() === 503 && tries < 40; tries++) {
    await new Promise((done) => setTimeout(done, 500));
    answer = await page.reload();
  }
  await look("my-page", { answer });
}

// The own page of the sign-in, a second factor, and a sign-in by it.
async function secureTheSignIn() {
  await page.goto(`${identity}/account/security`);
  await look("security");
  await page.goto(`${identity}/account/security/password`);
  await look("security-password");
  await page.goto(`${identity}/account/security/totp`);
  await look("codes-set-up");
  const key = await page.locator("main code").first().innerText();
  await page.locator("[name=code]").fill("12345");
  await look("codes-refused", { status: 422, answer: await send("[name=code]") });
  await page.locator("[name=code]").fill(codeOf(key));
  await look("recovery-codes", { answer: await send("[name=code]") });
  const codes = await page.locator("main ol code").allInnerTexts();
  must(codes.length === 10, `${codes.length} recovery codes are shown`);
  await page.goto(`${identity}/account/security`);
  await look("security-with-codes");

  await context.clearCookies();
  await page.goto(`${given.portal}/my`);
  await follow(page.locator("a[href*='/recover']"));
  await look("recover");
  await page.goto(`${given.portal}/my`);
  await page.goto(page.url().replace("/login?", "/login/passkey?"));
  await look("passkey");
  await page.goto(`${given.portal}/my`);
  await page.locator("input[autocomplete~=username]").fill(given.address);
  await page.locator("input[type=password]").fill(given.password);
  await send("input[type=password]");
  await look("code-of-the-app");
  await follow(page.locator("a[href*='/login/recovery-code']"));
  await look("recovery-code");
  await page.locator("[name=code]").fill("0000-0000-0000");
  await look("recovery-code-refused", { status: 422, answer: await send("[name=code]") });
  await page.locator("[name=code]").fill(codes[0]);
  await send("[name=code]");
  await page.waitForURL(`${given.portal}/my`);
}

async function tellAboutOneself() {
  const form = page.locator("form", { has: page.locator("[name=family_name]") });
  await page.goto(`${given.portal}/account`);
  await look("account");
  await form.locator("[name=postal_code]").fill("!".repeat(5));
  const refused = await send("[name=family_name]");
  await look("account-refused", { status: 422, answer: refused });
  must((await form.locator("[name=postal_code]").inputValue()) === "!!!!!", "what was written is gone after an error");
  await form.locator("[name=postal_code]").fill("104-0053");
  await form.locator("[name=family_name]").fill("山田");
  await form.locator("[name=birth_date]").fill("1990-04-01");
  await form.locator("[name=prefecture]").selectOption("JP-13");
  await form.locator("[name=favourite_olympic_sports][value=ATH]").check();
  await send("[name=family_name]");
  await look("account-saved");
  await page.goto(`${given.portal}/account/consents`);
  await look("consents");
  for (const box of await page.locator("main input[type=checkbox]").all()) await box.check();
  await send("input[type=checkbox]");
  await look("consents-saved");
  await page.goto(`${given.portal}/account/history`);
  await look("history");
  await page.goto(`${given.portal}/account/sessions`);
  await look("sessions");
}

// Counts what moves by itself from now on: nothing may (Cumulative Layout Shift).
async function watchShifts() {
  if (!given.script) return;
  await page.evaluate(() => {
    window.shifts = [];
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) {
        if (!entry.hadRecentInput) window.shifts.push({ value: entry.value, at: entry.sources.map(({ node }) => node && node.nodeName + "#" + node.id) });
      }
    }).observe({ type: "layout-shift" });
  });
}

async function nothingMoved(name) {
  // Two frames: what was painted is counted.
  const shifts = await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(() => done(window.shifts), 50)))));
  must(shifts.length === 0, `${name} moves while it changes: ${JSON.stringify(shifts)}`);
}

// The race goes on, and the page shows it: by itself with a script, without a reload and without moving anything; by its
// refresh link without.
async function changes(name, selector, refresh, what = "race") {
  const text = () => page.locator(selector).innerText();
  const before = await text();
  await watchShifts();
  await page.evaluate(() => { window.same = true; });
  await ask(what);
  if (given.script) {
    await page.waitForFunction(([where, old]) => document.querySelector(where).innerText !== old, [selector, before]);
    must(await page.evaluate(() => window.same === true), `${name} was loaded again`);
    await nothingMoved(name);
    await look(`${name}-live`);
  } else {
    // A shared page may be a second old.
    for (let tries = 0; tries < 20 && (await text()) === before; tries++) {
      await new Promise((done) => setTimeout(done, 250));
      await follow(page.locator(refresh));
    }
    must((await text()) !== before, `the refresh link of ${name} shows nothing new`);
    await look(`${name}-refreshed`);
  }
}

async function followTheRace() {
  await page.goto(`${given.portal}/my/results`);
  await look("results");
  await changes("results", "main .cards", "main p a[href='/my/results']", "status");
  await follow(page.locator(`main a[href*='${given.unit}']`));
  must((await page.locator("main tbody tr").count()) === 8, "the final does not show eight lanes");
  await look("final");
  await changes("final", "main", `main a[href*='${given.unit}']`);
}

// What everybody may see, without a sign-in.
async function lookAsEverybody() {
  await page.goto(`${given.results}/results/live?lang=${given.language}`);
  await look("public-units");
  await follow(page.locator(`main a[href*='${given.unit}']`));
  must((await page.locator("main tbody tr").count()) === 8, "the public final does not show eight lanes");
  await look("public-final");
  await changes("public-final", "#live", `#live a`);
  await page.goto(`${given.results}/results/medals?lang=${given.language}`);
  must((await page.locator("main tbody tr").count()) === 3, "the standings do not show three organisations");
  await look("public-medals");
}

async function atTheDesk() {
  await page.goto(`${given.results}/results/cis?lang=${given.language}`);
  must(new URL(page.url()).pathname === "/results/cis", `the desk leads to ${page.url()}`);
  await look("desk-disciplines");
  await follow(page.locator("main a[href*='/results/cis/ATH']"));
  must((await page.locator("#rows tbody tr").count()) === 8, "the desk does not show eight lanes");
  must((await page.locator("#starters-rows tbody tr").count()) === 8, "the desk does not show eight starters");
  await look("desk");
  if (given.script) {
    await page.waitForFunction(() => document.getElementById("lamp").dataset.state === "live");
    await keysAtTheDesk();
    await aHoleAtTheDesk();
  }
  await changes("desk", "#results", "#refresh");
  const name = await page.locator("#rows tbody tr").first().locator("a").innerText();
  await follow(page.locator("#rows tbody tr").first().locator("a"));
  must((await page.locator("#biography-title").innerText()).includes(name), "the biography is of somebody else");
  await look("desk-biography");
}

// A frame that is missing is said, and the page goes on from the last cursor; that is of an epoch that never was, so the
// server starts it again, and the page is whole.
async function aHoleAtTheDesk() {
  const cursors = [];
  await page.route("**/results/v1/feed?**", (route) => {
    cursors.push(new URL(route.request().url()).searchParams.get("cursor"));
    if (cursors.length > 1) return route.continue();
    const frames = [["1.7", { t: "skip", p: 5, s: 7, n: 1 }], ["1.8", { t: "gone", k: 999999999, s: 8, p: 7 }], ["1.11", { t: "skip", p: 10, s: 11, n: 1 }]];
    const body = frames.map(([id, frame]) => `id: ${id}\ndata: ${JSON.stringify(frame)}\n\n`).join("");
    return route.fulfill({ contentType: "text/event-stream", body });
  });
  await page.reload();
  await page.waitForFunction(() => document.getElementById("missed").textContent !== "");
  const said = await page.locator("#missed").innerText();
  const { missed, mended } = await page.evaluate(() => JSON.parse(document.getElementById("desk").dataset.words));
  must(said.includes(missed), `a hole is told as ${said}`);
  await page.waitForFunction((word) => document.getElementById("missed").textContent.includes(word), mended);
  await page.waitForFunction(() => document.getElementById("lamp").dataset.state === "live");
  must(cursors[1] === "1.8", `the desk went on from ${cursors[1]}`);
  await page.unroute("**/results/v1/feed?**");
  must((await page.locator("#rows tbody tr").count()) === 8, "the desk is not whole again");
  await look("desk-mended");
}

// Hands on the keyboard: everything is reached, nothing holds the focus, and the keys can be turned off.
async function keysAtTheDesk() {
  const focused = (selector) => page.evaluate((wanted) => document.activeElement.matches(wanted), selector);
  for (const [key, where] of [["u", "#units .scroll"], ["r", "#results .scroll"], ["s", "#starters .scroll"], ["b", "#biography .scroll"], ["c", "#clock .scroll"], ["j", "#units a"]]) {
    await page.keyboard.press(key);
    must(await focused(where), `${key} does not lead to ${where}`);
  }
  await page.keyboard.press("?");
  must(await focused("#help[open] summary"), "? does not show the keys");
  await look("desk-keys");
  await page.keyboard.press("Tab");
  must(await focused("#shortcuts"), "Tab does not lead on from the keys");
  await page.keyboard.press("Space");
  await page.keyboard.press("r");
  must(await focused("#shortcuts"), "keys that are off act");
  await page.keyboard.press("Space");
  await page.keyboard.press("?");
  must(!(await page.locator("#help").evaluate((help) => help.open)), "? does not hide the keys again");
  await page.evaluate(() => document.activeElement.blur());
  // All the way round by Tab: the focus comes back to where it began.
  const stops = await page.locator("a[href], button, input:not([type=hidden]), summary, [tabindex='0']").count();
  const first = "a.skip";
  await page.evaluate(() => document.querySelector("a.skip").focus());
  for (let stop = 0; stop < stops + 5; stop++) {
    await page.keyboard.press("Tab");
    if (stop > 3 && (await focused(`${first}, body`))) return;
  }
  throw new Error("the focus is held somewhere on the desk");
}

try {
  await signUp();
  await secureTheSignIn();
  await tellAboutOneself();
  await followTheRace();
  await lookAsEverybody();
  await atTheDesk();
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
