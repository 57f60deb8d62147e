// Small pictures of arrays on canvases: their colours, and what the network answers over the plane of two features.

const PLANE = 40; // pixels of a side of the plane
const HUES = ["#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#888888"]; // more than two classes
const SHAPES = ["M-2,0a2,2 0 1 0 4,0a2,2 0 1 0 -4,0z", "M-1.8-1.8h3.6v3.6h-3.6z", "M0-2.3 2.1 1.6h-4.2z", "M0-2.5 2.5 0 0 2.5-2.5 0z",
  "M-.8-2.2h1.6v1.4h1.4v1.6h-1.4v1.4h-1.6v-1.4h-1.4v-1.6h1.4z"];
const SVG = "http://www.w3.org/2000/svg";

// An element with attributes (functions listen to events) and children; texts become text, never markup.
function element(tag, attributes = {}, ...children) {
  const svg = ["svg", "path", "g"].includes(tag);
  const node = svg ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value !== null) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

// Sets only what differs: the browser styles and lays out again whatever is set.
function change(node, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    const text = value === null ? null : String(value);
    if (node.getAttribute(name) === text) continue;
    if (text === null) node.removeAttribute(name); else node.setAttribute(name, text);
  }
}
function say(node, text) { if (node.textContent !== text) node.textContent = text; }

const rgb = (hex) => [1, 3, 5].map((from) => parseInt(hex.slice(from, from + 2), 16));
const mixed = (from, to, share) => from.map((part, k) => part + (to[k] - part) * share);
const palette = {};
const RAMP = 256; // steps from zero to either end of the scale
const ramp = new Uint32Array(2 * RAMP + 1), grey = pixel([128, 128, 128]); // of pixels: from the negative end to the positive
function pixel([red, green, blue]) { return ((255 << 24) | (Math.round(blue) << 16) | (Math.round(green) << 8) | Math.round(red)) >>> 0; }
function readPalette() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["negative", "zero", "positive"]) palette[name] = rgb(style.getPropertyValue(`--${name}`).trim());
  for (let k = -RAMP; k <= RAMP; k++) ramp[k + RAMP] = pixel(mixed(palette.zero, k < 0 ? palette.negative : palette.positive, Math.abs(k) / RAMP));
}
readPalette();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readPalette(); redraw(); });

const classColour = (label) => (page.data.classes.length > 2 ? HUES[label % HUES.length] : `var(--${label ? "positive" : "negative"})`);
const classMix = (label) => (page.data.classes.length > 2 ? rgb(HUES[label % HUES.length]) : label ? palette.positive : palette.negative);
const className = (label) => page.data.classes[label] ?? String(label);
const shapeOf = (label) => SHAPES[label % SHAPES.length];

function fillCells(canvas, pixelOf) {
  const context = canvas.getContext("2d"), image = context.createImageData(canvas.width, canvas.height), pixels = new Uint32Array(image.data.buffer);
  for (let cell = 0; cell < pixels.length; cell++) pixels[cell] = pixelOf(cell);
  context.putImageData(image, 0, 0);
}

// A heat map of every stride-th of values, from first on and over again: blue is negative, orange positive, grey no number.
function heat(canvas, values, scale, first = 0, stride = 1) {
  fillCells(canvas, (cell) => {
    const share = values[first + ((cell * stride) % values.length)] / scale;
    return Number.isNaN(share) ? grey : ramp[Math.round((share < -1 ? -1 : share > 1 ? 1 : share) * RAMP) + RAMP];
  });
}

// Bars up and down from a line in the middle; colour(k) is that of a bar, without it that of its sign.
function bars(canvas, values, scale, colour) {
  const context = canvas.getContext("2d"), { width, height } = canvas, wide = width / values.length;
  context.fillStyle = `rgb(${palette.zero})`;
  context.fillRect(0, 0, width, height);
  values.forEach((value, k) => {
    const tall = (Math.max(-1, Math.min(1, value / scale)) * height) / 2;
    context.fillStyle = `rgb(${Number.isFinite(value) ? colour?.(k) ?? (value < 0 ? palette.negative : palette.positive) : [128, 128, 128]})`;
    if (Number.isFinite(value)) context.fillRect(k * wide + 0.08 * wide, height / 2, 0.84 * wide, -tall);
    else context.fillRect(k * wide, 0, wide, height);
  });
  context.fillStyle = "#888888";
  context.fillRect(0, height / 2 - 0.5, width, 1);
}

function largest(values, least = 0) {
  let top = least;
  for (const value of values) if (Math.abs(value) > top && Number.isFinite(value)) top = Math.abs(value);
  return top;
}

// ---- the plane of one or two features, with what each neuron answers there: computed once for a drawing

const plane = { low: [0, 0], side: 0, x: null, buffers: null };

function placePlane() {
  const { x, features } = session.data, low = [Infinity, Infinity], high = [-Infinity, -Infinity];
  x.forEach((value, k) => {
    low[k % features] = Math.min(low[k % features], value);
    high[k % features] = Math.max(high[k % features], value);
  });
  if (features === 1) [low[1], high[1]] = [low[0], high[0]];
  const spread = Math.max(high[0] - low[0], high[1] - low[1]) || 1;
  const inside = low.every((value, k) => value >= plane.low[k] && high[k] <= plane.low[k] + plane.side);
  if (inside && spread > 0.4 * plane.side) return; // points that are dragged shall not move the others
  plane.side = 1.25 * spread;
  plane.low = low.map((value, k) => (value + high[k] - plane.side) / 2);
  const step = plane.side / PLANE, rows = features === 1 ? 1 : PLANE;
  plane.x = new Float64Array(rows * PLANE * features);
  for (let cell = 0; cell < rows * PLANE; cell++) {
    plane.x[cell * features] = plane.low[0] + ((cell % PLANE) + 0.5) * step;
    if (features === 2) plane.x[cell * 2 + 1] = plane.low[1] + (PLANE - Math.floor(cell / PLANE) - 0.5) * step;
  }
}

views.push({
  draw() {
    plane.buffers = null;
    if (session.data.features > 2) return;
    placePlane();
    plane.buffers = evaluate(plane.x);
  },
});

// What one neuron answers in the plane, on a canvas of PLANE x PLANE.
function drawPlane(canvas, values, neuron, scale) {
  heat(canvas, values, scale, neuron, (values.length * session.data.features) / plane.x.length);
}

// ---- what the network answers for rows

// The network that evaluate() runs: with BatchNorm or Dropout it is another one, whose arrays have names of their own.
const answering = () => page.networks[session.network.evaluation] ?? session.network;
const answersOf = (buffers) => buffers[answering().output];

// How far the class that the network says is ahead of the next one in a row of outputs: 0 is a tie, 1 is certain.
function lead(outputs, size, row) {
  const from = row * size;
  if (size === 1) return Math.tanh(Math.abs(outputs[from] - session.network.threshold) / 2);
  let best = outputs[from], next = -Infinity;
  for (let c = 1; c < size; c++) {
    next = Math.max(next, Math.min(best, outputs[from + c]));
    best = Math.max(best, outputs[from + c]);
  }
  return Math.tanh((best - next) / 2);
}

function featuresOf(row) {
  const { x, features } = session.data;
  return x.subarray(row * features, (row + 1) * features);
}

function targetOf(row) {
  const { y, rows } = session.data, size = y.length / rows;
  return y.subarray(row * size, (row + 1) * size);
}

// What the network says of one row: its arrays, with the loss of that row alone.
const answerOf = (row) => evaluate(featuresOf(row), targetOf(row));

// The class or the number that it says, in words; the same of what it should say.
const saidOf = (buffers) => (hasClasses() ? className(classAt(buffers, 0)) : written(inUnits(answersOf(buffers)[0], null), 4));
const targetWords = (row) => (hasClasses() ? className(labelOf(row)) : written(inUnits(targetOf(row)[0], null), 4));

// A number of a feature's column in the units of the table that the rows came from; of the target where column is null.
const unitsOf = ({ shift, scale, target }, column) => (column === null ? target ?? [0, 1] : [shift[column], scale[column]]);
function inUnits(value, column) {
  const [shift, scale] = page.data.units ? unitsOf(page.data.units, column) : [0, 1];
  return value * scale + shift;
}
function fromUnits(value, column) {
  const [shift, scale] = page.data.units ? unitsOf(page.data.units, column) : [0, 1];
  return (value - shift) / scale;
}

// The part of each weight's gradient that a row brings in: by name, what a step of that row alone finds, shared by the
// rows of the batch. Null for a row that doesn't train, and where rows act on each other (BatchNorm) or drop at random.
function pullOf(row) {
  if (!session.rows.includes(row) || session.network.evaluation) return null;
  const step = stepOf(1);
  fillInputs(step, [row]);
  step.forward();
  step.backward();
  return (name) => step.buffers[`d_${name}`].map((slope) => slope / session.step.batch);
}
