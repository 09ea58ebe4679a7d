// Reads the feed of results in a real browser, by EventSource and by WebSocket at once, and applies what comes as the
// partner's guide has it. One line of JSON for one question: {"until": seq} is answered, once both readers have that
// entry, by {"events": reader, "socket": reader}, each with its documents as text, its connections and its faults.
//
//   node feed.mjs '{"origin", "query", "chromium"}'
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const given = JSON.parse(process.argv[2]);
const FLAGS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync",
];
const PATIENCE = 20_000;

// Runs in the page, where nothing of this file is known.
function read(query) {
  const merge = (target, patch) => {
    if (patch === null || typeof patch !== "object") return patch;
    const result = target !== null && typeof target === "object" ? { ...target } : {};
    for (const [name, value] of Object.entries(patch)) {
      if (value === null) delete result[name];
      else result[name] = merge(result[name], value);
    }
    return result;
  };
  const sorted = (value) =>
    typeof value === "object" ? Object.fromEntries(Object.keys(value).sort().map((name) => [name, sorted(value[name])])) : value;

  class Reader {
    documents = new Map();
    newest = new Map();
    last = new Map();
    heard = new Set();
    cursor = null;
    connections = 0;
    faults = [];

    begin() {
      this.connections += 1;
      this.last.clear();
      if (this.cursor === null) this.forget();
    }
    forget() {
      this.documents.clear();
      this.newest.clear();
    }
    take(frame, cursor) {
      if (frame.t === "reset") {
        this.forget();
        this.last.clear();
        this.cursor = null;
      } else if (frame.t === "snap") {
        this.hold(frame);
      } else if ("p" in frame) {
        this.chain(frame);
        if (frame.t !== "skip") this.change(frame);
      }
      if (cursor) this.cursor = cursor;
    }
    chain(frame) {
      const lane = frame.l ?? 0;
      if (this.last.has(lane) && this.last.get(lane) !== frame.p) this.faults.push(`p ${frame.p} after ${this.last.get(lane)}`);
      this.last.set(lane, frame.s);
    }
    change(frame) {
      this.heard.add(frame.s);
      if ((this.newest.get(frame.k) ?? 0) >= frame.s) return;
      const held = this.documents.get(frame.k);
      if (frame.t === "gone" || frame.t === "superseded") this.documents.delete(frame.k);
      else if (frame.t === "full") this.hold(frame);
      else if (held?.v === frame.bv) this.documents.set(frame.k, { v: frame.v, b: merge(held.b, frame.d) });
      else this.faults.push(`holds ${held?.v}, got a patch of ${frame.bv}`);
      this.newest.set(frame.k, frame.s);
    }
    hold(frame) {
      this.documents.set(frame.k, { v: frame.v, b: frame.b });
      this.newest.set(frame.k, frame.s);
    }
    report() {
      const documents = [...this.documents].sort(([one], [other]) => one - other);
      const lines = documents.map(([k, { v, b }]) => `${k} ${v} ${JSON.stringify(sorted(b))}`);
      return { lines, connections: this.connections, faults: this.faults, heard: [...this.heard] };
    }
  }

  const events = new Reader();
  const source = new EventSource(`/results/v1/feed${query}`);
  source.onopen = () => events.begin();
  source.onmessage = ({ data, lastEventId }) => events.take(JSON.parse(data), lastEventId);

  const socket = new Reader();
  const connect = () => {
    const cursor = socket.cursor === null ? "" : `&cursor=${socket.cursor}`;
    const open = new WebSocket(`ws://${location.host}/results/v1/feed/ws${query}${cursor}`, "kotinos.feed.v1");
    open.onopen = () => socket.begin();
    open.onmessage = ({ data }) => {
      const frame = JSON.parse(data);
      socket.take(frame, frame.c);
    };
    open.onclose = () => setTimeout(connect, 200);
  };
  connect();
  globalThis.readers = { events, socket };
}

const browser = await chromium.launch({ executablePath: given.chromium, headless: true, args: FLAGS });
try {
  const page = await browser.newPage();
  page.setDefaultTimeout(PATIENCE);
  await page.goto(`${given.origin}/results/live`);
  await page.evaluate(read, given.query);
  for await (const line of createInterface({ input: process.stdin })) {
    const { until } = JSON.parse(line);
    const all = until.map(Number);
    await page.waitForFunction(
      (all) => Object.values(globalThis.readers).every((reader) => reader.cursor !== null && all.every((seq) => reader.heard.has(seq))),
      all,
    );
    const told = await page.evaluate(() => ({ events: globalThis.readers.events.report(), socket: globalThis.readers.socket.report() }));
    console.log(JSON.stringify(told));
  }
} finally {
  await browser.close();
}
