// Live states of the units of a list. Without it the page has a refresh link.
"use strict";
(() => {
  const live = document.getElementById("live");
  if (!live || !window.EventSource) return;
  const SILENCE = 15000;
  const words = JSON.parse(live.dataset.words);
  const lines = new Map([...live.querySelectorAll("li[data-unit]")].map((line) => [line.dataset.unit, line]));
  // Units by the handle of their result in the feed.
  let results = new Map();
  let feed = null;
  let complete = false;
  let heard = Date.now();
  let wait = 1000;

  function open() {
    feed = new EventSource(live.dataset.feed);
    feed.onmessage = (message) => take(JSON.parse(message.data));
    feed.onerror = () => {
      // The browser comes back by itself after a broken connection, but not after a refusal.
      if (feed.readyState !== EventSource.CLOSED) return;
      setTimeout(open, wait * (0.5 + Math.random()));
      wait = Math.min(wait * 2, 60000);
    };
  }

  function take(frame) {
    heard = Date.now();
    wait = 1000;
    if (frame.t === "reset") {
      complete = false;
      results = new Map();
    }
    if (frame.t === "live") complete = true;
    if (frame.key && frame.key.document_type === "DT_RESULT" && lines.has(frame.key.document_code)) results.set(frame.k, lines.get(frame.key.document_code));
    const line = results.get(frame.k);
    if (line && frame.t === "gone") state(line, "result", "");
    else if (line && frame.st) state(line, "result", frame.st);
    // A schedule of the snapshot may be older than the page; what comes behind it is newer.
    if (complete && (frame.b || frame.d)) schedule(frame.b || frame.d);
  }

  function schedule(body) {
    for (const [code, fields] of Object.entries((body.Competition || {}).Unit || {})) {
      if (fields && fields.ScheduleStatus && lines.has(code)) state(lines.get(code), "schedule", fields.ScheduleStatus);
    }
  }

  function state(line, part, code) {
    line.dataset[part] = code;
    const shown = line.dataset.result || line.dataset.schedule || "";
    const status = line.querySelector("[data-key=status]");
    const text = words[shown] || shown;
    if (status.textContent !== text) status.textContent = text;
  }

  setInterval(() => {
    document.getElementById("stale").hidden = Date.now() - heard <= SILENCE;
  }, 1000);
  addEventListener("pagehide", () => feed.close());
  addEventListener("pageshow", (shown) => {
    if (shown.persisted) location.reload();
  });
  open();
})();
