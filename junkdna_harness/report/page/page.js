"use strict";
// Theme: the system's, unless the reader has chosen one.
(() => {
  const root = document.documentElement, button = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const stored = (() => { try { return localStorage.getItem("junkdna-theme"); } catch { return null; } })();
  if (stored === "dark" || stored === "light") root.dataset.theme = stored;
  const now = () => root.dataset.theme || (system.matches ? "dark" : "light");
  const label = () => { button.textContent = now() === "dark" ? "Light theme" : "Dark theme"; };
  button.addEventListener("click", () => {
    root.dataset.theme = now() === "dark" ? "light" : "dark";
    try { localStorage.setItem("junkdna-theme", root.dataset.theme); } catch { /* a file without storage */ }
    label();
  });
  system.addEventListener("change", label);
  label();
})();

// Tables: a click or Enter on a heading sorts, a second one turns the order round; empty cells stay last.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  table.tHead.addEventListener("click", (event) => {
    const head = event.target.closest("th");
    if (!head || !table.contains(head)) return;
    const down = head.getAttribute("aria-sort") === "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const value = (row) => row.cells[head.cellIndex].dataset.sort ?? row.cells[head.cellIndex].textContent;
    const numeric = head.classList.contains("number");
    const rows = [...body.rows].map((row) => [value(row), row]);
    rows.sort(([a], [b]) => {
      if (a === "" || b === "") return (a === "") - (b === "");
      const order = numeric ? Number(a) - Number(b) : a.localeCompare(b, undefined, { numeric: true });
      return down ? -order : order;
    });
    body.append(...rows.map(([, row]) => row));
  });
  const bar = document.getElementById(table.dataset.bar);
  if (!bar) continue;
  const count = bar.querySelector("output"), rows = bar.querySelector("button.rows");
  // Whether the rows of the primary method alone are shown; whoever looks for something looks among all.
  const only = () => rows !== null && rows.getAttribute("aria-pressed") === "true";
  const press = (pressed) => {
    if (!rows) return;
    rows.setAttribute("aria-pressed", String(pressed));
    rows.textContent = pressed ? rows.dataset.all : rows.dataset.only;
  };
  const filter = () => {
    const words = bar.querySelector("input").value.toLowerCase().split(/\s+/).filter(Boolean);
    const chosen = [...bar.querySelectorAll("select")].map((s) => [s.dataset.column, s.value]).filter(([, v]) => v !== "");
    let left = 0;
    for (const row of body.rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = (only() && !("primary" in row.dataset)) || !words.every((w) => text.includes(w)) || !chosen.every(([c, v]) => row.cells[c].dataset.filter === v);
      left += !row.hidden;
    }
    count.textContent = `${left} of ${body.rows.length} rows`;
  };
  bar.addEventListener("input", () => { press(false); filter(); });
  if (rows) rows.addEventListener("click", () => { press(!only()); filter(); });
  filter();
}

// Item explorer: one page of rows is in the document at a time, and what lies in the pieces of data is read when it is needed.
(() => {
  const list = document.getElementById("list");
  if (!list) return;
  const ROWS = 50;
  const byId = (id) => document.getElementById(id);
  const run = byId("e-run"), group = byId("e-group"), kind = byId("e-kind"), order = byId("e-order"), text = byId("e-text");
  const count = byId("e-count"), detail = byId("detail"), pageOf = byId("e-page");
  const turns = { first: byId("e-first"), back: byId("e-back"), next: byId("e-next"), last: byId("e-last") };
  // shown: numbers of documents, at: which of them is chosen, asked: how often a list was asked for
  let data = null, shown = [], at = 0, asked = 0;

  const read = new Map();
  const piece = (id) => {
    if (!read.has(id)) read.set(id, JSON.parse(byId(id).textContent));
    return read.get(id);
  };
  const place = (ends, i) => {
    let low = 0, high = ends.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (i < ends[middle]) high = middle; else low = middle + 1;
    }
    return low;
  };
  const item = (i) => {
    const p = place(data.pieces, i), own = piece(`documents-${p}`), k = i - (p ? data.pieces[p - 1] : 0);
    return { id: own.id[k], prompt: own.texts[own.prompt[k]], target: own.texts[own.target[k]] };
  };
  const task = (i) => data.tasks[place(data.ends, i)];
  const answersOf = (r) => piece(`answers-${r}`);
  const right = (r, i) => answersOf(r).right[i];
  const answer = (r, i) => {
    const own = answersOf(r);
    own.of = own.of || new Map(own.at.map((at, k) => [at, own.said[k]]));
    return own.texts[own.of.get(i)];
  };
  const make = (tag, content, name) => {
    const element = document.createElement(tag);
    element.textContent = content;
    if (name) element.className = name;
    return element;
  };
  const flip = (r, i) => (right(r, i) === "0" ? "lost" : "gained");

  // The documents that flipped in the chosen run, in the chosen order; without the search for words.
  const flipped = () => {
    const r = Number(run.value), seen = answersOf(r).right, before = answersOf(data.dense[r]).right, found = [];
    const t = group.value === "" ? -1 : data.tasks.indexOf(group.value);
    const end = t < 0 ? seen.length : data.ends[t];
    for (let i = t > 0 ? data.ends[t - 1] : 0; i < end; i++) {
      if (seen[i] === "-" || before[i] === "-" || seen[i] === before[i]) continue;
      if (kind.value && (seen[i] === "0" ? "lost" : "gained") !== kind.value) continue;
      found.push(i);
    }
    if (order.value === "kind") return [...found.filter((i) => seen[i] === "0"), ...found.filter((i) => seen[i] !== "0")];
    if (order.value === "losers") found.sort((a, b) => data.losers[b] - data.losers[a] || a - b);
    return found;
  };
  const refresh = async () => {
    data = data || piece("documents");
    const words = text.value.toLowerCase(), own = ++asked, found = flipped();
    if (words) {
      const met = new Set();
      let p = -1;
      for (const i of [...found].sort((a, b) => a - b)) {
        if (place(data.pieces, i) !== p) {
          p = place(data.pieces, i);
          count.textContent = `searching, ${Math.round((100 * p) / data.pieces.length)} %`;
          await new Promise((resolve) => setTimeout(resolve)); // lets the page answer between two pieces
          if (own !== asked) return; // something else was asked for
        }
        const { id, prompt, target } = item(i);
        if (`${prompt} ${target} ${id}`.toLowerCase().includes(words)) met.add(i);
      }
      shown = found.filter((i) => met.has(i));
    } else shown = found;
    at = 0;
    count.textContent = `${shown.length.toLocaleString("en")} documents flipped`;
    draw();
  };
  const draw = () => {
    const r = Number(run.value), pages = Math.max(1, Math.ceil(shown.length / ROWS)), page = Math.floor(at / ROWS);
    const rows = shown.slice(page * ROWS, (page + 1) * ROWS).map((i, n) => {
      const k = page * ROWS + n, { id, prompt } = item(i), row = make("div", "", "item");
      row.id = `item-${k}`;
      row.setAttribute("role", "option");
      row.setAttribute("aria-setsize", String(shown.length));
      row.setAttribute("aria-posinset", String(k + 1));
      row.dataset.k = k;
      const head = make("span", "");
      head.append(make("b", flip(r, i) === "lost" ? "✗ lost " : "✓ gained ", flip(r, i)), task(i));
      row.append(head, make("span", (prompt || id).slice(0, 300)));
      return row;
    });
    list.replaceChildren(...rows);
    list.scrollTop = 0;
    pageOf.value = String(page + 1);
    pageOf.max = String(pages);
    byId("e-pages").textContent = `of ${pages.toLocaleString("en")}`;
    turns.first.disabled = turns.back.disabled = page === 0;
    turns.last.disabled = turns.next.disabled = page === pages - 1;
    choose();
  };
  const choose = () => {
    for (const row of list.children) row.setAttribute("aria-selected", String(Number(row.dataset.k) === at));
    const row = byId(`item-${at}`);
    if (row) { list.setAttribute("aria-activedescendant", row.id); list.scrollTop = Math.min(row.offsetTop, Math.max(list.scrollTop, row.offsetTop + row.offsetHeight - list.clientHeight)); } else list.removeAttribute("aria-activedescendant");
    show();
  };
  const show = () => {
    if (!shown.length) { detail.replaceChildren(make("p", "No document flipped here.")); return; }
    const r = Number(run.value), dense = data.dense[r], i = shown[at], { id, prompt, target } = item(i);
    const parts = [make("h3", `${task(i)}, item ${id}`)];
    const part = (title, content, missing) => parts.push(make("div", title, "soft"), make("pre", content === undefined || content === "" ? missing : content));
    part("Prompt", prompt, "(not logged)");
    part("Target", target, "(not logged)");
    const scored = data.scored[place(data.ends, i)], said = scored ? "Likeliest to" : "Answer of";
    part(`${said} the dense model (${right(dense, i) === "1" ? "right" : "wrong"})`, answer(dense, i), "(not logged)");
    part(`${said} ${data.runs[r]} (${right(r, i) === "1" ? "right" : "wrong"})`, answer(r, i), "(not logged)");
    if (scored) parts.push(make("p", "Nothing was generated: the texts that the task offers were only scored, and the likeliest is shown.", "soft"));
    parts.push(make("p", `Lost by ${data.losers[i].toLocaleString("en")} of the runs.`, "soft"));
    detail.replaceChildren(...parts);
  };
  const go = (k) => {
    if (!shown.length || !Number.isFinite(k)) return;
    const page = Math.floor(at / ROWS);
    at = Math.max(0, Math.min(shown.length - 1, k));
    if (Math.floor(at / ROWS) === page) choose(); else draw();
  };
  const turn = (to) => go(Math.max(0, Math.min(Math.ceil(shown.length / ROWS) - 1, to)) * ROWS);
  const page = () => Math.floor(at / ROWS);
  turns.first.addEventListener("click", () => turn(0));
  turns.back.addEventListener("click", () => turn(page() - 1));
  turns.next.addEventListener("click", () => turn(page() + 1));
  turns.last.addEventListener("click", () => turn(Infinity));
  pageOf.addEventListener("change", () => { turn(Math.round(Number(pageOf.value)) - 1); pageOf.value = String(page() + 1); });
  list.addEventListener("click", (event) => { const row = event.target.closest(".item"); if (row) go(Number(row.dataset.k)); });
  list.addEventListener("keydown", (event) => {
    const step = {
      ArrowDown: () => go(at + 1), ArrowUp: () => go(at - 1), PageDown: () => turn(page() + 1), PageUp: () => turn(page() - 1),
      Home: () => go(0), End: () => go(shown.length - 1),
    }[event.key];
    if (!step) return;
    event.preventDefault();
    step();
  });
  let waiting = 0;
  text.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(refresh, 120); });
  for (const control of [run, group, kind, order]) control.addEventListener("change", refresh);
  // The documents are read when the explorer comes near the screen, not when the page opens.
  new IntersectionObserver((entries, observer) => {
    if (entries.some((entry) => entry.isIntersecting)) { observer.disconnect(); refresh(); }
  }, { rootMargin: "200px" }).observe(list);
})();
