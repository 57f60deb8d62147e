// The rows as points: dragged, added, flipped and removed, over the answers of the network.

const points = { built: null, nodes: [], focus: 0, original: null, noisy: null, noise: 0, seed: 0, label: 0, pressed: [], kind: null, frame: null };

const hasClasses = () => page.data.classes.length > 0;
const isPlane = () => session.data.features === 2 && hasClasses(); // points can be moved in both directions
const isCurve = () => session.data.features === 1 && !hasClasses();
const isScatter = () => isPlane() || !hasClasses();
const labelOf = (row) => session.data.y[row];

// ---- where a point stands, in percent of the square

// [left, bottom, width, height] of what is shown: the plane; input and number; or number and prediction.
function frame() {
  if (isPlane()) return [plane.low[0], plane.low[1], plane.side, plane.side];
  const { y } = session.data, low = y.reduce((a, b) => Math.min(a, b)), spread = y.reduce((a, b) => Math.max(a, b)) - low || 1;
  const vertical = [low - 0.15 * spread, 1.3 * spread];
  return isCurve() ? [plane.low[0], vertical[0], plane.side, vertical[1]] : [vertical[0], vertical[0], vertical[1], vertical[1]];
}

function placeOf(row, predictions) {
  const { x, y, features } = session.data, [left, bottom, width, height] = points.frame;
  const [across, up] = isPlane() ? [x[2 * row], x[2 * row + 1]] : isCurve() ? [x[row * features], y[row]] : [y[row], predictions[row]];
  return [(100 * (across - left)) / width, 100 - (100 * (up - bottom)) / height];
}

function valuesAt(event) { // of the pointer: the two numbers of the frame, kept inside
  const box = at("points").getBoundingClientRect(), [left, bottom, width, height] = points.frame;
  const share = (value) => Math.max(0.01, Math.min(0.99, value));
  return [left + width * share((event.clientX - box.left) / box.width), bottom + height * share((box.bottom - event.clientY) / box.height)];
}

function movePointTo(row, [across, up]) {
  const { data } = session;
  if (isPlane()) {
    data.x[2 * row] = across;
    movePoint(row, 1, up);
  } else if (isCurve()) {
    data.y[row] = up;
    movePoint(row, 0, across);
  }
}

// ---- building

function buildPoints() {
  const { rows } = session.data;
  points.nodes = Array.from({ length: rows }, (_, row) => {
    const node = element("path", { class: "point", role: "button", tabindex: -1 });
    node.addEventListener("pointerenter", () => pointAt(row));
    node.addEventListener("pointerleave", () => { if (document.activeElement !== node) pointAt(null); });
    node.addEventListener("focus", () => { points.focus = row; pointAt(row); });
    node.addEventListener("blur", () => pointAt(null));
    node.addEventListener("keydown", (event) => pointKey(event, row));
    node.addEventListener("pointerdown", (event) => dragPoint(event, row));
    return node;
  });
  points.focus = Math.min(points.focus, rows - 1);
  at("points").replaceChildren(at("diagonal"), at("fit"), ...points.nodes);
}

function pointAt(row) {
  if (session.row === row) return;
  session.row = row;
  redraw();
}

// ---- what can be done with a point

function dragPoint(event, row) {
  const node = points.nodes[row], start = [event.clientX, event.clientY];
  points.pressed = [...points.pressed.slice(-1), row];
  node.focus({ preventScroll: true });
  node.setPointerCapture(event.pointerId);
  let moved = false;
  const move = (now) => {
    moved ||= Math.hypot(now.clientX - start[0], now.clientY - start[1]) > 3; // a click is no drag
    if (moved) movePointTo(row, valuesAt(now));
  };
  node.addEventListener("pointermove", move);
  node.addEventListener("lostpointercapture", () => node.removeEventListener("pointermove", move), { once: true });
  event.preventDefault();
}

function flip(row) {
  if (hasClasses()) flipClass(row);
}

function remove(row) {
  removePoint(row);
  points.nodes[Math.min(row, points.nodes.length - 1)].focus();
}

function pointKey(event, row) {
  const direction = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
  if (direction && event.shiftKey) {
    const [x, y] = placeOf(row, []), [left, bottom, width, height] = points.frame, part = (value) => Math.max(1, Math.min(99, value)) / 100;
    movePointTo(row, [left + width * part(x + 2 * direction[0]), bottom + height * part(100 - y + 2 * direction[1])]);
  } else if (direction) {
    const step = direction[0] - direction[1];
    points.nodes[(row + step + points.nodes.length) % points.nodes.length].focus();
  } else if (event.key === "Enter" || event.key === "f") flip(row);
  else if (event.key === "Delete" || event.key === "Backspace") remove(row);
  else return;
  event.preventDefault();
  event.stopPropagation();
}

function addHere(values) {
  addPoint(values, isCurve() ? values.pop() : points.label);
}

// ---- noise: from where the points began, so that the slider goes back too; what was moved by hand stays moved

function drawNoise() {
  const { x } = session.data, generator = new Generator(points.seed);
  if (points.noisy?.length !== x.length) [points.original, points.noisy] = [x.slice(), x.slice()];
  points.original.forEach((value, k) => {
    if (x[k] !== points.noisy[k]) points.original[k] = value + x[k] - points.noisy[k];
    x[k] = points.original[k] + points.noise * generator.gaussian();
  });
  points.noisy = x.slice();
  showChange();
}

// ---- drawing

function drawBackground() {
  const canvas = at("answers"), outputs = answersOf(plane.buffers), cells = PLANE * PLANE, size = outputs.length / cells;
  fillCells(canvas, (cell) => {
    const ahead = lead(outputs, size, cell);
    return Number.isNaN(ahead) ? grey : pixel(mixed(palette.zero, classMix(classAt(plane.buffers, cell)), 0.15 + 0.45 * ahead));
  });
}

function drawFit() {
  const outputs = answersOf(plane.buffers), size = outputs.length / PLANE, [, bottom, , height] = points.frame;
  const path = Array.from({ length: PLANE }, (_, k) => `${(100 * (k + 0.5)) / PLANE},${(100 - (100 * (outputs[k * size] - bottom)) / height).toFixed(2)}`);
  change(at("fit"), { d: path.every((place) => !place.includes("N") && !place.includes("I")) ? `M${path.join("L")}` : "M0,0" });
}

function drawPoints() {
  const { test, rows } = session.data, small = rows > 120 ? 0.75 : 1;
  const outputs = isPlane() || isCurve() ? [] : answersOf(evaluate(session.data.x)), size = outputs.length / rows || 1;
  const predictions = isPlane() || isCurve() ? [] : Array.from({ length: rows }, (_, row) => outputs[row * size]);
  points.nodes.forEach((node, row) => {
    const [x, y] = placeOf(row, predictions), label = hasClasses() ? labelOf(row) : 0, colour = hasClasses() ? classColour(label) : "var(--mark)";
    change(node, {
      d: shapeOf(label), class: `point${test.has(row) ? " test" : ""}${session.row === row ? " pointed" : ""}`, style: `color:${colour}`,
      transform: Number.isFinite(y) ? `translate(${x.toFixed(2)} ${y.toFixed(2)}) scale(${session.row === row ? 1.7 : small})` : "translate(-9 -9)",
      tabindex: row === points.focus ? 0 : -1, "aria-label": pointWords(row, label),
    });
  });
}

function pointWords(row, label) {
  const place = session.row === row ? ` at ${Array.from(featuresOf(row), (value) => written(value, 3)).join(", ")}` : ""; // of all: too slow
  return `row ${row}${session.data.test.has(row) ? " of the test" : ""}${hasClasses() ? `, ${className(label)}` : ""}${place}`;
}

function drawScatter() {
  points.frame = frame();
  if (points.built !== session.data.rows) { buildPoints(); points.built = session.data.rows; }
  if (isPlane()) drawBackground();
  if (isCurve()) drawFit();
  drawPoints();
}

// The sentence about the row that is pointed at.
function rowWords(row) {
  const buffers = answerOf(row);
  return `Row ${row}: ${targetWords(row)}, predicted ${saidOf(buffers)}, loss ${written(buffers.loss[0], 4)}.`;
}

function legend() {
  return page.data.classes.map((name, label) => element("label", { class: "class" },
    element("input", { type: "radio", name: "new-class", value: label, ...(label === points.label ? { checked: "" } : {}), change: () => { points.label = label; } }),
    element("svg", { viewBox: "-3 -3 6 6", "aria-hidden": "true" }, element("path", { d: shapeOf(label), class: "point", style: `color:${classColour(label)}` })), name));
}

// ---- the panel

function scatterPanel() {
  const editable = isPlane() || isCurve();
  const answers = element("canvas", { id: "answers", width: PLANE, height: PLANE, "aria-hidden": "true" });
  const svg = element("svg", { id: "points", viewBox: "0 0 100 100", role: "group", "aria-label": "rows as points: arrow keys go from one to the next, with shift they move it, f flips its class, delete removes it" },
    element("path", { id: "diagonal", d: editable ? "M0,0" : "M0,100L100,0" }), element("path", { id: "fit", d: "M0,0" }));
  if (editable) {
    svg.addEventListener("click", (event) => { if (event.target === svg && event.detail < 2) addHere(valuesAt(event)); });
    svg.addEventListener("pointerdown", (event) => { if (event.target === svg) points.pressed = []; });
    svg.addEventListener("dblclick", () => { if (points.pressed.length === 2 && points.pressed[0] === points.pressed[1]) flip(points.pressed[0]); });
  }
  const { features } = page.data, names = isPlane() ? features : isCurve() ? [features[0], "number"] : ["number", "prediction"];
  const noise = element("input", { type: "range", min: 0, max: 1, step: 0.01, value: 0, input: (event) => { points.noise = Number(event.target.value) ** 2 * plane.side / 4; drawNoise(); } });
  const add = () => { const [left, bottom, width, height] = points.frame; addHere([left + width / 2, bottom + height / 2]); points.nodes.at(-1).focus(); };
  const other = () => { points.seed += 1; drawNoise(); };
  return [
    element("div", { class: "square" }, answers, svg),
    element("p", { class: "axes soft" }, element("span", {}, `→ ${names[0]}`), element("span", {}, `↑ ${names[1]}`)),
    element("fieldset", { class: "legend" }, element("legend", {}, hasClasses() ? "class of a new point" : "rows"), ...legend(),
      ...(session.data.test.size ? [element("span", { class: "soft" }, "hollow: test rows")] : [])),
    ...(editable ? [element("div", { class: "tools" }, element("button", { type: "button", click: add }, "add a point"), element("label", {}, "noise ", noise), element("button", { type: "button", click: other }, "other noise"))] : []),
  ];
}

// What is shown depends on the data: points where there is a plane or a number, pictures of images, a table of the rest.
function buildPanel() {
  const parts = isScatter() ? scatterPanel() : [];
  if (page.data.image) parts.push(examplesPanel());
  else if (!isPlane() && !isCurve()) parts.push(tablePanel());
  at("rows").replaceChildren(...parts);
  points.built = null;
}

at("data-panel").append(element("div", { id: "rows" }), element("p", { id: "row-words" }), element("p", { id: "data-note", class: "soft" }));

views.push({
  draw() {
    const kind = JSON.stringify([session.data.features, page.data.name, page.data.classes, page.data.image]);
    if (points.kind !== kind) { buildPanel(); points.kind = kind; }
    say(at("data-note"), page.data.note ?? "");
    say(at("row-words"), session.row === null ? "Point at a row to see its own forward pass, its loss and its pull on each weight." : rowWords(session.row));
    if (isScatter()) drawScatter();
    if (page.data.image) drawExamples();
    else if (!isPlane() && !isCurve()) drawTable();
  },
});
