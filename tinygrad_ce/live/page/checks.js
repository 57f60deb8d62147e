// What a moment's check measures, and the check itself: a tree that live/checks.py made of Python text.

const shareOf = (figure) => Math.max(0, ...audited().rows.map((row) => (row[figure] ?? 0) / 100));
const largestOf = (numbers) => Math.max(0, ...numbers);
const flatIndex = (name, index) => index.reduce((sum, i, axis) => (axis ? sum * lengthOf(session.network.shapes[name][axis]) : 0) + i, 0);
const slopesOf = (name) => session.step.buffers[`d_${name}`];

function testFigures() {
  const rows = [...session.data.test];
  return rows.length ? measured(evaluate(...rowsOf(rows)), rows) : [NaN, NaN];
}

const MEASURES = {
  loss: () => session.step.outputs.loss[0],
  test_loss: () => testFigures()[0],
  best_test_loss: () => (session.data.test.size ? Math.min(...session.history.test) : NaN),
  accuracy: () => measured(session.step.buffers, session.rows)[1] ?? NaN,
  test_accuracy: () => testFigures()[1] ?? NaN,
  steps: () => session.count,
  lines: () => moments.lines,
  rate: () => session.settings.rate,
  rows: () => session.rows.length,
  state: () => moments.state + 1,
  change: () => session.step.outputs.loss[0] - moments.start.loss,
  foretold: () => sumOfMoves((slope, move) => slope * move).reduce((a, b) => a + b, 0),
  moved: () => largestOf(sumOfMoves((slope, move) => Math.abs(move))),
  gradient: () => (session.selected ? slopesOf(session.selected.name)[session.selected.index] : NaN),
  pull: () => (session.row === null || !session.selected ? NaN : pullOf(session.row)?.(session.selected.name)[session.selected.index] ?? NaN),
  saturated: () => shareOf("saturated"),
  dead: () => shareOf("dead"),
  first_to_last: () => Math.hypot(...slopesOf(session.network.weights[0].name)) / Math.hypot(...slopesOf(session.network.weights.at(-1).name)),
};

const sumOfMoves = (term) => Object.entries(moments.start.slopes).flatMap(([name, slopes]) => Array.from(slopes, (slope, i) => term(slope, session.step.state[name][i] - moments.start.state[name][i])));

const OPERATIONS = {
  "+": (a, b) => a + b, "-": (a, b) => a - b, "*": (a, b) => a * b, "/": (a, b) => a / b, "**": (a, b) => a ** b,
  "<": (a, b) => a < b, "<=": (a, b) => a <= b, ">": (a, b) => a > b, ">=": (a, b) => a >= b, "==": (a, b) => a === b, "!=": (a, b) => a !== b,
  abs: Math.abs, log: Math.log, min: Math.min, max: Math.max,
};
const OF_AN_ARRAY = {
  weight: (name, ...index) => session.step.state[name]?.[flatIndex(name, index)] ?? NaN,
  grad: (name, ...index) => slopesOf(name)?.[flatIndex(name, index)] ?? NaN,
  weight_norm: (name) => Math.hypot(...(session.step.state[name] ?? [NaN])),
  grad_norm: (name) => Math.hypot(...(slopesOf(name) ?? [NaN])),
};

function numberOf(tree) {
  if (typeof tree === "number") return tree;
  const [name, ...parts] = tree;
  if (Object.hasOwn(OF_AN_ARRAY, name)) return OF_AN_ARRAY[name](...parts);
  return parts.length ? OPERATIONS[name](...parts.map(numberOf)) : MEASURES[name]();
}

// What is missing before a condition holds, in words with its numbers; null if it holds.
function missing([sign, ...parts]) {
  if (sign === "and" || sign === "or") {
    const open = parts.map(missing), first = open.find((words) => words !== null) ?? null;
    return sign === "or" && open.includes(null) ? null : first;
  }
  if (sign === "not") return missing(parts[1]) === null ? `${parts[0]} holds, and should not` : null;
  const [words, needed, left, right] = parts, value = numberOf(left), bound = numberOf(right);
  if (OPERATIONS[sign](value, bound)) return null;
  return `${words} is ${inWords(value)}, and should be ${needed} ${inWords(bound)}`;
}

const inWords = (number) => (Number.isNaN(number) ? "nothing yet" : written(number, 3));

// A moment's sentence with the numbers of the measures that it names in braces, such as {loss}.
const withMeasures = (text) => text.replace(/\{(\w+)\}/g, (all, name) => (Object.hasOwn(MEASURES, name) ? inWords(MEASURES[name]()) : all));

// What a moment's check, a list of conditions, still lacks: in the moment's own words where it has some.
function lacking({ check, not_yet: sentences }) {
  const open = check.findIndex((condition) => missing(condition) !== null);
  if (open < 0) return null;
  return sentences[open] ? withMeasures(sentences[open]) : missing(check[open]);
}
