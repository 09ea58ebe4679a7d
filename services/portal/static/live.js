// Live updates of one unit's result. Without it the page has a refresh link, and says how old it is.
"use strict";
(() => {
  const live = document.getElementById("live");
  if (!live || !window.EventSource) return;
  const SILENCE = 10000;
  const words = JSON.parse(live.dataset.words);
  const body = live.querySelector("tbody");
  const part = (id) => document.getElementById(id);
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  let feed = null;
  // The document that the page shows: its handle in the feed, version, status and content.
  let held = null;
  let heard = Date.now();
  let lag = 0;
  let wait = 1000;
  let spoken = 0;
  let speaking = 0;

  function open() {
    if (feed) feed.close();
    feed = new EventSource(live.dataset.feed);
    feed.onmessage = (message) => take(JSON.parse(message.data));
    feed.onerror = () => {
      // The browser comes back by itself after a broken connection, but not after a refusal.
      if (feed.readyState !== EventSource.CLOSED) return;
      setTimeout(open, wait * (0.5 + Math.random()));
      wait = Math.min(wait * 2, 60000);
    };
  }

  // From a new snapshot, not all readers at once.
  function restart() {
    feed.close();
    held = null;
    setTimeout(open, 1000 * Math.random());
  }

  function take(frame) {
    heard = Date.now();
    lag = frame.t === "hb" ? frame.lag_ms : 0;
    wait = 1000;
    const ours = held && frame.k === held.k;
    if (frame.t === "snap" || frame.t === "full") {
      if (ours || (!held && isOurs(frame.key))) hold(frame, frame.b);
    } else if (frame.t === "ref") {
      // Too large for a frame: the server writes the page anew.
      if (ours || (!held && isOurs(frame.key))) location.reload();
    } else if (frame.t === "delta" && ours && frame.v > held.v) {
      // A patch of a version that is not here: something was lost.
      if (frame.bv === held.v) hold(frame, merge(held.b, frame.d));
      else restart();
    } else if (frame.t === "gone" && ours) {
      hold({ k: frame.k, v: 0, st: "" }, {});
    } else if (frame.t === "superseded" && ours) {
      // What is shown is out of date, and the newer version is not for us.
      held.v = -1;
      if (show(part("result-status"), words[frame.st] || frame.st || "")) announce();
    } else if (frame.t === "reset") {
      held = null;
    } else if (frame.t === "live" && !held && body.rows.length) {
      // The snapshot is complete, and our document is not in it.
      show(part("result-status"), "");
      render({});
    }
  }

  function isOurs(key) {
    return key.document_type === "DT_RESULT" && key.document_code === live.dataset.unit;
  }

  function hold(frame, content) {
    held = { k: frame.k, v: frame.v, b: content };
    const status = show(part("result-status"), words[frame.st] || frame.st || "");
    const rows = render(content);
    if (!status && !rows) return;
    const now = new Date();
    part("updated").dateTime = now.toISOString();
    part("updated").textContent = now.toLocaleTimeString(document.documentElement.lang);
    announce();
  }

  // A merge patch (RFC 7396).
  function merge(target, patch) {
    if (patch === null || typeof patch !== "object") return patch;
    const merged = target !== null && typeof target === "object" ? target : {};
    for (const [name, value] of Object.entries(patch)) {
      if (value === null) delete merged[name];
      else if (name !== "__proto__") merged[name] = merge(merged[name], value);
    }
    return merged;
  }

  // Patches the rows by their keys; tells whether anything changed.
  function render(content) {
    const lines = Object.values((content.Competition || {}).Result || {}).map(line).filter((one) => one.code);
    lines.sort((one, other) => one.order - other.order);
    const rows = new Map();
    for (const row of body.rows) rows.set(row.dataset.key, row);
    let changed = lines.length !== rows.size;
    const order = [];
    for (const { code, cells } of lines) {
      const row = rows.get(code) || build(code);
      rows.delete(code);
      order.push(row);
      for (const cell of row.cells) changed = show(cell, cells[cell.dataset.key.slice(code.length + 1)] || "") || changed;
    }
    for (const row of rows.values()) row.remove();
    if (order.some((row, at) => body.rows[at] !== row)) {
      changed = true;
      body.append(...order);
    }
    part("no-result").hidden = order.length > 0;
    live.querySelector(".wide").hidden = order.length === 0;
    return changed;
  }

  function line(result) {
    const competitor = first(result.Competitor) || {};
    const athlete = first((competitor.Composition || {}).Athlete) || {};
    const team = (competitor.Description || {}).TeamName;
    const person = athlete.Description || {};
    return {
      code: competitor.Code,
      order: Number(result.SortOrder || result.StartSortOrder || Infinity),
      cells: {
        rank: result.Rank,
        start_order: result.StartOrder,
        bib: competitor.Bib || athlete.Bib,
        name: team || [person.GivenName, person.FamilyName].filter(Boolean).join(" "),
        noc: competitor.Organisation,
        mark: result.Result,
        irm: result.IRM,
      },
    };
  }

  function first(children) {
    return children && Object.values(children)[0];
  }

  function build(code) {
    const row = part("row").content.firstElementChild.cloneNode(true);
    row.dataset.key = code;
    for (const cell of row.cells) cell.dataset.key = `${code}/${cell.dataset.key}`;
    return row;
  }

  function show(cell, text) {
    if (cell.textContent === text) return false;
    cell.textContent = text;
    if (!calm.matches) {
      cell.classList.add("changed");
      setTimeout(() => cell.classList.remove("changed"), 1500);
    }
    return true;
  }

  // One sentence for screen readers, at most once in ten seconds; what comes meanwhile is in the next one.
  function announce() {
    if (speaking) return;
    speaking = setTimeout(() => {
      speaking = 0;
      spoken = Date.now();
      const rows = [...body.rows].slice(0, 3).map((row) => {
        const [rank, , , name, noc, mark, irm] = [...row.cells].map((cell) => cell.textContent);
        return [rank, name, noc, mark, irm].filter(Boolean).join(" ");
      });
      const stale = part("stale").hidden ? "" : part("stale").textContent;
      const now = [part("result-status").textContent, ...rows].filter(Boolean).join(", ");
      part("said").textContent = `${stale} ${now}`.trim();
    }, Math.max(0, spoken + 10000 - Date.now()));
  }

  setInterval(() => {
    const fresh = Date.now() - heard <= SILENCE && lag <= SILENCE;
    if (part("stale").hidden === fresh) return;
    part("stale").hidden = fresh;
    announce();
  }, 1000);

  addEventListener("pagehide", () => feed.close());
  addEventListener("pageshow", (shown) => {
    if (shown.persisted) restart();
  });
  open();
})();
