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

// A track's page has one overview, whose state lives in the address, as #task=…&attack=…&sort=2&order=ascending.
let overview = null;

function readAddress() {
  const hash = location.hash.slice(1);
  return new URLSearchParams(hash.includes("=") ? hash : "");
}

function writeAddress() {
  const state = new URLSearchParams();
  for (const [name, value] of new FormData(overview.form)) if (value) state.set(name, value);
  [...overview.table.tHead.rows[0].cells].forEach((head, column) => {
    const order = head.getAttribute("aria-sort");
    if (order === "ascending" || order === "descending") {
      state.set("sort", column);
      state.set("order", order);
    }
  });
  const text = state.toString();
  history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
}

// What one attack reached instead of the worst case, in every cell that shows what attacks reach.
function showAttack(row, attack) {
  const cells = [...row.querySelectorAll("[data-figure]")];
  for (const cell of cells) cell.worst ??= { html: [...cell.childNodes], sort: cell.dataset.sort };
  if (!attack) {
    for (const cell of cells) {
      cell.replaceChildren(...cell.worst.html);
      cell.dataset.sort = cell.worst.sort;
    }
    return true;
  }
  const own = new Map(Object.entries(JSON.parse(row.dataset.attacks))).get(attack);
  if (!own) return false;
  for (const cell of cells) {
    const reached = own[cell.dataset.figure];
    const value = document.createElement(reached ? "b" : "span");
    value.textContent = reached ? reached.text : "–";
    const note = document.createElement("small");
    note.textContent = reached ? reached.note : "";
    cell.replaceChildren(value, note);
    cell.dataset.sort = reached ? reached.value : "";
  }
  return true;
}

function filter() {
  const { form, table } = overview;
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
  for (const head of table.querySelectorAll("[data-head]")) {
    head.worst ??= head.textContent;
    head.textContent = wanted.attack ? `${head.dataset.head} ${wanted.attack}` : head.worst;
  }
  form.querySelector("output").textContent = `${shown} of ${rows.length} rows`;
}

function restore() {
  const { form, table } = overview;
  const state = readAddress();
  form.reset();
  for (const field of form.elements) {
    if (!field.name || !state.has(field.name)) continue;
    if (field.type === "checkbox") field.checked = state.get(field.name) === field.value;
    else field.value = state.get(field.name);
    // A view linked from an older board may name what is no longer here.
    if (field.tagName === "SELECT" && field.selectedIndex < 0) field.selectedIndex = 0;
  }
  filter();
  const column = Number(state.get("sort"));
  const head = table.tHead.rows[0].cells[column];
  if (state.has("sort") && head && head.dataset.kind !== "none") {
    sortBy(table, column, state.get("order") === "descending" ? "descending" : "ascending");
  }
}

function begin() {
  const { form, table } = overview;
  const changed = () => {
    filter();
    const sorted = table.tHead.querySelector('[aria-sort$="cending"]');
    if (sorted) sortBy(table, sorted.cellIndex, sorted.getAttribute("aria-sort"));
    writeAddress();
  };
  form.hidden = false;
  for (const kind of ["input", "change"]) form.addEventListener(kind, changed);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(changed));
  addEventListener("hashchange", restore);
  restore();
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

const form = document.getElementById("filters");
// Not form.dataset: the form's own field of that name hides it.
const listed = form && document.getElementById(form.getAttribute("data-table"));
if (listed) overview = { form, table: listed };
for (const table of document.querySelectorAll("table.sortable")) {
  makeSortable(table, () => overview?.table === table && writeAddress());
}
if (overview) begin();
for (const button of document.querySelectorAll("button.copy")) button.addEventListener("click", () => copy(button));
