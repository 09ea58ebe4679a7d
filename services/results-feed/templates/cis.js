// The commentators' desk, live. It holds two documents, the chosen unit's result and clock, and the cells of the page:
// nothing grows while the evening goes on. Without it the page has a refresh link.
"use strict";
(() => {
  if (!document.getElementById("desk") || !window.EventSource) return;
  const LATE = 12000;
  const LOST = 30000;
  const TABLES = [["rows", "row"], ["starters-rows", "starter"]];
  // What of a clock is no news (see facts.rs, which writes the page at first).
  const NO_NEWS = ["Gen", "Sport", "Codes", "Competitor", "Result", "Language"];
  const CLOCK_FACTS = 12;
  const part = (id) => document.getElementById(id);
  const inside = (element, name) => element.querySelector(`[data-part="${name}"]`);
  let words, statuses, unit, cursor, held, byHandle, chain;
  let link = null;
  let heard = 0;
  let lag = 0;
  let wait = 1000;
  let retry = 0;
  let spoken = 0;
  let speaking = 0;
  let renewing = false;
  let missedAt = 0;

  function read() {
    const { dataset } = part("desk");
    words = JSON.parse(dataset.words);
    statuses = JSON.parse(dataset.statuses);
    unit = dataset.unit;
    cursor = dataset.cursor;
    held = { DT_RESULT: dataset.result ? JSON.parse(dataset.result) : null, DT_CURRENT: dataset.clock ? JSON.parse(dataset.clock) : null };
    byHandle = new Map();
    for (const line of part("units").querySelectorAll("li[data-handle]")) if (line.dataset.handle) byHandle.set(line.dataset.handle, line);
    delete dataset.result;
    delete dataset.clock;
  }

  // The carrier: opens the feed behind a cursor, and gives its frames with the cursor after each. Nothing else knows it.
  function carry(from, onFrame, onEnd) {
    const source = new EventSource(`${part("desk").dataset.feed}&cursor=${encodeURIComponent(from)}`);
    source.onmessage = (message) => onFrame(JSON.parse(message.data), message.lastEventId);
    source.onerror = () => {
      source.close();
      onEnd();
    };
    return { close: () => source.close() };
  }

  function connect() {
    clearTimeout(retry);
    if (link) link.close();
    chain = null;
    const own = carry(cursor, (frame, after) => {
      if (own === link) take(frame, after);
    }, () => {
      if (own === link) comeBack(wait * (0.5 + Math.random()));
    });
    link = own;
  }

  function comeBack(after) {
    if (link) link.close();
    link = null;
    clearTimeout(retry);
    retry = setTimeout(connect, after);
    wait = Math.min(wait * 2, 30000);
  }

  function take(frame, after) {
    heard = Date.now();
    wait = 1000;
    if (!follows(frame)) return missed();
    if (after) cursor = after;
    lag = frame.t === "hb" ? frame.lag_ms : 0;
    if (frame.t === "snap" || frame.t === "full") document_(frame);
    else if (frame.t === "delta") delta(frame);
    else if (frame.t === "ref" && isShown(frame.key)) renew();
    else if (frame.t === "gone") gone(frame);
    else if (frame.t === "superseded") status(frame.k, frame.st);
    else if (frame.t === "hb") venues(frame.stale || []);
    else if (frame.t === "reset") renew();
    else if (frame.t === "bye") comeBack(frame.retry_ms || 1000);
    if (missedAt && frame.t !== "hello") mended();
    lamp();
  }

  // Each change names the one before it (`p`). The first after a connection names the cursor's own place.
  function follows(frame) {
    if (frame.p === undefined) return true;
    const lane = frame.l || 0;
    chain = chain || new Map();
    if (chain.has(lane) && chain.get(lane) !== frame.p) return false;
    chain.set(lane, frame.s);
    return true;
  }

  function missed() {
    missedAt = Date.now();
    part("missed").textContent = `${new Date().toLocaleTimeString(document.documentElement.lang)} ${words.missed}`;
    connect();
  }

  function mended() {
    missedAt = 0;
    part("missed").textContent = `${part("missed").textContent} ${words.mended}`;
  }

  function isShown(key) {
    return key.document_code === unit && key.document_type in held;
  }

  function document_(frame) {
    const { document_type: type, document_code: code } = frame.key;
    if (type === "DT_RESULT") {
      const line = part("units").querySelector(`li[data-unit="${CSS.escape(code)}"]`);
      if (line) {
        line.dataset.handle = frame.k;
        byHandle.set(String(frame.k), line);
      }
      status(frame.k, frame.st);
    }
    if (isShown(frame.key) && !(held[type] && held[type].v >= frame.v && held[type].k === frame.k)) hold(type, { k: frame.k, v: frame.v, b: frame.b }, frame.st);
    if (type.startsWith("DT_SCHEDULE")) schedule(frame.b);
    if (type.startsWith("DT_BIO_") && code === part("desk").dataset.bio) renew();
  }

  function delta(frame) {
    status(frame.k, frame.st);
    schedule(frame.d);
    const type = Object.keys(held).find((name) => held[name] && held[name].k === frame.k);
    if (!type || frame.v <= held[type].v) return;
    // A patch of a version that is not here: something was lost, and the page is written anew.
    if (frame.bv !== held[type].v) {
      missed();
      return renew();
    }
    hold(type, { k: frame.k, v: frame.v, b: merge(held[type].b, frame.d) }, frame.st);
  }

  function gone(frame) {
    status(frame.k, "");
    const type = Object.keys(held).find((name) => held[name] && held[name].k === frame.k);
    if (type) hold(type, { k: frame.k, v: 0, b: {} }, "");
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

  function hold(type, content, result) {
    held[type] = content;
    if (type === "DT_CURRENT") return clock(content.b);
    if (result !== undefined) show(part("result-status"), statuses[result] || result);
    const lines = Object.values((content.b.Competition || {}).Result || {}).map(line).filter((one) => one.code);
    lines.sort((one, other) => one.order - other.order);
    fill(...TABLES[0], lines);
    fill(...TABLES[1], [...lines].sort((one, other) => one.start - other.start));
    announce();
  }

  function first(children) {
    return children && Object.values(children)[0];
  }

  // As result.rs reads them.
  function line(result) {
    const competitor = first(result.Competitor) || {};
    const athlete = first((competitor.Composition || {}).Athlete) || {};
    const person = athlete.Description || {};
    const name = (competitor.Description || {}).TeamName || [person.GivenName, person.FamilyName].filter(Boolean).join(" ");
    return {
      code: competitor.Code,
      order: Number(result.SortOrder || result.StartSortOrder || Infinity),
      start: Number(result.StartOrder || Infinity),
      parts: {
        rank: result.Rank, start_order: result.StartOrder, bib: competitor.Bib || athlete.Bib, name: name || competitor.Code,
        noc: competitor.Organisation, mark: result.Result, difference: result.Diff, irm: result.IRM,
      },
    };
  }

  // Rows keep their places; each place is given the line that belongs there, so that nothing jumps.
  function fill(table, template, lines) {
    const body = part(table).tBodies[0];
    while (body.rows.length > lines.length) body.rows[body.rows.length - 1].remove();
    while (body.rows.length < lines.length) body.append(part(template).content.firstElementChild.cloneNode(true));
    const focused = document.activeElement && document.activeElement.closest(`#${table} tr`);
    const competitor = focused && focused.dataset.row;
    lines.forEach(({ code, parts }, at) => {
      const row = body.rows[at];
      if (row.dataset.row !== code) {
        row.dataset.row = code;
        const { searchParams } = new URL(location.href);
        const query = new URLSearchParams({ lang: searchParams.get("lang") || document.documentElement.lang, unit, bio: code });
        inside(row, "name").setAttribute("href", `?${query}#biography`);
      }
      for (const cell of row.querySelectorAll("[data-part]")) show(cell, parts[cell.dataset.part] || "");
      if (competitor === code) inside(row, "name").focus({ preventScroll: true });
    });
  }

  function show(cell, text) {
    if (cell.textContent !== text) cell.textContent = text;
  }

  function status(handle, result) {
    const line = byHandle.get(String(handle));
    if (line && result !== undefined) show(inside(line, "result"), statuses[result] || result);
  }

  // A unit is whole in its announcement: where a patch names its status, this is its status now.
  function schedule(body) {
    const units = (body.Competition || {}).Unit;
    for (const [code, fields] of Object.entries(units || {})) {
      if (!fields || !fields.ScheduleStatus) continue;
      const line = part("units").querySelector(`li[data-unit="${CSS.escape(code)}"]`);
      if (!line && fields.ScheduleStatus === "RUNNING") return renew();
      if (!line) continue;
      line.dataset.schedule = fields.ScheduleStatus;
      show(inside(line, "schedule"), statuses[fields.ScheduleStatus] || fields.ScheduleStatus);
    }
  }

  function clock(body) {
    const facts = [];
    walk(body.Competition || {}, [], facts);
    const lines = facts.slice(0, CLOCK_FACTS).map(([name, value]) => {
      const pair = document.createElement("div");
      pair.append(Object.assign(document.createElement("dt"), { textContent: name }), Object.assign(document.createElement("dd"), { textContent: value }));
      return pair;
    });
    if (lines.length) part("clock-facts").replaceChildren(...lines);
  }

  // As facts.rs reads them.
  function walk(node, path, facts) {
    if (facts.length >= CLOCK_FACTS) return;
    if (typeof node.Code === "string" && typeof node.Value === "string" && node.Code && node.Value) return facts.push([node.Code, node.Value]);
    for (const name of Object.keys(node).sort()) {
      const member = node[name];
      if (NO_NEWS.includes(name)) continue;
      if (typeof member === "string") facts.push([name === "#text" ? path.join(" ") : [...path.slice(-1), name].join(" "), member]);
      else walk(member, /^\d{6}$/.test(name) ? path : [...path, name], facts);
    }
  }

  // Heartbeats name the venues that are late or silent, each with its age in seconds; the others are fresh.
  function venues(stale) {
    const ages = new Map(stale.map(([venue, , age]) => [venue, age]));
    for (const lamp of part("venues").querySelectorAll("[data-venue]")) {
      if (lamp.dataset.state === "closed") continue;
      const age = ages.get(lamp.dataset.venue);
      const state = age === undefined ? "fresh" : age < 90 ? "late" : "stale";
      lamp.dataset.state = state;
      show(inside(lamp, "state"), { fresh: words.fresh, late: words.lateVenue, stale: words.stale }[state]);
      show(inside(lamp, "age"), age === undefined ? "" : `${age} ${words.seconds}`);
    }
  }

  // The page anew, from the server: panels are taken over, and the feed goes on from its cursor.
  async function renew() {
    if (renewing) return;
    renewing = true;
    if (link) link.close();
    link = null;
    try {
      const answer = await fetch(location.href, { cache: "no-store", redirect: "error" });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const focused = document.activeElement && document.activeElement.getAttribute("href");
      part("desk").replaceWith(document.adoptNode(page.getElementById("desk")));
      read();
      const again = focused && part("desk").querySelector(`a[href="${CSS.escape(focused)}"]`);
      if (again) again.focus({ preventScroll: true });
      connect();
    } catch {
      // Still out of date, which the lamp says.
      retry = setTimeout(renew, wait);
      wait = Math.min(wait * 2, 30000);
    } finally {
      renewing = false;
    }
  }

  // One sentence for screen readers, at most once in ten seconds.
  function announce() {
    if (speaking) return;
    speaking = setTimeout(() => {
      speaking = 0;
      spoken = Date.now();
      const rows = [...part("rows").tBodies[0].rows].slice(0, 3);
      const said = rows.map((row) => ["rank", "name", "noc", "mark", "irm"].map((name) => inside(row, name).textContent).filter(Boolean).join(" "));
      part("said").textContent = [part("result-status").textContent, ...said].join(", ");
    }, Math.max(0, spoken + 10000 - Date.now()));
  }

  function lamp() {
    const age = heard ? Date.now() - heard + lag : 0;
    const state = !heard ? "connecting" : age < LATE ? "live" : age < LOST ? "late" : "lost";
    part("lamp").dataset.state = state;
    show(part("connection"), words[state]);
    show(part("age"), heard ? `${Math.round(age / 1000)} ${words.seconds}` : "");
    const ends = Date.parse(part("ending").dataset.ends);
    part("ending").hidden = !(ends - Date.now() < 900000);
  }

  function keys(event) {
    const typing = event.target.closest && event.target.closest("input:not([type=checkbox]), textarea, select");
    if (event.ctrlKey || event.altKey || event.metaKey || typing || event.defaultPrevented) return;
    if (event.key !== "?" && !part("shortcuts").checked) return;
    const panels = { u: "units", r: "results", s: "starters", b: "biography", c: "clock" };
    if (event.key === "?") {
      part("help").open = !part("help").open;
      part("help").querySelector("summary").focus();
    } else if (event.key in panels) part(panels[event.key]).querySelector(".scroll").focus();
    else if (event.key === "j" || event.key === "k") {
      const links = [...part("units").querySelectorAll("a")];
      const at = links.includes(document.activeElement) ? links.indexOf(document.activeElement) : links.findIndex((one) => one.ariaCurrent) - (event.key === "j" ? 1 : 0);
      const next = links[Math.max(0, Math.min(links.length - 1, at + (event.key === "j" ? 1 : -1)))];
      if (next) next.focus();
    } else if (event.key === "g") location.assign(part("refresh").href);
    else if (event.key === "d") location.assign("/results/cis");
    else return;
    event.preventDefault();
  }

  // Single keys can be turned off (WCAG 2.1.4), and stay off.
  try {
    part("shortcuts").checked = localStorage.getItem("cis-shortcuts") !== "off";
    part("shortcuts").addEventListener("change", (event) => localStorage.setItem("cis-shortcuts", event.target.checked ? "on" : "off"));
  } catch {
    // A browser that stores nothing: they are on.
  }
  addEventListener("keydown", keys);
  setInterval(lamp, 1000);
  addEventListener("pagehide", () => link && link.close());
  addEventListener("pageshow", (shown) => {
    if (shown.persisted) renew();
  });
  read();
  connect();
  lamp();
})();
