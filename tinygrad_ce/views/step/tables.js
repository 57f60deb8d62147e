// Arrays as tables and heat maps; the cells of a formula light up, and those of leaves can be changed.

let lit = new Map(); // by array, the cells that this step's formula takes
const opened = new Map(); // by caption, the cell around which the numbers of a heat map are shown

function element(kind, text, classes = "") {
  const made = document.createElement(kind);
  if (text !== undefined) made.textContent = text;
  if (classes) made.className = classes;
  return made;
}

// chosen: the cell of the story, or -1. onClick: what a click on a cell does, if anything. word: what a cell is called.
function tableOf(caption, array, chosen, onClick, classes = "", word = "cell ") {
  const figure = element("figure", undefined, classes);
  figure.append(element("figcaption", caption));
  const [down, across] = tableShape(array.shape);
  if (!array.numbers.length) figure.append(element("p", "empty", "soft"));
  else if (down <= 12 && across <= 8) figure.append(scrolled(cellsOf(caption, array, [0, down], [0, across], chosen, onClick, word), down > 4));
  else figure.append(...heatOf(caption, array, chosen, onClick, word));
  return figure;
}

function scrolled(table, isLong) { // a long table scrolls by itself, so that what stands below it is in sight
  if (!isLong) return table;
  const box = element("div", undefined, "rows");
  box.append(table);
  return box;
}

function cellsOf(caption, array, [top, bottom], [left, right], chosen, onClick, word) {
  const [down, across] = tableShape(array.shape);
  const part = bottom - top < down || right - left < across;
  const table = element("table");
  table.setAttribute("aria-label", part ? `${caption}, some cells` : caption);
  if (part) {
    const row = table.insertRow();
    if (array.shape.length > 1) row.append(element("td"));
    for (let j = left; j < right; j++) row.append(header(String(j), "col"));
  }
  for (let i = top; i < bottom; i++) {
    const row = table.insertRow();
    if (array.shape.length > 2 && i > top && i % array.shape[array.shape.length - 2] === 0) row.className = "next";
    if (part && array.shape.length > 1) row.append(header(indexOf(array.shape, i * across).slice(0, -1).join(", "), "row"));
    for (let j = left; j < right; j++) {
      const position = i * across + j, text = number(array, position);
      const td = row.insertCell();
      if (array.index !== undefined) td.dataset.place = `${array.index}:${position}`;
      if (position === chosen) td.classList.add("chosen");
      if (lit.get(array.index)?.has(position)) td.classList.add("lit");
      if (onClick) {
        const button = element("button", text);
        button.type = "button";
        button.setAttribute("aria-label", `${cellName(word, array.shape, position)}: ${text}`);
        button.addEventListener("click", () => onClick(position));
        td.append(button);
      } else {
        td.textContent = text;
        td.classList.add("plain");
      }
    }
  }
  return table;
}

function header(text, scope) {
  const th = element("th", text);
  th.scope = scope;
  return th;
}

function heatOf(caption, array, chosen, onClick, word) {
  const [down, across] = tableShape(array.shape);
  const canvas = heat(array);
  const side = Math.max(1, Math.min(Math.floor(200 / across), Math.floor(160 / down), 14));
  canvas.style.width = `${Math.min(Math.max(across * side, 24), 512)}px`;
  canvas.style.height = `${Math.min(Math.max(down * side, 12), 320)}px`;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `${caption}, a heat map`);
  const look = onClick || ((position) => { opened.set(caption, position); show(); });
  canvas.addEventListener("click", (event) => {
    const box = canvas.getBoundingClientRect();
    const i = Math.min(Math.max(Math.floor((event.clientY - box.top - 1) / (box.height - 2) * down), 0), down - 1);
    const j = Math.min(Math.max(Math.floor((event.clientX - box.left - 1) / (box.width - 2) * across), 0), across - 1);
    look(i * across + j);
  });
  const parts = [canvas, element("p", rangeOf(array), "soft range")];
  const shownCell = onClick ? chosen : opened.get(caption);
  if (!onClick) {
    const button = element("button", shownCell === undefined ? "show cells" : "hide cells");
    button.type = "button";
    button.setAttribute("aria-label", `${button.textContent} of ${caption}`);
    button.addEventListener("click", () => {
      if (shownCell === undefined) look(largest(array));
      else { opened.delete(caption); show(); }
    });
    parts.push(button);
  }
  if (shownCell !== undefined) {
    const i = Math.floor(shownCell / across), j = shownCell % across;
    const aside = element("div", undefined, "around");
    aside.append(cellInputs(array.shape, shownCell, look), cellsOf(caption, array, around(i, down), around(j, across), shownCell, look, word));
    parts.push(aside);
  }
  return parts;
}

function around(position, size) { // five in a row, where there are so many, with this one in the middle
  const start = Math.max(Math.min(position - 2, size - 5), 0);
  return [start, Math.min(start + 5, size)];
}

function cellInputs(shape, chosen, onClick) {
  const where = element("div", undefined, "where");
  const index = indexOf(shape, chosen);
  index.forEach((value, axis) => {
    const label = element("label", shape.length === 2 ? ["row ", "column "][axis] : `axis ${axis} `);
    const input = element("input");
    input.type = "number";
    input.min = "0";
    input.max = String(shape[axis] - 1);
    input.value = String(value);
    input.addEventListener("change", () => {
      index[axis] = Math.min(Math.max(Math.round(Number(input.value)) || 0, 0), shape[axis] - 1);
      onClick(index.reduce((sum, i, k) => sum * shape[k] + i, 0));
    });
    label.append(input);
    where.append(label);
  });
  return where;
}

// A leaf's cells can be chosen, to change them; those of a result are only looked at.
function valueTable(n) {
  const caption = captioned(nodes[n].name, valueOf(n)), [down, across] = tableShape(valueOf(n).shape);
  if (!pass || nodes[n].kind === "result" || down > 12 || across > 8) return tableOf(caption, valueOf(n), -1, null);
  return tableOf(caption, valueOf(n), cells.get(n), (p) => chooseLeaf(n, p), "leaf", `change ${nodes[n].name}`);
}

// ---- a formula with its numbers: each number and its cell point at each other

function withNumbers(pieces, shape, position) {
  const places = placesOf(pieces, shape, position);
  let next = 0;
  return pieces.map((piece) => {
    if (typeof piece === "string") return piece;
    const { array, position: place } = places[next++], text = number(arrays[array], place);
    const span = element("span", text.startsWith("-") && !piece.leads ? `(${text})` : text, "number");
    span.dataset.place = `${array}:${place}`;
    span.tabIndex = 0;
    return span;
  });
}

const textOf = (parts) => parts.map((part) => (typeof part === "string" ? part : part.textContent)).join("");

// name = formula = result; once, where nothing is computed
function workedLine(start, parts, result, classes = "filled") {
  const p = element("p", undefined, classes), formula = textOf(parts);
  p.append(start, ...(formula === result || formula === `${result}.0` ? [result] : [...parts, ` = ${result}`]));
  return p;
}

function litBy(...formulas) {
  lit = new Map();
  for (const [pieces, shape, position] of formulas) {
    for (const place of placesOf(pieces, shape, position)) lit.set(place.array, (lit.get(place.array) ?? new Set()).add(place.position));
  }
}

function point(event) { // at all that shows the same number
  const place = event.target.closest?.("[data-place]")?.dataset.place;
  document.querySelectorAll(".pointed").forEach((x) => x.classList.remove("pointed"));
  if (!place || event.type === "pointerout" || event.type === "focusout") return;
  document.querySelectorAll(`#detail [data-place="${place}"]`).forEach((x) => x.classList.add("pointed"));
  const [array, position] = place.split(":").map(Number);
  for (const [n, card] of panelled()) {
    const kind = nodes[n].value === array ? "value" : nodes[n].gradient === array ? "gradient" : null;
    if (kind) card.querySelector(`.panel.${kind} text[data-cell="${position}"]`)?.classList.add("pointed");
  }
}
for (const event of ["pointerover", "pointerout", "focusin", "focusout"]) document.getElementById("detail").addEventListener(event, point);
