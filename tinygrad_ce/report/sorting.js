// Tables sort themselves by the column whose heading is pressed: by number where it holds numbers, by letters otherwise.
for (const button of document.querySelectorAll(".sortable button")) button.addEventListener("click", () => sortBy(button.closest("th")));

function sortBy(heading) {
  const index = [...heading.parentElement.children].indexOf(heading);
  const body = heading.closest("table").tBodies[0];
  const sign = heading.getAttribute("aria-sort") === "ascending" ? -1 : 1;
  const value = (row) => row.children[index].textContent;
  const rows = [...body.rows];
  const numbers = rows.every((row) => Number.isFinite(Number(value(row))));
  const compare = (a, b) => (numbers ? Number(value(a)) - Number(value(b)) : value(a).localeCompare(value(b)));
  rows.sort((a, b) => sign * compare(a, b));
  body.append(...rows);
  for (const other of heading.parentElement.querySelectorAll("[aria-sort]")) other.setAttribute("aria-sort", "none");
  heading.setAttribute("aria-sort", sign === 1 ? "ascending" : "descending");
}
