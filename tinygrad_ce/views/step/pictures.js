// The picture of the graph: which values and gradients are there, and what this step works on.
const darkScheme = matchMedia("(prefers-color-scheme: dark)");

let shown = { values: new Set(), arrived: new Map(), updated: new Set() };

// What is there after a step: values, which shares of gradients have arrived where, and parameters with new values.
function stateAfter(last) {
  const values = new Set(leaves), arrived = new Map(), news = new Set();
  for (const step of steps.slice(0, last + 1)) {
    if (step.phase === "forward") values.add(step.node);
    else if (step.phase === "update") news.add(step.update);
    else if (step.edge === undefined) arrived.set(step.node, []);
    else arrived.set(step.node, [...(arrived.get(step.node) ?? []), step.edge]);
  }
  return { values, arrived, updated: news };
}

function gradientSoFar(node, shares) {
  const whole = gradientOf(node);
  const count = nodes[node].uses.filter((e) => edges[e].share !== null).length;
  if (!shares.length || shares.length === count) return whole;
  const sum = new Float64Array(whole.numbers.length);
  for (const e of shares) arrays[edges[e].share].numbers.forEach((x, i) => { sum[i] += x; });
  return { shape: whole.shape, numbers: sum, truth: false };
}

function updatePicture(state, step) {
  for (const [n, card] of [...panelled(), ...outside]) {
    const isHere = card.matches(".fold") ? holds(Number(card.dataset.group), step.node) : step.node === n;
    card.classList.toggle("wait", !state.values.has(n));
    card.classList.toggle("hush", !state.arrived.has(n));
    card.classList.toggle("now", isHere);
    card.classList.toggle("fresh", step.phase === "update" && isHere);
    const shares = state.arrived.get(n), before = shown.arrived.get(n);
    if (shares && nodes[n].uses.length > 1 && (!before || before.length !== shares.length)) paint(card, "gradient", gradientSoFar(n, shares));
    const k = data.update ? data.update.parameters.findIndex((p) => p.node === n) : -1;
    if (k >= 0 && state.updated.has(k) !== shown.updated.has(k)) paint(card, "value", state.updated.has(k) ? updated(k) : valueOf(n));
  }
  for (const [all, wire] of wires) {
    wire.classList.toggle("now", step.phase === "forward" && all.some((e) => edges[e].target === step.node));
    wire.classList.toggle("back", all.includes(step.edge));
    const share = wire.querySelector(".share");
    const there = all.filter((e) => (state.arrived.get(edges[e].source) ?? []).includes(e));
    wire.classList.toggle("arrived", there.length > 0);
    if (share && there.length) nameShare(share, there.includes(step.edge) ? step.edge : there[0]);
  }
  shown = state;
}

// The share of the cell that is followed stands on its edge, and a click leads to the step in which it came.
function nameShare(text, n) {
  const { source, target, share } = edges[n], position = cells.get(source);
  if (!arrays[share].numbers.length) return;
  text.dataset.edge = n;
  text.textContent = number(arrays[share], position, 3);
  text.setAttribute("role", "button");
  text.setAttribute("aria-label", `share of d_${cellName(nodes[source].name, arrays[share].shape, position)} from ${nodes[target].name}: ${text.textContent}`);
}

// All panels anew, after numbers have changed.
function repaint() {
  for (const [n, card] of panelled()) {
    paint(card, "value", valueOf(n));
    if (nodes[n].gradient !== null) paint(card, "gradient", gradientSoFar(n, shown.arrived.get(n) ?? []));
  }
  shown = { ...shown, updated: new Set() };
}

function paint(card, kind, array) {
  const panel = card.querySelector(`.panel.${kind}`);
  if (!panel) return;
  const image = panel.querySelector("image");
  image?.setAttribute("href", heat(array).toDataURL());
  const texts = image ? [panel.querySelector("image ~ text")] : [...panel.querySelectorAll("text[data-cell]")];
  const before = texts.map((text) => text.textContent.length);
  texts.forEach((text) => { text.textContent = image ? rangeOf(array) : number(array, Number(text.dataset.cell), 3); });
  if (texts.some((text, n) => text.textContent.length !== before[n])) makeRoom(card, texts);
}

// Longer texts than those that the picture was drawn with: columns move apart, as far as the card allows, and letters shrink.
function makeRoom(card, texts) {
  const columns = [...new Set(texts.map((text) => text.getAttribute("x")))].map(Number).sort((a, b) => a - b);
  texts.forEach((text) => text.style.removeProperty("font-size"));
  const widest = Math.max(...texts.map((text) => text.getComputedTextLength())) + 5;
  const body = card.querySelector("rect.body").getBBox(), room = (body.width - 12) / columns.length;
  const isEndAligned = getComputedStyle(texts[0]).textAnchor === "end", before = isEndAligned ? columns[0] - body.x : room;
  if (widest <= (columns.length > 1 ? columns[1] - columns[0] : before)) return;
  const step = Math.min(widest, room);
  for (const text of texts) {
    const column = columns.indexOf(Number(text.getAttribute("x")));
    text.setAttribute("x", body.x + 6 + step * (column + (isEndAligned ? 1 : 0)));
    if (widest > room) text.style.fontSize = `${parseFloat(getComputedStyle(text).fontSize) * room / widest}px`;
  }
}

// The cells that are followed, and those that this step's formula takes.
function markCells(lit) {
  svg.querySelectorAll("text.chosen, text.lit").forEach((text) => text.classList.remove("chosen", "lit"));
  for (const [n, card] of panelled()) {
    for (const text of card.querySelectorAll(`text[data-cell="${cells.get(n)}"]`)) text.classList.add("chosen");
    for (const [kind, array] of [["value", nodes[n].value], ["gradient", nodes[n].gradient]]) {
      for (const position of lit.get(array) ?? []) card.querySelector(`.panel.${kind} text[data-cell="${position}"]`)?.classList.add("lit");
    }
  }
}

// ---- heat maps

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
  const middle = darkScheme.matches ? data.colours.dark : data.colours.light; // zero is as dark as the paper
  let scale = 0;
  for (const x of numbers) if (Number.isFinite(x)) scale = Math.max(scale, Math.abs(x));
  numbers.forEach((x, i) => {
    const share = scale ? x / scale : 0;
    const end = share < 0 ? data.colours.negative : data.colours.positive;
    const colour = Number.isFinite(x) ? middle.map((m, k) => m + (end[k] - m) * Math.abs(share)) : [128, 128, 128];
    pixels.data.set([...colour, 255], 4 * i);
  });
  context.putImageData(pixels, 0, 0);
  return canvas;
}
