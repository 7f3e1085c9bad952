"use strict";
// A table that is sorted by its head and filtered by words and by controls of its own.
function multicopyTable(table, { filter, shown, noun, controls, keep }) {
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);

  function apply() {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !(words.every((w) => text.includes(w)) && keep(row));
      count += row.hidden ? 0 : 1;
    }
    shown.textContent = count + " " + noun + (count === 1 ? "" : "s");
  }
  for (const control of [filter, ...controls]) control.addEventListener("input", apply);

  function key(row, column) {
    const cell = row.cells[column];
    const text = cell.dataset.value === undefined ? cell.textContent.trim() : cell.dataset.value;
    const number = parseFloat(text);
    return text !== "" && !isNaN(number) && String(text).match(/^[-+\d.e]+$/i) ? number : text;
  }
  function compare(a, b) {
    if (a === "" || b === "") return (a === "") - (b === "");  // what is unknown goes last
    if (typeof a === "number" && typeof b === "number") return a - b;
    return String(a).localeCompare(String(b), undefined, { numeric: true });
  }
  for (const button of table.tHead.querySelectorAll("button")) {
    button.addEventListener("click", () => {
      const column = Number(button.dataset.column);
      const head = button.parentElement;
      const up = head.getAttribute("aria-sort") !== "ascending";
      for (const other of table.tHead.querySelectorAll("[aria-sort]")) other.setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const keyed = rows.map((row) => [key(row, column), row]);
      keyed.sort(([a], [b]) => {
        const order = compare(a, b);
        return up || a === "" || b === "" ? order : -order;
      });
      body.append(...keyed.map(([, row]) => row));
    });
  }
  return { rows, apply };
}
