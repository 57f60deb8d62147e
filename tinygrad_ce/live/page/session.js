// The session: data, settings, the network with its numbers, and everything that can be done to them. Views read it,
// and are drawn anew after each change; nothing else changes numbers.

const page = JSON.parse(document.getElementById("page-data").textContent);
const at = (id) => document.getElementById(id);

const session = {
  settings: {}, // { rate, batch, seed, optimizer, activation, loss, hidden }
  key: null, // of the network that runs
  network: null, // page.networks[key]
  sizes: {}, // the hidden widths by their names, as in network.shapes
  data: null, // { x, y, rows, features, test: Set of row numbers }: arrays that may be changed in place
  step: null, // of createStep: its buffers are what the views show
  rows: [], // the data's rows that it stands for: the training rows or, inside a step, those of its batch
  count: 0, // training steps so far
  updates: 0, // those since the optimizer's memory began: Adam corrects its bias by it
  history: null, // { steps, train, test, trainAccuracy, testAccuracy }: lists, one entry a recorded step
  line: null, // inside a step: the number of the line that was just computed
  spoiled: null, // { count, line, name, position, value }: where the first number that is not finite appeared
  selected: null, // { name, index }: the weight that is looked at
  row: null, // the row of the data that is pointed at
  frozen: new Map(), // "W0:3" -> the value that it keeps
};

const views = []; // { draw() } of each panel
function redraw() { for (const view of views) view.draw(); }
function fail(words) { at("say").textContent = words; }

let wholeStep = null; // the step of all training rows: session.step, unless a batch is looked at inside of a step
let trainingRows = []; // the numbers of the training rows
let cachedSteps = new Map(); // steps of other numbers of rows, for training and for evaluation; all share wholeStep.state
let batchOrder = null; // { generator, rows, position }: of the batches of an epoch
let beforeMasks = null; // the generator as it was before the masks of the coming step were drawn; null without Dropout
let aroundUpdate = null; // { before, after }: the state around the update that is looked at line by line
let seeded = false; // whether the weights began by settings.seed, and not as Python sent them

const lengthOf = (size) => (size === "batch" ? session.rows.length : session.sizes[size] ?? size);
const arraysOf = (state) => Object.fromEntries(Object.entries(state).map(([name, array]) => [name, array.slice()]));
const setArrays = (state, arrays) => { for (const name in state) if (arrays[name]?.length === state[name].length) state[name].set(arrays[name]); };

// ---- the network

function begin() {
  session.data = firstData();
  session.settings = { ...page.settings };
  buildProgram();
  restart();
}

function firstData() {
  const x = unpacked(page.data.x), y = unpacked(page.data.y);
  const [rows, features] = [x.shape[0], x.numbers.length / x.shape[0]];
  return { x: Float64Array.from(x.numbers), y: Float64Array.from(y.numbers), rows, features, test: new Set(page.data.test) };
}

const asText = (value) => JSON.stringify(value ?? null);
function keyOf({ activation, loss, hidden }) {
  const own = ["activation", "loss", "hidden"].every((name) => asText(page.settings[name]) === asText({ activation, loss, hidden }[name]));
  const key = own ? page.own : `${page.prefix ?? ""}${activation}/${loss}/${hidden?.length}`;
  return Object.hasOwn(page.networks, key) ? key : null;
}

// The network that the settings name; arrays that the last one had too keep their values.
function buildProgram() {
  const old = wholeStep?.state ?? {};
  session.key = keyOf(session.settings);
  session.network = withUpdate(page.networks[session.key], session.settings.optimizer);
  const { sizes = [] } = session.network;
  session.sizes = Object.fromEntries(sizes.map((name, i) => [name, session.settings.hidden[i]]));
  createSteps({});
  setArrays(wholeStep.state, old);
}

// The network with the lines of this optimizer's update, in place of those of the one that it was traced with.
function withUpdate(network, optimizer) {
  const update = network.updates?.[optimizer];
  return update ? { ...network, above: update.above, lines: [...network.lines.filter(({ phase }) => phase !== "update"), ...update.lines] } : network;
}

function createSteps(state) {
  const { rows, test } = session.data;
  trainingRows = Array.from({ length: rows }, (_, row) => row).filter((row) => !test.has(row));
  wholeStep = createFor(session.key, trainingRows.length, state);
  cachedSteps = new Map();
  batchOrder = null;
  drawMasks(wholeStep);
  lookAtAll();
}

function lookAtAll() {
  session.step = wholeStep;
  session.rows = trainingRows;
  session.line = null;
  aroundUpdate = null;
}

function createFor(key, batch, state) {
  const step = PROGRAMS[key]({ batch, state, sizes: session.sizes });
  step.updates ??= Object.fromEntries(Object.keys(page.networks[key].numbers).map((name) => [name, step.update])); // of one optimizer
  return step;
}

function stepOf(rows, key = session.key) {
  const name = `${key} ${rows}`;
  if (!cachedSteps.has(name)) {
    if (cachedSteps.size > 7) cachedSteps.delete(cachedSteps.keys().next().value);
    cachedSteps.set(name, createFor(key, rows, wholeStep.state));
  }
  return cachedSteps.get(name);
}

// The buffers of a forward pass in evaluation mode on any rows: x holds row after row. They are overwritten by the next
// call with as many rows. y: targets, where the loss is looked at.
function evaluate(x, y = null) {
  const step = stepOf(x.length / session.data.features, session.network.evaluation ?? session.key);
  step.inputs.x.set(x);
  if (y) step.inputs.y.set(y);
  for (const [name, array] of Object.entries(step.inputs)) if (name !== "x" && name !== "y") array.fill(1); // masks
  step.forward();
  return step.buffers;
}

// ---- where the numbers begin

// The first numbers once more: as Python sent them, or by the seed where one was chosen.
function restart() {
  leaveStep();
  if (session.key === page.own) setArrays(wholeStep.state, Object.fromEntries(Object.entries(page.state).map(([name, packed]) => [name, unpacked(packed).numbers])));
  if (seeded || session.key !== page.own) drawInitial();
  else if (page.settings.optimizer !== session.settings.optimizer) forgetMemory();
  session.updates = seeded || session.key !== page.own ? 0 : page.settings.steps ?? 0;
  session.frozen.clear();
  session.count = 0;
  batchOrder = null;
  drawMasks(wholeStep);
  startHistory();
}

function startHistory() {
  session.history = { steps: [], train: [], test: [], trainAccuracy: [], testAccuracy: [] };
  compute();
  recordLosses();
}

function drawInitial() {
  const generator = new Generator(session.settings.seed);
  for (const { name, bias, init = "glorot_uniform" } of session.network.weights) {
    drawWeights(generator, wholeStep.state[name], init, ...session.network.shapes[name].map(lengthOf));
    wholeStep.state[bias]?.fill(0);
  }
  for (const [name, start] of Object.entries(session.network.begins ?? {})) wholeStep.state[name].fill(start);
  forgetMemory();
}

// The optimizer's memory begins anew: m_W0 is that of W0.
function forgetMemory() {
  const names = Object.keys(wholeStep.state);
  for (const name of names) if (names.some((other) => name.endsWith(`_${other}`))) wholeStep.state[name].fill(0);
  session.updates = 0;
}

// ---- computing

function fillInputs(step, rows) {
  const { x, y, features } = session.data, width = step.inputs.y.length / rows.length;
  rows.forEach((row, i) => {
    for (let j = 0; j < features; j++) step.inputs.x[i * features + j] = x[row * features + j];
    for (let j = 0; j < width; j++) step.inputs.y[i * width + j] = y[row * width + j];
  });
}

// The masks of Dropout for a coming step: NumPy's, as a Trainer of this seed draws them, which shuffles the rows before
// (here they stay, and the masks find them). All rows, where only a batch of them learns, are looked at through masks of
// their own.
function drawMasks(step) {
  const { batch, seed } = session.settings, isWhole = step === wholeStep, isSeen = isWhole && batch < trainingRows.length;
  const masks = Object.entries(session.network.random);
  if (!masks.length) beforeMasks = null;
  if (!masks.length) return;
  if (!isSeen) beforeMasks = orderOfRows().generator.words();
  const generator = isSeen ? new Generator(seed) : orderOfRows().generator;
  const order = isWhole && !isSeen ? generator.permutation(trainingRows.length) : null;
  for (const [name, rate] of masks) {
    const mask = step.inputs[name], width = mask.length / step.batch;
    for (let i = 0; i < mask.length; i++) {
      const place = order ? order[Math.floor(i / width)] * width + (i % width) : i;
      mask[place] = generator.random32() >= rate ? 1 / (1 - rate) : 0;
    }
  }
}

// Forward and backward on the rows of session.step, without an update: after it every number on the page is right.
function compute() {
  const { step, rows } = session;
  fillInputs(step, rows);
  step.forward();
  step.backward();
  const first = isSound() ? null : firstNotFinite();
  session.spoiled = first && (session.spoiled ?? { count: session.count, ...first, reason: printed.reason(first) });
}

const notFinite = (array) => array.findIndex((value) => !Number.isFinite(value));

// Whether loss, parameters and their gradients are finite: the quick question of each step.
function isSound() {
  const { state, buffers, outputs } = session.step;
  return notFinite(outputs.loss) < 0 && Object.keys(state).every((name) => notFinite(state[name]) < 0 && notFinite(buffers[`d_${name}`] ?? []) < 0);
}

// { line, name, position, value } of the first number, in the order of the lines, that is NaN or infinite; null if none is.
// What is wrong in a parameter came from the update before, if there was one, and what is wrong in the data from no line.
function firstNotFinite() {
  const { lines } = session.network, { inputs, state, buffers } = session.step;
  const entering = Object.entries({ ...inputs, ...state }).map(([name, array]) => ({ line: session.count ? lineOf(name) : null, name, array }));
  const computed = lines.map(({ name }, line) => ({ line, name, array: buffers[name] ?? [] }));
  const first = [...entering, ...computed].find(({ array }) => notFinite(array) >= 0);
  if (!first) return null;
  const { line, name, array } = first, position = notFinite(array);
  return { line, name, position, value: array[position] };
}

// The line of the update that sets an array, as in "W0, m_W0, v_W0 = adam(...)"; null if none does.
function lineOf(name) {
  const sets = ({ text, phase }) => phase === "update" && text.split("=")[0].split(/[\s,]+/).includes(name);
  const line = session.network.lines.findIndex(sets);
  return line < 0 ? null : line;
}

const orderOfRows = () => (batchOrder ??= { generator: new Generator(session.settings.seed), rows: [], position: 0 });

function nextBatch() {
  const { batch } = session.settings, order = orderOfRows();
  if (batch >= trainingRows.length) return trainingRows;
  if (order.position >= order.rows.length) {
    order.rows = order.generator.permutation(trainingRows.length);
    order.position = 0;
  }
  return order.rows.slice(order.position, order.position + batch).map((i) => trainingRows[i]);
}

// One update, from the gradients that stand there if all rows are the batch. Views need compute() afterwards.
function advance() {
  const rows = nextBatch();
  const step = rows === trainingRows ? wholeStep : stepOf(rows.length);
  if (step !== wholeStep) {
    fillInputs(step, rows);
    drawMasks(step);
    step.forward();
    step.backward();
  }
  applyUpdate(step, rows.length);
}

function runOptimizer(step) {
  const { optimizer, rate } = session.settings;
  step.updates[optimizer]({ ...session.network.numbers[optimizer], lr: rate, t: session.updates + 1 });
}

function applyUpdate(step, rows) {
  runOptimizer(step);
  for (const [place, value] of session.frozen) {
    const [name, index] = place.split(":");
    step.state[name][index] = value;
  }
  batchOrder.position += rows;
  session.updates += 1;
  session.count += 1;
}

function trainStep() {
  leaveStep();
  advance();
  drawMasks(wholeStep);
  compute();
  recordLosses();
}

// Many steps without a view: the losses of all rows are recorded now and then.
function trainSteps(count, every = 10) {
  leaveStep();
  for (let i = 1; i <= count; i++) {
    advance();
    drawMasks(wholeStep);
    if (session.settings.batch >= trainingRows.length || i % every === 0 || i === count) compute();
    if (i % every === 0 || i === count) recordLosses();
  }
}

// ---- inside a step

// One line further; the numbers of the forward and backward pass are those of the step's batch, and a line of the update
// changes what it names, no more. After the last line the step is done.
function stepInside() {
  const { lines } = session.network;
  if (session.line === null) {
    const rows = nextBatch();
    if (rows !== trainingRows) {
      [session.step, session.rows] = [stepOf(rows.length), rows];
      drawMasks(session.step);
    }
    compute();
  }
  session.line = (session.line ?? -1) + 1;
  const { state } = session.step;
  if (session.line >= lines.length) {
    if (aroundUpdate) setArrays(state, aroundUpdate.after);
    else applyUpdate(session.step, session.rows.length);
    lookAtAll();
    drawMasks(wholeStep);
    compute();
    recordLosses();
  } else if (lines[session.line].phase === "update") {
    if (!aroundUpdate) {
      const before = arraysOf(state);
      applyUpdate(session.step, session.rows.length);
      aroundUpdate = { before, after: arraysOf(state) };
    }
    for (const name in state) state[name].set((lineOf(name) ?? 0) > session.line ? aroundUpdate.before[name] : aroundUpdate.after[name]);
  }
  redraw();
}

// Out of a step that is not finished: as if it had not begun.
function leaveStep() {
  if (session.line === null) return;
  if (aroundUpdate) {
    setArrays(wholeStep.state, aroundUpdate.before);
    session.count -= 1;
    session.updates -= 1;
    batchOrder.position -= session.rows.length;
  }
  if (beforeMasks && session.step !== wholeStep) batchOrder.generator = Generator.of(beforeMasks);
  lookAtAll();
  compute();
}

// ---- losses so far

function recordLosses() {
  const { history } = session, entry = losses();
  for (const name in history) history[name].push(entry[name]);
  if (history.steps.length > 2000) for (const name in history) history[name] = history[name].filter((_, i) => i % 2 === 0);
}

// What training and test rows cost now, and the share of them that is right.
function losses() {
  const test = [...session.data.test], [train, trainAccuracy] = measured(wholeStep.buffers, session.rows);
  const [loss, accuracy] = test.length ? measured(evaluate(...rowsOf(test)), test) : [null, null];
  return { steps: session.count, train, test: loss, trainAccuracy, testAccuracy: accuracy };
}

function rowsOf(rows) {
  const { x, y, features } = session.data, width = y.length / session.data.rows;
  const part = (array, size) => Float64Array.from({ length: rows.length * size }, (_, i) => array[rows[Math.floor(i / size)] * size + (i % size)]);
  return [part(x, features), part(y, width)];
}

// The loss and the share of rows whose class is right, null where there are no classes.
function measured(buffers, rows) {
  const loss = buffers.loss[0];
  if (!page.data.classes.length) return [loss, null];
  return [loss, rows.filter((row, i) => classAt(buffers, i) === session.data.y[row]).length / rows.length];
}

// The class that the network says for a row of buffers: that of the largest score or, of a single one, whether it is high.
function classAt(buffers, row) {
  const { output, task, threshold } = session.network, scores = buffers[output] ?? answersOf(buffers);
  if (task === "binary") return scores[row] > threshold ? 1 : 0;
  const classes = page.data.classes.length;
  let best = 0;
  for (let c = 1; c < classes; c++) if (scores[row * classes + c] > scores[row * classes + best]) best = c;
  return best;
}

// ---- the state as a whole

// All that a link carries: numbers, settings, and the data where they were changed.
function snapshot() {
  leaveStep();
  const { settings, count, updates, data, frozen, selected } = session;
  const first = firstData(), same = (name) => data[name].length === first[name].length && data[name].every((value, i) => Object.is(value, first[name][i]));
  const rows = same("x") && same("y") ? null : { x: data.x.slice(), y: data.y.slice(), rows: data.rows, test: [...data.test] };
  const isFull = settings.batch >= trainingRows.length; // then the masks of the coming step are drawn already: restore() does it again
  const order = batchOrder && { ...batchOrder, generator: (isFull && beforeMasks) || batchOrder.generator.words() };
  return { settings: { ...settings }, seeded, count, updates, order, frozen: [...frozen], selected, data: rows, state: arraysOf(wholeStep.state) };
}

// The opposite. Errors if the arrays are not those of the network that the settings name.
function restore({ settings, count, updates, order, frozen, selected, data, state, ...rest }) {
  session.settings = { ...settings };
  session.data = firstData();
  if (data) Object.assign(session.data, { x: data.x.slice(), y: data.y.slice(), rows: data.rows, test: new Set(data.test) });
  buildProgram();
  for (const [name, array] of Object.entries(wholeStep.state)) {
    if (state[name]?.length !== array.length) throw new RangeError(`${name} has other sizes`);
    array.set(state[name]);
  }
  seeded = rest.seeded;
  batchOrder = order && { ...order, generator: Generator.of(order.generator) };
  drawMasks(wholeStep);
  Object.assign(session, { count, updates, selected, row: null, spoiled: null, frozen: new Map(frozen) });
  startHistory();
}

// ---- what can be done

function setWeight(name, index, value) {
  leaveStep();
  wholeStep.state[name][index] = value;
  if (session.frozen.has(`${name}:${index}`)) session.frozen.set(`${name}:${index}`, value);
  showChange();
}

// A frozen weight keeps its value through updates; frozen once more it is free again.
function freeze(name, index) {
  const place = `${name}:${index}`;
  if (!session.frozen.delete(place)) session.frozen.set(place, wholeStep.state[name][index]);
  redraw();
}

function movePoint(row, column, value) {
  session.data.x[row * session.data.features + column] = value;
  showChange();
}

function flipClass(row) {
  session.data.y[row] = (session.data.y[row] + 1) % page.data.classes.length;
  showChange();
}

function addPoint(values, label) {
  leaveStep();
  const { data } = session;
  data.x = Float64Array.from([...data.x, ...values]);
  data.y = Float64Array.from([...data.y, label]);
  data.rows += 1;
  changeRows();
}

function removePoint(row) {
  leaveStep();
  const { data } = session;
  if (trainingRows.length === 1 && trainingRows[0] === row) return fail("The last training row stays: without rows there is nothing to learn from.");
  const width = data.y.length / data.rows;
  data.x = data.x.filter((_, i) => Math.floor(i / data.features) !== row);
  data.y = data.y.filter((_, i) => Math.floor(i / width) !== row);
  data.rows -= 1;
  data.test = new Set([...data.test].filter((other) => other !== row).map((other) => other - (other > row)));
  session.row = null;
  return changeRows();
}

// Other numbers of rows: steps of their own, with the same state. What was the full batch stays it.
function changeRows() {
  const full = session.settings.batch >= trainingRows.length;
  createSteps(wholeStep.state);
  if (full) session.settings.batch = trainingRows.length;
  showChange();
}

function showChange() {
  leaveStep();
  compute();
  redraw();
}

// Other settings. Where a network of other arrays is chosen, or a seed, weights begin anew; else they stay.
function choose(settings) {
  const chosen = { ...session.settings, ...settings }, key = keyOf(chosen), sameNumber = Object.keys(settings).every((name) => ["rate", "batch"].includes(name));
  if (key === null) {
    fail(`This page has no network of ${chosen.activation} and ${chosen.loss} with ${chosen.hidden?.length} hidden layers: choose another combination.`);
    return redraw(); // the controls go back to what is
  }
  const { updates = {} } = page.networks[key], [first] = Object.keys(updates);
  if (first && !Object.hasOwn(updates, chosen.optimizer)) chosen.optimizer = first; // one of the user's own stays with their network
  leaveStep();
  const old = { ...session.settings }, shapes = asText(weightLengths());
  session.settings = chosen;
  if (!sameNumber) buildProgram();
  if ("seed" in settings) seeded = true;
  if ("seed" in settings || asText(weightLengths()) !== shapes) restart();
  else if (chosen.optimizer !== old.optimizer) forgetMemory();
  return showChange();
}

const weightLengths = () => session.network.weights.map(({ name }) => [name, wholeStep.state[name].length]);

// Back to where the page, or the last choice of a network or a seed, began; changed data stay.
function reset() {
  restart();
  redraw();
}
