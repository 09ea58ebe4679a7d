// Live updates of one event unit or of the medal standings. The page holds the cursor from which it goes on, so only
// changes come. Without script it has a refresh link and says how old it is.
"use strict";
(() => {
  const SILENCE = 15000;
  const part = (id) => document.getElementById(id);
  let live = part("live");
  if (!live || !window.EventSource) return;
  let feed = null;
  let heard = Date.now();
  let refreshing = false;

  function follow() {
    live = part("live");
    if (feed) feed.close();
    feed = new EventSource(live.dataset.feed);
    feed.onmessage = (message) => take(JSON.parse(message.data));
    feed.onerror = () => {
      // The browser comes back by itself after a broken connection, but not after a refusal.
      if (feed.readyState === EventSource.CLOSED) setTimeout(follow, 5000 + 10000 * Math.random());
    };
  }

  function take(frame) {
    heard = Date.now();
    const ours = live.dataset.handle && String(frame.k) === live.dataset.handle;
    if (frame.t === "delta" && ours) {
      // What was heard before comes again after a loss; a patch of another version means that something was lost.
      if (frame.v <= Number(live.dataset.version)) return;
      if (frame.bv === Number(live.dataset.version) && apply(frame)) return;
      return renew();
    }
    const isNew = (frame.t === "full" || frame.t === "ref") && isOurs(frame.key) && frame.v > Number(live.dataset.version || 0);
    if (frame.t === "reset" || isNew || (ours && (frame.t === "gone" || frame.t === "superseded"))) renew();
  }

  function isOurs(key) {
    return key.document_type === live.dataset.type && (!live.dataset.code || key.document_code === live.dataset.code);
  }

  function dig(node, path) {
    for (const name of path) {
      if (node === null || typeof node !== "object") return undefined;
      node = node[name];
    }
    return node;
  }

  // A merge patch (RFC 7396) onto the cells that it names; false when it names rows that are not here.
  function apply(frame) {
    const body = live.querySelector("tbody");
    const rows = dig(frame.d, live.dataset.rows.split("/"));
    if (!body || rows === null) return false;
    const here = new Map([...body.rows].map((row) => [row.dataset.row, row]));
    for (const [name, fields] of Object.entries(rows || {})) {
      const row = here.get(name);
      if (!row || fields === null) return false;
    }
    for (const [name, fields] of Object.entries(rows || {})) {
      const row = here.get(name);
      const above = `${frame.k}/${live.dataset.rows}/${name}/`;
      for (const cell of row.querySelectorAll("[data-key]")) patch(cell, fields, cell.dataset.key.slice(above.length).split("/"));
      const order = fields[live.dataset.order];
      if (order !== undefined) row.dataset.order = order === null ? "" : order;
    }
    sort(body);
    live.dataset.version = frame.v;
    const status = part("result-status");
    if (status && frame.st) show(status, JSON.parse(live.dataset.words)[frame.st] || frame.st);
    const updated = part("updated");
    updated.dateTime = new Date().toISOString();
    updated.textContent = new Date().toLocaleTimeString(document.documentElement.lang);
    age();
    return true;
  }

  function patch(cell, fields, path) {
    for (let depth = 1; depth <= path.length; depth++) {
      const value = dig(fields, path.slice(0, depth));
      if (value === undefined) return;
      if (value === null) return show(cell, cell.dataset.empty || "");
      if (depth === path.length) show(cell, value);
    }
  }

  function show(cell, text) {
    if (cell.textContent !== text) cell.textContent = text;
  }

  function sort(body) {
    const place = (row) => Number(row.dataset.order || Infinity);
    const rows = [...body.rows].sort((one, other) => place(one) - place(other));
    if (rows.some((row, at) => body.rows[at] !== row)) body.append(...rows);
  }

  // The page may be cached for a second: a moment later it holds what made us look. Not all readers at once.
  function renew() {
    if (refreshing) return;
    refreshing = true;
    feed.close();
    setTimeout(async () => {
      try {
        const answer = await fetch(location.href, { cache: "no-store" });
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        part("live").replaceWith(document.adoptNode(page.getElementById("live")));
      } catch {
        // The page stays as it is, and says so by its age; the feed is tried again.
      } finally {
        refreshing = false;
        follow();
        age();
      }
    }, 1050 + 500 * Math.random());
  }

  function age() {
    const updated = part("updated");
    if (updated) {
      const seconds = Math.max(0, Math.round((Date.now() - Date.parse(updated.dateTime)) / 1000));
      part("age").textContent = `(${seconds} ${part("age").dataset.word})`;
    }
    part("stale").hidden = Date.now() - heard <= SILENCE;
  }

  setInterval(age, 1000);
  addEventListener("pagehide", () => feed.close());
  addEventListener("pageshow", (shown) => {
    if (shown.persisted) renew();
  });
  follow();
  age();
})();
