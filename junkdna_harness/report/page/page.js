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
  const count = bar.querySelector("output");
  const filter = () => {
    const words = bar.querySelector("input").value.toLowerCase().split(/\s+/).filter(Boolean);
    const chosen = [...bar.querySelectorAll("select")].map((s) => [s.dataset.column, s.value]).filter(([, v]) => v !== "");
    let left = 0;
    for (const row of body.rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((w) => text.includes(w)) || !chosen.every(([c, v]) => row.cells[c].dataset.filter === v);
      left += !row.hidden;
    }
    count.textContent = `${left} of ${body.rows.length} rows`;
  };
  bar.addEventListener("input", filter);
  filter();
}

// Item explorer: only the rows in view are in the page, so that tens of thousands open at once.
(() => {
  const list = document.getElementById("list");
  if (!list) return;
  const HEIGHT = 44, SPARE = 6;
  const byId = (id) => document.getElementById(id);
  const run = byId("e-run"), group = byId("e-group"), kind = byId("e-kind"), text = byId("e-text");
  const space = byId("space"), count = byId("e-count"), detail = byId("detail");
  let data = null, shown = [], at = 0;

  const load = () => {
    if (data) return;
    data = JSON.parse(byId("documents").textContent);
  };
  const make = (tag, content, name) => {
    const element = document.createElement(tag);
    element.textContent = content;
    if (name) element.className = name;
    return element;
  };
  const flip = (r, i) => (data.right[r][i] === "0" ? "lost" : "gained");
  const answer = (r, i) => (data.answers[r] || {})[i];

  const refresh = () => {
    load();
    const r = Number(run.value), dense = data.dense[r], words = text.value.toLowerCase();
    const seen = data.right[r], before = data.right[dense];
    shown = [];
    for (let i = 0; i < data.items.length; i++) {
      if (seen[i] === "-" || before[i] === "-" || seen[i] === before[i]) continue;
      const item = data.items[i];
      if (kind.value && flip(r, i) !== kind.value) continue;
      if (group.value && data.tasks[item[0]] !== group.value) continue;
      if (words && !(item[2] + " " + item[3] + " " + item[1]).toLowerCase().includes(words)) continue;
      shown.push(i);
    }
    at = 0;
    list.scrollTop = 0;
    count.textContent = `${shown.length.toLocaleString("en")} documents flipped`;
    space.style.height = `${shown.length * HEIGHT}px`;
    draw();
    show();
  };
  const draw = () => {
    const r = Number(run.value);
    const first = Math.max(0, Math.floor(list.scrollTop / HEIGHT) - SPARE);
    const last = Math.min(shown.length, Math.ceil((list.scrollTop + list.clientHeight) / HEIGHT) + SPARE);
    const rows = [];
    for (let k = first; k < last; k++) {
      const i = shown[k], item = data.items[i], row = make("div", "", "item");
      row.id = `item-${k}`;
      row.style.top = `${k * HEIGHT}px`;
      row.setAttribute("role", "option");
      row.setAttribute("aria-selected", String(k === at));
      row.setAttribute("aria-setsize", String(shown.length));
      row.setAttribute("aria-posinset", String(k + 1));
      row.dataset.k = k;
      const head = make("span", "");
      head.append(make("b", flip(r, i) === "lost" ? "✗ lost " : "✓ gained ", flip(r, i)), data.tasks[item[0]]);
      row.append(head, make("span", item[2] || item[1]));
      rows.push(row);
    }
    space.replaceChildren(...rows);
    if (shown.length) list.setAttribute("aria-activedescendant", `item-${at}`); else list.removeAttribute("aria-activedescendant");
  };
  const show = () => {
    if (!shown.length) { detail.replaceChildren(make("p", "No document flipped here.")); return; }
    const r = Number(run.value), dense = data.dense[r], i = shown[at], item = data.items[i];
    const parts = [make("h3", `${data.tasks[item[0]]}, item ${item[1]}`)];
    const part = (title, content, missing) => parts.push(make("div", title, "soft"), make("pre", content === undefined || content === "" ? missing : content));
    part("Prompt", item[2], "(not logged)");
    part("Target", item[3], "(not logged)");
    part(`Answer of the dense model (${data.right[dense][i] === "1" ? "right" : "wrong"})`, answer(dense, i), "(not logged)");
    part(`Answer of ${data.runs[r]} (${data.right[r][i] === "1" ? "right" : "wrong"})`, answer(r, i), "(not logged)");
    detail.replaceChildren(...parts);
  };
  const go = (k) => {
    if (!shown.length) return;
    at = Math.max(0, Math.min(shown.length - 1, k));
    if (at * HEIGHT < list.scrollTop) list.scrollTop = at * HEIGHT;
    if ((at + 1) * HEIGHT > list.scrollTop + list.clientHeight) list.scrollTop = (at + 1) * HEIGHT - list.clientHeight;
    draw();
    show();
  };
  list.addEventListener("scroll", () => requestAnimationFrame(draw));
  list.addEventListener("click", (event) => { const row = event.target.closest(".item"); if (row) go(Number(row.dataset.k)); });
  list.addEventListener("keydown", (event) => {
    const page = Math.floor(list.clientHeight / HEIGHT);
    const step = { ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + page, PageUp: at - page, Home: 0, End: shown.length - 1 }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    go(step);
  });
  let waiting = 0;
  text.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(refresh, 120); });
  for (const control of [run, group, kind]) control.addEventListener("change", refresh);
  // The documents are read when the explorer comes near the screen, not when the page opens.
  new IntersectionObserver((entries, observer) => {
    if (entries.some((entry) => entry.isIntersecting)) { observer.disconnect(); refresh(); }
  }, { rootMargin: "200px" }).observe(list);
})();
