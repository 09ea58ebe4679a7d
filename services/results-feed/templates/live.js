// Live updates of one event unit. Without script the page has a refresh link and says how old it is.
"use strict";
(() => {
  let refreshing = false;

  function follow() {
    const live = document.getElementById("live");
    if (!live || !live.dataset.feed) return;
    const feed = new EventSource(live.dataset.feed);
    feed.onmessage = (message) => {
      const frame = JSON.parse(message.data);
      const ours = String(frame.k) === live.dataset.handle;
      if (frame.t === "delta" && ours && apply(live, frame)) return;
      // Anything else about this unit, or a patch that needs new rows: the server writes the page anew.
      if (["reset", "full", "ref", "gone", "superseded"].includes(frame.t) || (frame.t === "delta" && ours)) {
        feed.close();
        refresh();
      }
    };
  }

  // A merge patch onto the cells that it names; false when it names rows that are not here.
  function apply(live, frame) {
    const cells = new Map();
    for (const cell of live.querySelectorAll("[data-key]")) cells.set(cell.dataset.key, cell);
    const results = frame.d.Competition && frame.d.Competition.Result;
    for (const [row, fields] of Object.entries(results || {})) {
      const path = `${frame.k}/Competition/Result/${row}`;
      const order = cells.get(`${path}/SortOrder`);
      if (fields === null || !order) return false;
      for (const [name, value] of Object.entries(fields)) {
        const cell = cells.get(`${path}/${name}`);
        if (!cell) continue;
        if (cell === order) order.dataset.order = value || "";
        else cell.textContent = value || "";
      }
    }
    const body = live.querySelector("tbody");
    const rows = [...body.rows].sort((one, other) => Number(one.dataset.order) - Number(other.dataset.order));
    body.append(...rows);
    const words = JSON.parse(live.dataset.words);
    if (frame.st) document.getElementById("result-status").textContent = words[frame.st] || frame.st;
    const now = new Date();
    const updated = document.getElementById("updated");
    updated.dateTime = now.toISOString();
    updated.textContent = now.toLocaleTimeString(document.documentElement.lang);
    return true;
  }

  // The page may be cached for a second: a moment later it holds what made us look.
  function refresh() {
    if (refreshing) return;
    refreshing = true;
    setTimeout(async () => {
      try {
        const answer = await fetch(location.href, { cache: "no-store" });
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        document.querySelector("main").replaceWith(page.querySelector("main"));
      } finally {
        refreshing = false;
        follow();
      }
    }, 1100);
  }

  follow();
})();
