// The network: neurons that show where they fire, edges that show their weights and can be dragged.

const MOST = 12, FEW = 8; // neurons of a layer that are shown one by one; of a larger layer only a few
const MODES = { weight: "weight", gradient: "gradient", update: "last update" };
const drawing = {
  built: null, columns: [], edges: [], parameters: [], // what stands on the page: [{ column, neuron, ... }], [{ name, index, ... }]
  mode: "weight", folds: {}, focus: null,
  before: null, changes: {}, // the weights at the last drawing, and how the last update changed them
};

const columnAt = (column) => session.network.columns[column];
const neuronsOf = (column) => session.step.buffers[columnAt(column).buffer].length / session.step.batch;
const weightsInto = (column) => session.network.weights.find((weight) => weight.to === column);
const isPicture = (column) => column === 0 && page.data.image !== null;

function neuronName(column, neuron) {
  const { buffer, names } = columnAt(column), last = column === session.network.columns.length - 1;
  const known = names?.[neuron] ?? (column === 0 ? page.data.features[neuron] : null);
  if (known) return known;
  return last && page.data.classes.length === neuronsOf(column) ? className(neuron) : `${buffer}[${neuron}]`;
}

// ---- what is shown: all neurons of a small layer, some of a large one

function pullOn(column, neuron) { // how large the gradients of a neuron's weights are
  const into = weightsInto(column), size = neuronsOf(column);
  if (into) return slopesOf(into.name).reduce((sum, g, k) => sum + (k % size === neuron ? Math.abs(g) : 0), 0);
  const wide = neuronsOf(column + 1), from = session.network.weights.find((weight) => weight.from === column);
  return from ? slopesOf(from.name).subarray(neuron * wide, (neuron + 1) * wide).reduce((sum, g) => sum + Math.abs(g), 0) : 0;
}

function shownNeurons(column) {
  const size = neuronsOf(column), all = Array.from({ length: size }, (_, neuron) => neuron);
  if (isPicture(column)) return [0];
  if (size <= MOST) return all;
  const start = drawing.folds[column] ?? "strongest";
  if (start !== "strongest") return all.slice(Number(start), Number(start) + FEW);
  const pull = all.map((neuron) => pullOn(column, neuron));
  return all.sort((a, b) => pull[b] - pull[a]).slice(0, FEW).sort((a, b) => a - b);
}

function foldChoice(column) {
  const size = neuronsOf(column), { buffer } = columnAt(column);
  const choose = (event) => { drawing.folds[column] = event.target.value; drawing.built = null; redraw(); };
  const select = element("select", { change: choose });
  select.append(element("option", { value: "strongest" }, `${FEW} with the largest gradient at step ${session.count}`));
  for (let start = 0; start < size; start += FEW) select.append(element("option", { value: start }, `${start} … ${Math.min(start + FEW, size) - 1}`));
  select.value = drawing.folds[column] ?? "strongest";
  return element("label", {}, `${buffer}: `, select, ` … ${size - FEW} more`);
}

// ---- the picture is built once for a network, and then only changed

function buildNetwork() {
  drawing.parameters = [];
  const count = session.network.columns.length, shown = session.network.columns.map((_, column) => shownNeurons(column));
  const most = Math.max(4, ...shown.map((neurons) => neurons.length));
  const box = at("neurons"), svg = element("svg", { viewBox: "0 0 100 100", preserveAspectRatio: "none", role: "presentation" });
  const place = (column, k) => [9 + (82 * column) / (count - 1 || 1), ((k - (shown[column].length - 1) / 2) / most + 0.5) * 100];
  box.style.setProperty("--columns", count);
  box.style.setProperty("--most", most);
  drawing.edges = [];
  drawing.columns = shown.map((neurons, column) => neurons.map((neuron, k) => neuronButton(column, neuron, place(column, k))));
  for (const weight of session.network.weights) {
    shown[weight.to].forEach((neuron, k) => {
      const [x, y] = place(weight.to, k), size = neuronsOf(weight.to);
      shown[weight.from].forEach((source, l) => {
        const [X, Y] = place(weight.from, l), middle = (x + X) / 2, d = `M${X},${Y}C${middle},${Y} ${middle},${y} ${x},${y}`;
        if (isPicture(weight.from)) return svg.append(element("path", { d, class: "bundle" }));
        const words = `from ${neuronName(weight.from, source)} to ${neuronName(weight.to, neuron)}`;
        const line = element("path", { d }), handle = element("path", { d, class: "handle" });
        svg.append(element("g", {}, line, handle));
        drawing.edges.push(edgeOf(weight.name, source * size + neuron, [neuronsOf(weight.from), size], words, handle, line, middle, (y + Y) / 2));
      });
      if (!weight.bias) return;
      const dot = element("span", { class: "bias handle", style: `left:${x}%;top:${y}%` });
      drawing.edges.push(edgeOf(weight.bias, neuron, [size], `bias of ${neuronName(weight.to, neuron)}`, dot, dot, x, y));
    });
  }
  drawing.focus = drawing.edges[0] ?? null;
  const dots = drawing.edges.filter((one) => one.line === one.handle).map((one) => one.handle);
  box.replaceChildren(svg, ...drawing.columns.flat().map((one) => one.button), ...dots, element("div", { id: "locks" }), element("output", { id: "edge-number" }));
  const folded = shown.map((_, column) => column).filter((column) => neuronsOf(column) > MOST && !isPicture(column));
  at("folds").replaceChildren(...folded.map(foldChoice));
}

function edgeOf(name, index, shape, words, handle, line, x, y) {
  const one = { name, index, handle, line, x, y, text: cellName(name, shape, index) };
  change(handle, { role: "slider", tabindex: -1, "aria-label": `${one.text}, ${words}`, "aria-orientation": "vertical", "aria-valuemin": -1e6, "aria-valuemax": 1e6 });
  handle.addEventListener("focus", () => { drawing.focus = one; session.selected = { name, index }; redraw(); });
  handle.addEventListener("keydown", (event) => edgeKey(event, one));
  handle.addEventListener("pointerdown", (event) => startDrag(event, one));
  return one;
}

function neuronButton(column, neuron, [x, y]) {
  const [height, width] = page.data.image ?? [PLANE, PLANE], image = page.data.image && column <= 1;
  const canvas = element("canvas", image ? { width, height, class: "pixels" } : { width: PLANE, height: PLANE }), label = element("span", { class: "label" }, element("span"), element("b"));
  const zoom = () => lookInto(column, neuron);
  const button = element("button", { class: "neuron", type: "button", tabindex: -1, style: `left:${x}%;top:${y}%`, click: zoom }, canvas, label);
  button.addEventListener("keydown", (event) => neuronKey(event, column, neuron));
  return { column, neuron, button, canvas, label, name: isPicture(column) ? `${height} × ${width} pixels` : neuronName(column, neuron) };
}

// The weight that is looked at until one is chosen, or when the chosen one is no longer there: that with the largest gradient.
// A bias has no input to multiply with, so that it tells less.
function steepest() {
  const all = drawing.edges.length ? drawing.edges.filter((one) => one.line !== one.handle) : Object.keys(session.step.state).filter(slopesOf).flatMap((name) => Array.from(slopesOf(name), (_, index) => ({ name, index })));
  const size = ({ name, index }) => Math.abs(slopesOf(name)?.[index]) || 0;
  const best = all.reduce((a, b) => (size(b) > size(a) ? b : a), all[0]);
  return best ? { name: best.name, index: best.index } : null;
}

// ---- changing a weight: by dragging its edge, or with the arrow keys

function startDrag(event, one) {
  const from = event.clientY, start = session.step.state[one.name][one.index];
  one.handle.setPointerCapture(event.pointerId);
  one.handle.focus({ preventScroll: true });
  const move = (moved) => setWeight(one.name, one.index, start + (from - moved.clientY) / (moved.shiftKey ? 600 : 60));
  const end = () => one.handle.removeEventListener("pointermove", move);
  one.handle.addEventListener("pointermove", move);
  one.handle.addEventListener("lostpointercapture", end, { once: true });
  event.preventDefault();
}

function edgeKey(event, one) {
  const value = session.step.state[one.name][one.index], next = drawing.edges.indexOf(one), step = event.shiftKey ? 0.01 : 0.1;
  if (event.key === "ArrowUp") setWeight(one.name, one.index, value + step);
  else if (event.key === "ArrowDown") setWeight(one.name, one.index, value - step);
  else if (event.key === "ArrowRight") drawing.edges[(next + 1) % drawing.edges.length].handle.focus();
  else if (event.key === "ArrowLeft") drawing.edges.at(next - 1).handle.focus();
  else if (event.key === "f") freeze(one.name, one.index);
  else return;
  event.preventDefault();
  event.stopPropagation();
}

function neuronKey(event, column, neuron) {
  const side = { ArrowLeft: -1, ArrowRight: 1 }[event.key], down = { ArrowUp: -1, ArrowDown: 1 }[event.key];
  if (!side && !down) return;
  const place = drawing.columns[column].findIndex((one) => one.neuron === neuron);
  const there = side ? drawing.columns[column + side] : drawing.columns[column];
  there?.[Math.max(0, Math.min(there.length - 1, place + (down ?? 0)))].button.focus();
  event.preventDefault();
  event.stopPropagation();
}

// ---- drawing

// What the last update added to each weight: the difference between two drawings with a training step between them.
function followUpdates() {
  const { state } = session.step, names = Object.keys(state).filter(slopesOf);
  const { before } = drawing, steps = session.count - (before?.count ?? 0);
  if (!before || steps < 0 || before.network !== session.network) drawing.changes = { steps: 0 };
  else if (steps > 0) drawing.changes = { steps, ...Object.fromEntries(names.map((name) => [name, state[name].map((value, k) => value - before.state[name][k])])) };
  drawing.before = { count: session.count, network: session.network, state: Object.fromEntries(names.map((name) => [name, state[name].slice()])) };
}

function shownNumbers(name, pull) {
  if (pull) return pull(name);
  if (drawing.mode === "gradient") return slopesOf(name);
  return drawing.mode === "weight" ? session.step.state[name] : drawing.changes[name] ?? new Float64Array(session.step.state[name].length);
}

function caption(pull) {
  if (pull) return `Row ${session.row}: its activation at each neuron; edges show its pull, its part of the gradient.`;
  if (session.row !== null && !session.rows.includes(session.row)) return `Row ${session.row} is only measured: no weight learns from it.`;
  if (drawing.mode === "gradient") return "Edges show the gradient: how the loss changes with each weight.";
  if (drawing.mode === "weight" && drawing.parameters.length) return "The weights of each layer: orange above zero, blue below.";
  if (drawing.mode === "weight") return "Edges show weights. Drag one up or down; click a neuron to look inside.";
  const { steps } = drawing.changes;
  return steps ? `Edges show what the last ${steps === 1 ? "step" : `${steps} steps`} added to each weight.` : "No training step yet: nothing was added.";
}

function drawEdges(pull) {
  const { selected, frozen } = session, prefix = pull || drawing.mode === "gradient" ? "d_" : "", numbers = {}, tops = {};
  let chosen = null;
  for (const one of drawing.edges) {
    const values = (numbers[one.name] ??= shownNumbers(one.name, pull)), value = values[one.index], weight = session.step.state[one.name][one.index];
    const share = Math.abs(value) / (tops[one.name] ??= largest(values) || 1), spoiled = !Number.isFinite(value);
    const isSelected = selected?.name === one.name && selected.index === one.index, isFrozen = frozen.has(`${one.name}:${one.index}`);
    if (isSelected) chosen = { one, value };
    const kind = `${spoiled ? "spoiled" : value < 0 ? "negative" : "positive"}${isSelected ? " selected" : ""}${isFrozen ? " frozen" : ""}`;
    if (one.line === one.handle) change(one.line, { class: `bias handle ${kind}` });
    else change(one.line, { class: `edge ${kind}`, "stroke-width": spoiled ? 2 : (0.8 + 6 * share).toFixed(1) });
    change(one.handle, { tabindex: one === drawing.focus ? 0 : -1 });
    if (training.running && !isSelected) continue; // words for all edges would take longer than the step
    const text = `${written(weight, 4)}, ${isFrozen ? "frozen, " : ""}gradient ${written(slopesOf(one.name)[one.index], 4)}`;
    change(one.handle, { "aria-valuenow": Number.isFinite(weight) ? weight : 0, "aria-valuetext": text });
  }
  const number = at("edge-number");
  number.hidden = !chosen;
  if (chosen) {
    say(number, `${drawing.mode === "update" && !pull ? "added to " : prefix}${chosen.one.text} = ${written(chosen.value, 4)}`);
    number.style.cssText = `left:${Math.max(18, Math.min(82, chosen.one.x))}%;top:${chosen.one.y}%`;
  }
  const locked = drawing.edges.filter((one) => frozen.has(`${one.name}:${one.index}`));
  const key = locked.map((one) => one.text).join();
  if (at("locks").dataset.key === key) return;
  at("locks").dataset.key = key;
  at("locks").replaceChildren(...locked.map((one) => element("span", { class: "lock", style: `left:${one.x}%;top:${one.y}%` })));
}

// The rows in groups: those of each class or, where numbers are predicted, those of the smallest, middle and largest third.
function groups() {
  const { y } = session.step.inputs, rows = session.step.batch;
  if (page.data.classes.length) return { count: page.data.classes.length, of: (row) => y[row] };
  const sorted = Float64Array.from(y).sort(), [low, high] = [sorted[Math.floor(rows / 3)], sorted[Math.floor((2 * rows) / 3)]];
  const width = y.length / rows;
  return { count: 3, of: (row) => (y[row * width] >= low) + (y[row * width] >= high) };
}

// The means of a column's numbers over each group of rows: a function of the neuron.
function groupMeans(column) {
  const values = session.step.buffers[columnAt(column).buffer], size = neuronsOf(column), { count, of } = groups();
  const sums = new Float64Array(count * size), counts = new Float64Array(count);
  for (let row = 0; row < session.step.batch; row++) {
    const group = of(row);
    counts[group] += 1;
    for (let neuron = 0; neuron < size; neuron++) sums[group * size + neuron] += values[row * size + neuron];
  }
  return (neuron) => Array.from(counts, (rows, group) => (rows ? sums[group * size + neuron] / rows : 0));
}

function neuronPainter(column, rowBuffers) {
  const { buffer } = columnAt(column), into = weightsInto(column), size = neuronsOf(column);
  if (plane.buffers) {
    const values = plane.buffers[answering().columns[column].buffer], scale = largest(values, 1);
    return (canvas, neuron) => drawPlane(canvas, values, neuron, scale);
  }
  if (isPicture(column)) return (canvas) => drawExample(canvas, session.row);
  if (into?.from === 0) {
    const weights = session.step.state[into.name], scale = largest(weights) || 1;
    if (page.data.image) return (canvas, neuron) => heat(canvas, weights, scale, neuron, size);
    return (canvas, neuron) => bars(canvas, Array.from({ length: neuronsOf(0) }, (_, k) => weights[k * size + neuron]), scale);
  }
  const means = groupMeans(column), top = largest(session.step.buffers[buffer], 1e-300);
  if (rowBuffers) return (canvas, neuron) => bars(canvas, [rowBuffers[answering().columns[column].buffer][neuron]], top);
  const scale = (neuron) => (column ? top : largest(means(neuron)) || 1); // inputs are measured in units of their own
  return (canvas, neuron) => bars(canvas, means(neuron), scale(neuron), page.data.classes.length ? classMix : undefined);
}

function drawNeurons(rowBuffers) {
  drawing.columns.forEach((neurons, column) => {
    const paintNeuron = neuronPainter(column, rowBuffers), values = rowBuffers?.[answering().columns[column].buffer];
    neurons.forEach((one, k) => {
      paintNeuron(one.canvas, one.neuron);
      const value = values && !isPicture(column) ? ` = ${written(values[one.neuron], 3)}` : "";
      say(one.label.firstChild, one.name);
      say(one.label.lastChild, value);
      change(one.button, { "aria-label": `${one.name}${value}: look inside`, title: one.name, tabindex: column + k === 0 ? 0 : -1 });
    });
  });
}

// A network whose layers are no stack has no picture of neurons: its parameters stand there as heat maps.
function buildParameters() {
  drawing.edges = [];
  drawing.columns = [];
  drawing.parameters = session.network.layers.flatMap(({ parameters }) => parameters).map((name) => {
    const shape = session.network.shapes[name], width = lengthOf(shape.at(-1) ?? 1), height = session.step.state[name].length / width;
    return { name, canvas: element("canvas", { width, height, class: "pixels", style: `width:${1.2 * width}rem` }), words: captioned(name, { shape: shape.map(lengthOf) }) };
  });
  at("neurons").replaceChildren();
  at("folds").replaceChildren(...drawing.parameters.map(({ canvas, words }) => element("figure", {}, canvas, element("figcaption", {}, words))));
}

function drawParameters(pull) {
  for (const { name, canvas } of drawing.parameters) {
    const values = shownNumbers(name, pull);
    heat(canvas, values, largest(values) || 1);
  }
}

function drawTools() {
  const { selected, frozen } = session, isFrozen = selected && frozen.has(`${selected.name}:${selected.index}`);
  at("freeze").disabled = !selected;
  change(at("freeze"), { "aria-pressed": Boolean(isFrozen) });
  at("edges-show").value = drawing.mode;
}

at("network-panel").append(
  element("div", { class: "tools" },
    element("label", {}, "edges show ", element("select", { id: "edges-show", change: (event) => { drawing.mode = event.target.value; redraw(); } },
      ...Object.entries(MODES).map(([value, words]) => element("option", { value }, words)))),
    element("button", { id: "freeze", type: "button", title: "key f on an edge", click: () => freeze(session.selected.name, session.selected.index) }, "freeze this weight")),
  element("p", { id: "network-caption", class: "soft" }),
  element("div", { id: "neurons", role: "group", "aria-label": "neurons and edges: arrow keys go on; on an edge, up and down change the weight, f freezes it" }),
  element("div", { id: "folds", class: "tools" }));

views.push({
  draw() {
    const shape = JSON.stringify([session.network.weights, session.network.columns.map((_, column) => neuronsOf(column))]);
    const isStack = session.network.columns.length > 0;
    if (drawing.built !== shape) {
      (isStack ? buildNetwork : buildParameters)();
      drawing.built = shape;
    }
    const { selected } = session;
    if (selected && !(selected.index < session.step.state[selected.name]?.length)) session.selected = steepest();
    at("neurons").hidden = !isStack || inner.column !== null;
    followUpdates();
    const pull = session.row === null ? null : pullOf(session.row);
    const rowBuffers = session.row === null ? null : answerOf(session.row);
    say(at("network-caption"), caption(pull));
    drawTools();
    if (!isStack) return drawParameters(pull);
    drawEdges(pull);
    return drawNeurons(rowBuffers);
  },
});
