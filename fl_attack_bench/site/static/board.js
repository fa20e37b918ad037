// The page's one script: sorting, filtering, a view that can be linked, and copying commands.
// Everything it needs is in the table; what it writes, it writes as text.
"use strict";

const number = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

function valueOf(row, column) {
  const cell = row.cells[column];
  return cell.dataset.sort ?? cell.textContent.trim();
}

function compare(a, b, column, kind, sign) {
  const [x, y] = [valueOf(a, column), valueOf(b, column)];
  // What is absent stands last, whichever way the column is sorted.
  if (x === "" || y === "") return (x === "") - (y === "");
  return sign * (kind === "number" ? Number(x) - Number(y) : number.compare(x, y));
}

function sortBy(table, column, direction) {
  const heads = table.tHead.rows[0].cells;
  for (const head of heads) if (head.dataset.kind !== "none") head.setAttribute("aria-sort", "none");
  heads[column].setAttribute("aria-sort", direction);
  const sign = direction === "ascending" ? 1 : -1;
  const rows = [...table.tBodies[0].rows];
  rows.sort((a, b) => compare(a, b, column, heads[column].dataset.kind, sign));
  table.tBodies[0].append(...rows);
}

function makeSortable(table, onSort) {
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    if (head.dataset.kind === "none") return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    head.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const first = head.dataset.first ?? "ascending";
      const other = first === "ascending" ? "descending" : "ascending";
      sortBy(table, column, head.getAttribute("aria-sort") === first ? other : first);
      onSort();
    });
  });
}

// The view's state lives in the address, as #task=…&attack=…&sort=2&order=ascending.
function readAddress() {
  const hash = location.hash.slice(1);
  return new URLSearchParams(hash.includes("=") ? hash : "");
}

function writeAddress(form, table) {
  const state = new URLSearchParams();
  for (const [name, value] of new FormData(form)) if (value) state.set(name, value);
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const order = head.getAttribute("aria-sort");
    if (order === "ascending" || order === "descending") {
      state.set("sort", column);
      state.set("order", order);
    }
  });
  const text = state.toString();
  history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
}

function showAttack(row, attack) {
  const cell = row.querySelector(".privacy");
  row.worst ??= { html: [...cell.childNodes], sort: cell.dataset.sort };
  if (!attack) {
    cell.replaceChildren(...row.worst.html);
    cell.dataset.sort = row.worst.sort;
    return true;
  }
  const own = JSON.parse(row.dataset.attacks)[attack];
  if (!own) return false;
  const value = document.createElement("b");
  value.textContent = own.text;
  const note = document.createElement("small");
  note.textContent = own.note;
  cell.replaceChildren(value, note);
  cell.dataset.sort = own.value;
  return true;
}

function filter(form, table) {
  const wanted = Object.fromEntries(new FormData(form));
  const words = (wanted.q ?? "").toLowerCase().split(/\s+/).filter(Boolean);
  const rows = [...table.tBodies[0].rows];
  let shown = 0;
  for (const row of rows) {
    const fits =
      ["task", "dataset", "hardware", "pareto"].every((key) => !wanted[key] || row.dataset[key] === wanted[key]) &&
      words.every((word) => row.dataset.search.includes(word)) &&
      showAttack(row, wanted.attack);
    row.hidden = !fits;
    shown += fits;
  }
  const head = table.querySelector("[data-privacy-head]");
  head.textContent = wanted.attack ? `MSE under ${wanted.attack}` : "Worst-case MSE";
  document.getElementById("count").textContent = `${shown} of ${rows.length} rows`;
}

function restore(form, table) {
  const state = readAddress();
  form.reset();
  for (const field of form.elements) {
    if (!field.name || !state.has(field.name)) continue;
    if (field.type === "checkbox") field.checked = state.get(field.name) === field.value;
    else field.value = state.get(field.name);
    // A view linked from an older board may name what is no longer here.
    if (field.tagName === "SELECT" && field.selectedIndex < 0) field.selectedIndex = 0;
  }
  filter(form, table);
  const column = Number(state.get("sort"));
  const head = table.tHead.rows[0].cells[column];
  if (state.has("sort") && head && head.dataset.kind !== "none") {
    sortBy(table, column, state.get("order") === "descending" ? "descending" : "ascending");
  }
}

function overview(form, table) {
  const changed = () => {
    filter(form, table);
    const sorted = table.tHead.querySelector('[aria-sort$="cending"]');
    if (sorted) sortBy(table, sorted.cellIndex, sorted.getAttribute("aria-sort"));
    writeAddress(form, table);
  };
  form.hidden = false;
  for (const kind of ["input", "change"]) form.addEventListener(kind, changed);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(changed));
  addEventListener("hashchange", () => restore(form, table));
  restore(form, table);
}

async function copy(button) {
  const code = button.closest(".commands").querySelector("code");
  const told = button.parentElement.querySelector("[role=status]");
  try {
    await navigator.clipboard.writeText(code.textContent.trim() + "\n");
    told.textContent = "Copied";
  } catch {
    // Not every browser lets a local file reach the clipboard: leave the text selected instead.
    getSelection().selectAllChildren(code);
    told.textContent = "Selected: press Ctrl+C";
  }
}

function closeMenus(event) {
  for (const menu of document.querySelectorAll(".menu[open]")) {
    const leaves = event.type === "keydown" ? event.key === "Escape" : !menu.contains(event.target);
    if (leaves) menu.open = false;
  }
}

const form = document.getElementById("filters");
const rows = document.getElementById("rows");
for (const table of document.querySelectorAll("table.sortable")) {
  makeSortable(table, () => form && table === rows && writeAddress(form, table));
}
if (form && rows) overview(form, rows);
for (const button of document.querySelectorAll("button.copy")) button.addEventListener("click", () => copy(button));
addEventListener("click", closeMenus);
addEventListener("keydown", closeMenus);
