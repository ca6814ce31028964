// Sort and filter the table of students.  Without this script the page is whole, only still.
"use strict";
const table = document.getElementById("students");
const body = table.tBodies[0];
const rows = Array.from(body.rows);
const heads = Array.from(table.tHead.rows[0].cells);

function value(row, column, kind) {
  const cell = row.cells[column];
  const text = cell.dataset.v ?? cell.textContent.trim();
  if (kind === "text") return text;
  return text === "" ? null : Number(text);
}

function sort(column) {
  const head = heads[column], kind = head.dataset.sort;
  // Numbers begin with the largest, words with the first.
  const first = kind === "number" ? "descending" : "ascending";
  const other = first === "ascending" ? "descending" : "ascending";
  const order = head.getAttribute("aria-sort") === first ? other : first;
  const sign = order === "ascending" ? 1 : -1;
  for (const each of heads) each.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", order);
  const keyed = rows.map((row, i) => [value(row, column, kind), i, row]);
  keyed.sort(([a, i], [b, j]) => {
    // Whoever has no number stands last, in both orders.
    if (a === null || b === null) return (a === null) - (b === null) || i - j;
    const by = kind === "text" ? a.localeCompare(b, undefined, {numeric: true}) : a - b;
    return sign * by || i - j;
  });
  body.append(...keyed.map(([, , row]) => row));
}

heads.forEach((head, column) => {
  const button = document.createElement("button");
  button.type = "button";
  button.append(...head.childNodes);
  button.addEventListener("click", () => sort(column));
  head.append(button);
});

const finder = document.getElementById("find"), chosen = document.getElementById("status");

function filter() {
  const words = finder.value.toLowerCase().split(/\s+/).filter(Boolean);
  let left = 0;
  for (const row of rows) {
    // Name and id stand in the first cell, notes in the last.
    const text = (row.cells[0].textContent + " " + row.cells[heads.length - 1].textContent).toLowerCase();
    const fits = (!chosen.value || row.dataset.status === chosen.value) && words.every(word => text.includes(word));
    row.hidden = !fits;
    left += fits;
  }
  document.getElementById("shown").textContent = left + " of " + rows.length;
}

finder.addEventListener("input", filter);
chosen.addEventListener("change", filter);
document.getElementById("filter").hidden = false;
filter();
