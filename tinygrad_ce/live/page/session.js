// The session: data, settings, the network with its numbers, and everything that can be done to them. Views read it,
// and are drawn anew after each change; nothing else changes numbers.

const page = JSON.parse(document.getElementById("page-data").textContent);
const at = (id) => document.getElementById(id);

const session = {
  settings: { ...page.settings },
  network: null, // of page.networks, the one that runs
  data: null, // { x, y, rows, features, test: Set }: arrays that may be changed in place
  step: null, // of createStep, for all training rows: its buffers are what the views show
  count: 0, // training steps so far
  history: { train: [], test: [] },
  line: null, // inside a step: the number of the line that was just computed
  selected: null, // { name, index }: the weight that is looked at
  row: null, // the row of the data that is pointed at
  frozen: new Map(), // "W0:3" -> the value that it keeps
};

const views = []; // { draw() } of each panel
function redraw() { for (const view of views) view.draw(); }

function begin() {
  session.network = page.networks[page.own];
  const x = unpacked(page.data.x), y = unpacked(page.data.y);
  session.data = { x: Float64Array.from(x.numbers), y: Float64Array.from(y.numbers), rows: x.shape[0], features: x.shape[1] };
  session.step = PROGRAMS[page.own]({ batch: session.data.rows });
  for (const [name, array] of Object.entries(page.state)) session.step.state[name].set(unpacked(array).numbers);
  compute();
}

// Forward and backward on all training rows, without an update: after it every number on the page is right.
function compute() {
  session.step.inputs.x.set(session.data.x);
  session.step.inputs.y.set(session.data.y);
  session.step.forward();
  session.step.backward();
}

function trainStep() {
  session.step.update({ lr: session.settings.rate, t: session.count + 1 });
  session.count += 1;
  session.history.train.push(session.step.outputs.loss[0]);
  compute();
}
