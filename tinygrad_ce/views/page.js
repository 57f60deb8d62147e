// Everything that is shown was computed in Python: this only picks numbers out of arrays, and steps.
const data = JSON.parse(document.getElementById("data").textContent);
const at = (id) => document.getElementById(id);
const arrays = data.arrays.map(unpacked);
const nodes = data.nodes, edges = data.edges, steps = data.steps;
const cards = new Map([...document.querySelectorAll(".tg-graph .node")].map((g) => [Number(g.dataset.node), g]));
const wires = new Map([...document.querySelectorAll(".tg-graph .wire")].map((g) => [Number(g.dataset.edge), g]));
const lines = [...document.querySelectorAll("#program pre span")];

let followed = steps.map((_, n) => n); // the steps that are followed: all, or those of what is pinned
let now = 0; // a position in `followed`
let pinned = null, cell = null; // a node, and one of its cells
let timer = null;
let shown = { values: new Set(), arrived: new Map() };

function filled(pieces, shape, position) {
  const index = indexOf(shape, position);
  return pieces.map((piece) => {
    if (typeof piece === "string") return piece;
    const place = piece.table ? piece.table[position] : piece.steps.reduce((sum, step, axis) => sum + step * index[axis], piece.start);
    const text = number(arrays[piece.array], place);
    return text.startsWith("-") && !piece.leads ? `(${text})` : text;
  }).join("");
}

// ---- what is pinned, and the steps that belong to it

function reachedFrom(start) {
  const found = new Set([start]);
  const waiting = [start];
  while (waiting.length) for (const e of nodes[waiting.pop()].uses) {
    const target = edges[e].target;
    if (!found.has(target)) { found.add(target); waiting.push(target); }
  }
  return found;
}

function belongs(step, reached) {
  if (step.edge !== undefined) return reached.has(edges[step.edge].source) && reached.has(edges[step.edge].target);
  return reached.has(step.node);
}

function pin(node, position = null) {
  const step = followed[now];
  pinned = node;
  cell = position;
  const reached = node === null ? null : reachedFrom(node);
  followed = steps.map((_, n) => n).filter((n) => reached === null || belongs(steps[n], reached));
  now = Math.max(followed.findLastIndex((n) => n <= step), 0);
  for (const [n, card] of cards) {
    card.classList.toggle("off", reached !== null && !reached.has(n));
    card.classList.toggle("pinned", n === node);
    card.setAttribute("aria-pressed", String(n === node));
  }
  for (const [n, wire] of wires) {
    wire.classList.toggle("off", reached !== null && !(reached.has(edges[n].source) && reached.has(edges[n].target)));
  }
  at("unpin").hidden = node === null;
  at("unpin").textContent = node === null ? "unpin" : `unpin ${nodes[node].name}`;
  at("slider").max = String(followed.length - 1);
  show();
}

// ---- the state after a step: which values are there, and which shares have arrived where

function stateAfter(last) {
  const values = new Set(), arrived = new Map();
  nodes.forEach((node, n) => { if (node.kind !== "result") values.add(n); });
  for (let n = 0; n <= last; n++) {
    const step = steps[n];
    if (step.edge !== undefined) {
      const source = edges[step.edge].source;
      if (!arrived.has(source)) arrived.set(source, []);
      arrived.get(source).push(step.edge);
    } else if (step.backward) {
      arrived.set(step.node, []);
    } else {
      values.add(step.node);
    }
  }
  return { values, arrived };
}

function gradientSoFar(node, shares) {
  const whole = arrays[nodes[node].gradient];
  const count = nodes[node].uses.filter((e) => edges[e].share !== null).length;
  if (!shares.length || shares.length === count) return whole;
  const sum = new Float64Array(whole.numbers.length);
  for (const e of shares) arrays[edges[e].share].numbers.forEach((x, i) => { sum[i] += x; });
  return { shape: whole.shape, numbers: sum, truth: false };
}

function updatePicture(state, step) {
  for (const [n, card] of cards) {
    card.classList.toggle("wait", !state.values.has(n));
    card.classList.toggle("hush", !state.arrived.has(n));
    const current = step.edge === undefined ? step.node === n : edges[step.edge].source === n;
    card.classList.toggle("now", current);
    const shares = state.arrived.get(n);
    const before = shown.arrived.get(n);
    if (shares && nodes[n].uses.length > 1 && (!before || before.length !== shares.length)) paint(card, gradientSoFar(n, shares));
  }
  for (const [n, wire] of wires) {
    wire.classList.toggle("now", step.edge === undefined && !step.backward && edges[n].target === step.node);
    wire.classList.toggle("back", step.edge === n);
  }
  shown = state;
}

function paint(card, array) {
  const panel = card.querySelector(".panel.gradient");
  if (!panel) return;
  const image = panel.querySelector("image");
  if (image) {
    image.setAttribute("href", heat(array).toDataURL());
    panel.querySelector("text:last-of-type").textContent = rangeOf(array);
  } else {
    panel.querySelectorAll("text[data-cell]").forEach((text) => { text.textContent = number(array, Number(text.dataset.cell), 3); });
  }
}

function tableShape(shape) {
  const across = shape.length ? shape[shape.length - 1] : 1;
  const total = shape.reduce((a, b) => a * b, 1);
  return [across ? total / across : 0, across];
}

const MOST = 512; // cells on a side of a heat map; of more, the mean of neighbours is shown

function averaged(array) {
  const [down, across] = tableShape(array.shape);
  const rows = Math.min(down, MOST), columns = Math.min(across, MOST);
  if (rows === down && columns === across) return [down, across, array.numbers];
  const sums = new Float64Array(rows * columns), counts = new Float64Array(rows * columns);
  array.numbers.forEach((x, n) => {
    const i = Math.floor(Math.floor(n / across) * rows / down), j = Math.floor((n % across) * columns / across);
    sums[i * columns + j] += x;
    counts[i * columns + j] += 1;
  });
  return [rows, columns, sums.map((sum, n) => sum / counts[n])];
}

function heat(array) {
  const [down, across, numbers] = averaged(array);
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(across, 1);
  canvas.height = Math.max(down, 1);
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(canvas.width, canvas.height);
  let scale = 0;
  for (const x of numbers) if (Number.isFinite(x)) scale = Math.max(scale, Math.abs(x));
  numbers.forEach((x, i) => {
    const share = scale ? x / scale : 0;
    const end = share < 0 ? data.colours[0] : data.colours[2];
    const colour = Number.isFinite(x) ? data.colours[1].map((m, k) => m + (end[k] - m) * Math.abs(share)) : [128, 128, 128];
    pixels.data.set([...colour, 255], 4 * i);
  });
  context.putImageData(pixels, 0, 0);
  return canvas;
}

// ---- the words and tables of a step

function element(kind, text, classes = "") {
  const made = document.createElement(kind);
  if (text !== undefined) made.textContent = text;
  if (classes) made.className = classes;
  return made;
}

function chosenCell(node, array) {
  if (pinned === node && cell !== null) return cell;
  if (picked.has(node)) return picked.get(node);
  return largest(array);
}

function largest(array) {
  const size = (x) => (Number.isNaN(x) ? Infinity : Math.abs(x)); // what is spoiled is looked at first
  let best = 0;
  array.numbers.forEach((x, i) => { if (size(x) > size(array.numbers[best])) best = i; });
  return best;
}

const picked = new Map(); // by node, the cell that was chosen in a table
const opened = new Map(); // by caption, the cell around which the numbers of a heat map are shown

function choose(node, position) {
  picked.set(node, position);
  if (pinned === node) cell = position;
  show();
}

function tableOf(caption, array, chosen, onClick, classes = "") {
  const figure = element("figure", undefined, classes);
  figure.append(element("figcaption", caption));
  const [down, across] = tableShape(array.shape);
  if (!array.numbers.length) figure.append(element("p", "empty", "soft"));
  else if (down <= 12 && across <= 8) figure.append(cellsOf(caption, array, [0, down], [0, across], chosen, onClick));
  else figure.append(...heatOf(caption, array, chosen, onClick));
  return figure;
}

function cellsOf(caption, array, [top, bottom], [left, right], chosen, onClick) {
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
      if (position === chosen) td.className = "chosen";
      if (onClick) {
        const button = element("button", text);
        button.type = "button";
        button.setAttribute("aria-label", `${cellName("cell ", array.shape, position)}: ${text}`);
        button.addEventListener("click", () => onClick(position));
        td.append(button);
      } else {
        td.textContent = text;
        td.className += " plain";
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

function heatOf(caption, array, chosen, onClick) {
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
  const parts = [canvas, element("p", rangeOf(array), "soft")];
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
    parts.push(cellInputs(array.shape, shownCell, look));
    parts.push(cellsOf(caption, array, around(i, down), around(j, across), shownCell, look));
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

const valueTable = (n) => tableOf(captioned(nodes[n].name, arrays[nodes[n].value]), arrays[nodes[n].value], -1, null);

function after(sign, figure) { // on one line with it
  const pair = element("div", undefined, "pair");
  pair.append(element("span", sign, "sign"), figure);
  return pair;
}

function line(text, classes) { return element("p", text, classes); }

function forwardStep(detail, step) {
  const node = nodes[step.node], value = arrays[node.value];
  const chosen = chosenCell(step.node, value);
  at("headline").textContent = `Forward: ${node.name} = ${node.text}`;
  detail.append(line([node.doc, node.place && `at ${node.place}`, node.modules && `in ${node.modules}`].filter(Boolean).join("; "), "soft"));
  if (value.numbers.length) {
    const name = cellName(node.name, value.shape, chosen);
    detail.append(line(`${name} = ${worked(filled(node.pieces, value.shape, chosen), number(value, chosen))}`, "filled"));
  }
  const tables = element("div", undefined, "tables");
  const seen = new Set();
  for (const e of node.inputs) {
    const source = edges[e].source;
    if (seen.has(source)) continue;
    seen.add(source);
    tables.append(valueTable(source));
  }
  tables.append(after("→", tableOf(captioned(node.name, value), value, chosen, (p) => choose(step.node, p), "result")));
  detail.append(tables);
}

// what is computed, and what it gives; once, where nothing is computed
const worked = (formula, result) => (formula === result || formula === `${result}.0` ? result : `${formula} = ${result}`);

function seedStep(detail, step) {
  const node = nodes[step.node];
  at("headline").textContent = `Backward starts: d_${node.name} = 1`;
  detail.append(line(`The gradient of ${node.name} with respect to itself is 1. From here, every operation hands back to each of its inputs: what is upstream, times its local derivative.`));
}

function backwardStep(detail, step) {
  const edge = edges[step.edge], source = nodes[edge.source], target = nodes[edge.target];
  const share = arrays[edge.share], upstream = arrays[target.gradient];
  const uses = source.uses.filter((e) => edges[e].share !== null);
  const arrived = shown.arrived.get(edge.source) || [step.edge];
  const several = uses.length > 1 ? `, share ${arrived.length} of ${uses.length}` : "";
  at("headline").textContent = `Backward: from ${target.name} to ${source.name}${several}`;
  const chosen = chosenCell(edge.source, arrays[source.gradient]);
  const sign = uses.length > 1 ? "+=" : "=";
  detail.append(line(`d_${source.name} ${sign} ${edge.text}`, "rule"));
  detail.append(line(`the rule of ${target.op} for its argument ${edge.argument}${target.place ? `; ${target.name} was made at ${target.place}` : ""}`, "soft"));
  if (share.numbers.length) {
    const name = cellName(`d_${source.name}`, share.shape, chosen);
    detail.append(line(`${name} ${sign} ${worked(filled(edge.pieces, share.shape, chosen), number(share, chosen))}`, "filled"));
  }
  const pick = (p) => choose(edge.source, p);
  const tables = element("div", undefined, "tables");
  tables.append(tableOf(captioned(`upstream d_${target.name}`, upstream), upstream, -1, null));
  if (edge.local !== null) {
    const local = arrays[edge.local];
    tables.append(after("×", tableOf(captioned("local derivative", local), local, -1, null)));
  } else {
    for (const n of edge.operands) tables.append(valueTable(n));
  }
  const caption = captioned(`${uses.length > 1 ? "this share of " : ""}d_${source.name}`, share);
  tables.append(after(edge.local !== null ? "=" : "→", tableOf(caption, share, chosen, pick, "result")));
  detail.append(tables);
  if (uses.length > 1 && share.numbers.length) {
    const sum = gradientSoFar(edge.source, arrived);
    const terms = arrived.map((e) => number(arrays[edges[e].share], chosen)).map((t, n) => (n && t.startsWith("-") ? `(${t})` : t));
    if (terms.length > 6) terms.splice(3, terms.length - 4, "…");
    const missing = uses.length - arrived.length;
    const name = cellName(`d_${source.name}`, share.shape, chosen);
    detail.append(line(`so far ${name} = ${worked(terms.join(" + "), number(sum, chosen))}${missing ? `; ${missing} more to come` : "; complete"}`, "filled sum"));
    detail.append(tableOf(captioned(`d_${source.name} so far`, sum), sum, chosen, pick));
  }
}

function show() {
  const step = steps[followed[now]];
  const detail = at("detail");
  const focused = document.activeElement && detail.contains(document.activeElement) ? [...detail.querySelectorAll("button, input")].indexOf(document.activeElement) : -1;
  updatePicture(stateAfter(followed[now]), step);
  detail.replaceChildren();
  at("step").className = step.backward ? "backward" : "forward";
  if (step.edge !== undefined) backwardStep(detail, step);
  else if (step.backward) seedStep(detail, step);
  else forwardStep(detail, step);
  if (focused >= 0) [...detail.querySelectorAll("button, input")][focused]?.focus();
  lines.forEach((span, n) => {
    const current = step.lines.includes(n);
    span.classList.toggle("now", current);
    if (current) span.setAttribute("aria-current", "step"); else span.removeAttribute("aria-current");
  });
  const first = lines.find((span) => span.classList.contains("now"));
  if (first) within(at("program").querySelector("pre"), first.offsetTop - first.parentElement.offsetTop, first.offsetHeight, "top");
  at("slider").value = String(now);
  at("slider").setAttribute("aria-valuetext", at("headline").textContent);
  at("count").textContent = `${now + 1} of ${followed.length}`;
  markCell();
  keepInView(currentCard());
}

function markCell() {
  document.querySelectorAll(".tg-graph text.chosen").forEach((text) => text.classList.remove("chosen"));
  if (pinned === null || cell === null) return;
  cards.get(pinned).querySelectorAll(`text[data-cell="${cell}"]`).forEach((text) => text.classList.add("chosen"));
}

function within(box, start, size, side) {
  const scroll = side === "top" ? "scrollTop" : "scrollLeft", extent = side === "top" ? box.clientHeight : box.clientWidth;
  if (start < box[scroll] + 8 || start + size > box[scroll] + extent - 8) box[scroll] = start - (extent - size) / 2;
}

function currentCard() {
  const step = steps[followed[now]];
  return cards.get(step.edge === undefined ? step.node : edges[step.edge].source);
}

function keepInView(card) { // to the middle across, but down no further than is needed, so that what is above is seen, too
  if (!card) return;
  const box = at("picture"), outer = box.getBoundingClientRect(), inner = card.getBoundingClientRect();
  within(box, inner.left - outer.left + box.scrollLeft, inner.width, "left");
  const top = inner.top - outer.top + box.scrollTop - 8, bottom = top + inner.height + 16;
  box.scrollTop = Math.min(Math.max(box.scrollTop, bottom - box.clientHeight), top);
}

// ---- buttons, keys, slider

function go(position) {
  now = Math.min(Math.max(position, 0), followed.length - 1);
  show();
}

function playing(wanted) {
  clearInterval(timer);
  timer = null;
  if (wanted) {
    if (now === followed.length - 1) go(0);
    timer = setInterval(() => { if (now === followed.length - 1) playing(false); else go(now + 1); }, Number(at("speed").value));
  }
  at("play").textContent = wanted ? "Pause" : "Play";
  at("play").setAttribute("aria-label", wanted ? "pause" : "play");
  at("headline").setAttribute("aria-live", wanted ? "off" : "polite"); // nobody listens to so many words
}

const moves = { first: () => go(0), back: () => go(now - 1), next: () => go(now + 1), last: () => go(followed.length - 1) };
for (const [id, move] of Object.entries(moves)) at(id).addEventListener("click", () => { playing(false); move(); });
at("play").addEventListener("click", () => playing(timer === null));
at("slider").addEventListener("input", () => { playing(false); go(Number(at("slider").value)); });
at("speed").addEventListener("change", () => playing(timer !== null));
at("unpin").addEventListener("click", () => { pin(null); at("play").focus(); });

// In a notebook the page is as high as what it shows, and gets no lower from step to step, so that nothing jumps; the
// picture beside its frame, for those who may run no scripts, goes.
const frame = frameOfThisOrigin(), form = frame && frame.closest(".tinygrad-ce");

function frameOfThisOrigin() {
  try {
    return window.frameElement;
  } catch {
    return null;
  }
}

if (form) {
  document.documentElement.classList.add("framed");
  const picture = form.querySelector("img");
  if (picture) picture.style.display = "none";
  let width = 0, tallest = 0;
  new ResizeObserver(() => {
    const box = document.body.getBoundingClientRect();
    tallest = Math.max(box.width === width ? tallest : 0, Math.ceil(box.height));
    width = box.width;
    frame.style.height = `${tallest}px`;
  }).observe(document.body);
}

let zoom = 1;
const svg = document.querySelector(".tg-graph");
const [natural, naturalHeight] = [svg.viewBox.baseVal.width, svg.viewBox.baseVal.height];

function scaled(factor) {
  zoom = Math.min(Math.max(factor, 0.2), 4);
  svg.setAttribute("width", natural * zoom);
  svg.setAttribute("height", naturalHeight * zoom);
}

// As large as the frame allows, in both directions.
function fitting() {
  const box = at("picture"), tallest = parseFloat(getComputedStyle(box).maxHeight) || innerHeight / 2;
  return Math.min((box.clientWidth - 12) / natural, (tallest - 12) / naturalHeight);
}

function zoomed(factor) { // the node of this step stays in the middle
  scaled(factor);
  const card = currentCard(), box = at("picture");
  const outer = box.getBoundingClientRect(), inner = card.getBoundingClientRect();
  box.scrollLeft += inner.left + inner.width / 2 - outer.left - box.clientWidth / 2;
  box.scrollTop += inner.top + inner.height / 2 - outer.top - box.clientHeight / 2;
}

at("smaller").addEventListener("click", () => zoomed(zoom / 1.25));
at("larger").addEventListener("click", () => zoomed(zoom * 1.25));
at("whole").addEventListener("click", () => zoomed(fitting()));

// After a click with the mouse the keys belong to the page again: the space bar plays.
document.addEventListener("click", (event) => {
  if (event.detail > 0 && document.activeElement.matches("#controls button, #detail button, summary, .node")) document.activeElement.blur();
});

document.addEventListener("keydown", (event) => {
  const kind = event.target.tagName;
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if ((kind === "SELECT" || kind === "INPUT") && event.key !== "Escape") return; // they have keys of their own
  if (event.key === "ArrowRight") moves.next();
  else if (event.key === "ArrowLeft") moves.back();
  else if (event.key === "Home") moves.first();
  else if (event.key === "End") moves.last();
  else if (event.key === "Escape") pin(null);
  else if (event.key === " " && kind !== "BUTTON" && kind !== "SUMMARY") {
    if (event.target.classList.contains("node")) pinFrom(event);
    else playing(timer === null);
  } else if (event.key === "Enter" && event.target.classList.contains("node")) pinFrom(event);
  else return;
  if (event.key.startsWith("Arrow") || event.key === "Home" || event.key === "End") playing(false);
  event.preventDefault();
});

function pinFrom(event) {
  const card = event.target.closest(".node");
  if (!card) return;
  const text = event.target.closest("text[data-cell]");
  const node = Number(card.dataset.node), position = text ? Number(text.dataset.cell) : null;
  if (pinned === node && position === cell) pin(null);
  else pin(node, position);
}

svg.addEventListener("click", pinFrom);
svg.setAttribute("role", "group");
for (const [n, card] of cards) {
  card.setAttribute("tabindex", "0");
  card.setAttribute("role", "button");
  card.setAttribute("aria-pressed", "false");
  card.setAttribute("aria-label", `pin ${nodes[n].name}`);
}
scaled(fitting() < 0.6 ? 0.85 : Math.min(fitting(), 1.35)); // whole, if it can be read then
pin(null);
