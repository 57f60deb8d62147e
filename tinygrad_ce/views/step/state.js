// The numbers of the page: one program computes them all from the leaves, another one the optimizer's update.
// Names that are written from right to left stay where they stand among signs and numbers.
const RIGHT_TO_LEFT = /[\p{L}\p{N}_]*[\u0590-\u08ff][\p{L}\p{N}_]*/gu;
const isolated = (text) => text.replace(RIGHT_TO_LEFT, "\u2068$&\u2069");
const data = JSON.parse(document.getElementById("data").textContent, (_, value) => (typeof value === "string" ? isolated(value) : value));
const at = (id) => document.getElementById(id);
const nodes = data.nodes, edges = data.edges, steps = data.steps;
const pass = data.recorded ? null : PROGRAMS.pass(); // without it the numbers are those that Python has recorded
const rule = pass && data.update ? PROGRAMS.update() : null;
const hasRate = rule !== null && "lr" in data.update.numbers; // an optimizer of one's own may use no learning rate
const arrays = data.arrays.map(({ name, ...packed }, index) => {
  if (!pass || packed.data) packed = unpacked(packed);
  const numbers = pass ? pass.inputs[name] ?? pass.outputs[name] : packed.numbers;
  if (numbers !== packed.numbers && packed.numbers) numbers.set(packed.numbers);
  return { ...packed, numbers, index };
});
const leaves = nodes.map((_, n) => n).filter((n) => nodes[n].kind !== "result");
const valueOf = (n) => arrays[nodes[n].value], gradientOf = (n) => arrays[nodes[n].gradient];
const lossNow = () => valueOf(data.loss).numbers[0];

let memory = rule ? data.update.memory.map(unpacked).map((array) => array.numbers) : []; // the optimizer's
let trained = 0; // steps of the training that have been taken
let rate = null; // the learning rate, if it was set by hand
let base = null; // the numbers from before the changes that are being tried

// What is there now: leaves, the optimizer's memory, and what the gradient foretells from here.
function snapshot() {
  return {
    leaves: leaves.map((n) => valueOf(n).numbers.slice()),
    memory: memory.map((numbers) => numbers.slice()),
    trained,
    loss: lossNow(),
    gradients: leaves.map((n) => (nodes[n].gradient === null ? null : gradientOf(n).numbers.slice())),
  };
}

function restore(earlier) {
  leaves.forEach((n, k) => valueOf(n).numbers.set(earlier.leaves[k]));
  memory = earlier.memory.map((numbers) => numbers.slice());
  trained = earlier.trained;
  compute();
  base = snapshot();
}

// Everything anew, from the leaves; RangeError for a label or index out of its range.
function compute() {
  if (!pass) return;
  pass.forward();
  pass.backward();
  if (rule) computeUpdate();
}

function computeUpdate() {
  data.update.parameters.forEach(({ node }, k) => {
    rule.state[`p${k}`].set(valueOf(node).numbers);
    rule.state[`g${k}`].set(gradientOf(node).numbers);
  });
  memory.forEach((numbers, k) => rule.state[`m${k}`].set(numbers));
  rule.forward();
  rule.backward();
  rule.update(Object.fromEntries(Object.keys(data.update.numbers).map((name) => [name, numberOfStep(name)])));
}

// A number that each update gets: the learning rate, or how many updates there will have been.
function numberOfStep(name) {
  if (name === "lr" && rate !== null) return rate;
  const { first, by, values } = data.update.numbers[name];
  return values ? values[Math.min(trained, values.length - 1)] : first + by * trained;
}

const updated = (k) => ({ shape: valueOf(data.update.parameters[k].node).shape, numbers: rule.state[`p${k}`], truth: false });

function trainStep() {
  data.update.parameters.forEach(({ node }, k) => valueOf(node).numbers.set(rule.state[`p${k}`]));
  memory = memory.map((_, k) => rule.state[`m${k}`].slice());
  trained += 1;
  compute();
  base = snapshot();
}

// Give one number of a leaf another value, and compute; in words why not, if it cannot be.
function changeNumber(node, position, text) {
  const { numbers, truth } = valueOf(node), before = numbers[position], value = numberIn(text, truth);
  if (value === null) return `“${text.trim().slice(0, 20)}” is no number${truth ? ": write 0 or 1" : ""}; nothing was changed`;
  if (nodes[node].integer && !Number.isInteger(value)) return `${nodes[node].name} holds whole numbers; nothing was changed`;
  numbers[position] = value;
  try {
    compute();
  } catch (error) {
    numbers[position] = before;
    compute();
    return `${error.message}; nothing was changed`;
  }
  return "";
}

function numberIn(text, truth) {
  const word = text.trim().toLowerCase().replace("−", "-").replace(",", ".");
  const words = { nan: NaN, inf: Infinity, "+inf": Infinity, "-inf": -Infinity, true: 1, false: 0 };
  const value = word in words ? words[word] : Number(word);
  if (word === "" || (Number.isNaN(value) && word !== "nan") || (truth && value !== 0 && value !== 1)) return null;
  return value;
}

// The numbers that differ from before: how many, and by how much their gradients say that the loss changes.
function changes() {
  let count = 0, foretold = 0, unknown = 0;
  leaves.forEach((n, k) => valueOf(n).numbers.forEach((x, i) => {
    const before = base.leaves[k][i];
    if (Object.is(x, before) || x === before) return;
    count += 1;
    if (base.gradients[k]) foretold += base.gradients[k][i] * (x - before);
    else unknown += 1;
  }));
  return { count, foretold, unknown };
}

const isOriginal = () => trained === 0 && changes().count === 0;

// Where a number that is not finite was born: the first step whose result has one, and whose operands have none.
function spoiledStep() {
  const isSpoiled = (array) => array.numbers.some((x) => !Number.isFinite(x));
  return steps.findIndex((step) => {
    if (step.phase === "forward") return isSpoiled(valueOf(step.node));
    return step.edge !== undefined && isSpoiled(arrays[edges[step.edge].share]);
  });
}

compute();
base = snapshot();
const original = snapshot();
