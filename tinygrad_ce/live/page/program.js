// Panels: the step as NumPy, coloured by phase; and one of its lines with its numbers, cell by cell.

const shownLine = { line: 0, name: null, position: 0, inside: null, row: null }; // name: an array that no line computes

// Shows a line, or an array by its name, at a cell.
function showLine(line, position = 0) {
  Object.assign(shownLine, { line, name: null, position });
  redraw();
}
function showArray(name, position = 0) {
  const line = printed.lineOf(name);
  Object.assign(shownLine, { line, name: line < 0 ? name : null, position });
  redraw();
}

// A cell with the numbers that it is computed from; each can be pressed. array: what the engine holds, null for what it does
// not keep. refreshed: a list of functions that write the numbers anew.
function cellFormula(title, part, k, array, refreshed) {
  const pieces = part.pieces(k);
  const nodes = pieces.map((piece, n) => {
    if (typeof piece === "string") return piece;
    const leads = n === 0 && !String(pieces[1]).startsWith("**");
    const known = printed.named(piece.name), text = cellName(piece.name, piece.shape, piece.position);
    const chip = known && piece.shape.length
      ? element("button", { type: "button", class: "chip", title: text, click: () => showArray(piece.name, piece.position) })
      : element("span", { class: "chip", title: text });
    refreshed.push(() => {
      const value = piece.value(), number = written(value, 4);
      say(chip, value < 0 && !leads ? `(${number})` : number);
    });
    return chip;
  });
  const result = element("strong"), remark = element("p", { class: "soft" });
  refreshed.push(() => {
    const asWritten = written(part.value(k), 4), held = array ? written(array.value(k), 4) : asWritten;
    say(result, held);
    say(remark, held === asWritten ? "" : `As written here it is ${asWritten}: the engine computes the same without losing digits.`);
  });
  return element("div", { class: "cell-formula" }, element("p", {}, element("code", {}, `${title} = `), ...nodes, " = ", result), remark);
}

function badge(phase) { return element("span", { class: `badge ${phase}` }, phase); }

{
  const list = element("ol", { class: "program" });
  at("program-panel").append(list);
  let network = null, buttons = [];

  function build() {
    network = session.network;
    let phase = null;
    buttons = [];
    list.replaceChildren(...network.lines.flatMap((line, n) => {
      const button = element("button", { type: "button", class: `line ${line.phase}`, click: () => showLine(n) }, line.text);
      buttons.push(button);
      const head = line.phase === phase ? [] : [element("li", { class: "head" }, badge(line.phase))];
      phase = line.phase;
      return [...head, element("li", {}, button)];
    }));
    shownLine.line = Math.min(shownLine.line, network.lines.length - 1);
  }

  views.push({
    draw() {
      if (network !== session.network) build();
      if (session.line !== null && session.line !== shownLine.inside) Object.assign(shownLine, { line: session.line, name: null, position: 0 });
      shownLine.inside = session.line;
      buttons.forEach((button, n) => change(button, {
        "aria-current": n === session.line ? "step" : null,
        "aria-pressed": String(shownLine.name === null && n === shownLine.line),
        "data-spoiled": session.spoiled?.line === n ? "" : null,
      }));
      if (session.line !== null) keepInSight(buttons[session.line]);
    },
  });

  function keepInSight(button) { // the list scrolls, the page does not
    const place = button.getBoundingClientRect(), around = list.getBoundingClientRect();
    list.scrollTop += Math.min(0, place.top - around.top - 30) + Math.max(0, place.bottom - around.bottom + 30);
  }
}

{
  const ROWS = 6, COLUMNS = 6, LARGE = 64; // of which a table shows; from how many numbers on there is a picture too
  const panel = at("line-panel"), head = element("div", { class: "line-head" }), body = element("div");
  panel.append(head, body);
  let key = "", refreshed = []; // what is built, and functions that write its numbers anew

  views.push({
    draw() {
      const { network } = session, { line, name } = shownLine;
      const array = arrayShown();
      followRow(array);
      const now = JSON.stringify([line, name, shownLine.position, array?.shape, network.lines[line]?.text]);
      if (now !== key || network !== views.network) rebuild(array, network.lines[line]);
      key = now;
      views.network = network;
      for (const refresh of refreshed) refresh();
    },
  });

  // The array of the chosen line, as a part: what the update makes of it, what the engine holds, or what the text says.
  function arrayShown() {
    const row = session.network.lines[shownLine.line];
    const name = shownLine.name ?? row.name;
    if (!name) return null;
    const array = printed.named(name);
    if (row?.phase !== "update" || shownLine.name) return array && { ...array, name };
    const after = printed.afterUpdate()[name];
    return after && { ...formulas.arrayPart(name, printed.shapeIn(name), (k) => after[k]), name, after: true };
  }

  function followRow(array) { // a point of the data that is pointed at chooses its row
    if (session.row === shownLine.row) return;
    shownLine.row = session.row;
    const row = session.rows.indexOf(session.row);
    if (row < 0 || !array || array.after || array.shape[0] !== session.step.batch) return;
    const columns = array.shape[1] ?? 1;
    shownLine.position = row * columns + (shownLine.position % columns);
  }

  function rebuild(array, line) {
    const focus = panel.contains(document.activeElement) ? document.activeElement.dataset.cell : null;
    refreshed = [];
    const ofLine = shownLine.name === null;
    const part = ofLine ? printed.formulaOf(shownLine.line) : null, size = array ? array.shape.reduce((a, b) => a * b, 1) : 0;
    shownLine.position = Math.min(shownLine.position, Math.max(size - 1, 0));
    head.replaceChildren(...(ofLine ? [badge(line.phase), " ", element("code", {}, line.text)] : [element("code", {}, shownLine.name), arrayWords(shownLine.name)]));
    const parts = [];
    const computing = ofLine && line.phase === "update" && !part ? printed.bodyOf(shownLine.line) : null;
    const read = new Map();
    if (part && array) {
      parts.push(cellFormula(cellName(array.name, array.shape, shownLine.position), part, shownLine.position, array, refreshed));
      collect(part, shownLine.position, read);
    } else if (computing) {
      parts.push(element("p", { class: "soft" }, `The optimizer's function, with the numbers of ${cellName(array.name, array.shape, shownLine.position)}:`));
      for (const { text, target, part: inner } of computing) parts.push(element("code", { class: "soft" }, text), inner ? cellFormula(target, inner, inner.shape.length ? shownLine.position : 0, null, refreshed) : "");
    } else if (ofLine) {
      const words = array ? "This page has no formula for a cell of this line; its numbers are below." : "The program folds this line into the next ones, and does not keep its numbers.";
      parts.push(element("p", { class: "soft" }, words));
    }
    if (array) parts.push(tableOf(array, shownLine.position, new Set([shownLine.position]), (k) => showCell(k), true));
    const reading = ofLine ? namesRead(line, array) : [];
    if (reading.length) parts.push(element("h3", {}, "It reads"));
    for (const name of reading) {
      const x = printed.named(name), cells = read.get(name) ?? new Set();
      parts.push(tableOf({ ...x, name }, Math.min(...cells, Infinity), cells, (k) => showArray(name, k), false));
    }
    body.replaceChildren(...parts);
    if (focus) panel.querySelector(focus[0] === ":" ? ".own [tabindex='0']" : `[data-cell="${CSS.escape(focus)}"]`)?.focus();
  }

  function showCell(k) { shownLine.position = k; redraw(); }

  function arrayWords(name) {
    if (Object.hasOwn(session.step.inputs, name)) return element("p", { class: "soft" }, "Data: no line of the step computes it.");
    const select = element("button", { type: "button", click: () => { session.selected = { name, index: shownLine.position }; redraw(); } }, "show this edge");
    return element("p", { class: "soft" }, "Only the update changes it. ", select);
  }

  // The arrays that a line reads, by its text, in order; without scalars such as lr.
  function namesRead({ text }, array) {
    const words = printed.sidesOf(text).expression.match(/[\p{L}_][\p{L}\p{N}_]*/gu) ?? [];
    return [...new Set(words)].filter((name) => (name !== array?.name || array.after) && printed.named(name)?.shape.length);
  }

  // By name, the cells of arrays that a cell of a formula is computed from.
  function collect(part, k, found) {
    if (!part.named) for (const [x, cell] of part.inner(k)) collect(x, cell, found);
    if (!part.named) return;
    for (const piece of part.pieces(k)) {
      if (typeof piece === "string") continue;
      if (!found.has(piece.name)) found.set(piece.name, new Set());
      found.get(piece.name).add(piece.position);
    }
  }

  // An array as a table: the rows and columns around a cell; arrow keys go from cell to cell.
  function tableOf(array, position, marked, press, own) {
    const columns = array.shape.at(-1) ?? 1, size = array.shape.reduce((a, b) => a * b, 1), rows = size / columns || 0;
    const most = own ? ROWS : 4;
    const chosen = Number.isFinite(position) ? position : 0;
    const top = Math.max(0, Math.min(Math.floor(chosen / columns) - 1, rows - most)), left = Math.max(0, Math.min((chosen % columns) - 2, columns - COLUMNS));
    const caption = element("caption"), table = element("table", { class: own ? "cells own" : "cells" }, caption);
    refreshed.push(() => say(caption, `${captioned(array.name, array)}${array.after ? " after the update" : ""}: ${rangeOf({ numbers: Array.from({ length: size }, (_, k) => array.value(k)) })}`));
    for (let i = top; i < Math.min(rows, top + most); i++) {
      const cells = [];
      for (let j = left; j < Math.min(columns, left + COLUMNS); j++) {
        const k = i * columns + j;
        const button = element("button", {
          type: "button", tabindex: k === chosen ? "0" : "-1", class: marked.has(k) ? "marked" : "", "data-cell": `${own ? "" : array.name}:${k}`,
          "aria-pressed": own ? String(k === chosen) : null, click: () => press(k),
        });
        refreshed.push(() => {
          const number = written(array.value(k), 4);
          say(button, number);
          change(button, { "aria-label": `${cellName(array.name, array.shape, k)} is ${number}` });
        });
        cells.push(element("td", {}, button));
      }
      table.append(element("tr", {}, element(rows > 1 ? "th" : "td", rows > 1 ? { scope: "row" } : {}, rows > 1 ? String(i) : ""), ...cells));
    }
    const more = [rows > most ? `${rows - most} more rows` : "", columns > COLUMNS ? `${columns - COLUMNS} more${rows > 1 ? " columns" : ""}` : ""].filter(Boolean);
    table.addEventListener("keydown", (event) => {
      const move = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
      const from = Number(event.target.dataset?.cell?.split(":").at(-1));
      if (!move || !Number.isInteger(from)) return;
      event.preventDefault();
      const i = Math.floor(from / columns) + move[0], j = (from % columns) + move[1];
      if (i < 0 || j < 0 || i >= rows || j >= columns) return;
      if (own) showCell(i * columns + j);
      else table.querySelector(`[data-cell$=":${i * columns + j}"]`)?.focus();
    });
    const rest = more.length ? [element("p", { class: "soft" }, `… ${more.join(", ")}`), ...(own && size >= LARGE ? [wholePicture(array, rows, columns)] : [])] : [];
    return element("div", { class: "scroll" }, table, ...rest);
  }

  // All of a large array as colours; the caption has its range.
  function wholePicture(array, rows, columns) {
    const tall = rows > columns, [width, height] = tall ? [rows, columns] : [columns, rows];
    const words = `all of ${array.name}, ${tall ? "a row from top to bottom" : "a row from left to right"}: blue is negative, orange positive`;
    const canvas = element("canvas", { class: "whole", width, height, role: "img", "aria-label": words, title: words });
    canvas.style.aspectRatio = `${width} / ${Math.max(height, width / 12)}`;
    refreshed.push(() => {
      const values = Float64Array.from({ length: rows * columns }, (_, k) => array.value(tall ? (k % rows) * columns + Math.floor(k / rows) : k));
      heat(canvas, values, largest(values, 1e-300));
    });
    return canvas;
  }
}
