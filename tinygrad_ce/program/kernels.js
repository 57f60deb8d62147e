// What the loops of a program call where JavaScript has no function for it. Of these, program.javascript puts in those
// that are used, without comments and spaces. Matrices are rows of numbers in C order; a parameter has the name that the Python kernel gives it.

// out = start + a @ b; a turned matrix lies in memory as its transpose. Four rows and two columns at a time: each number
// that is read is used twice or four times. At the edges the last row or column is computed again, to the same values.
function multiply(out, start, a, b, rows, inner, columns, turned_a, turned_b) {
  const down = turned_a ? 1 : inner, right = turned_a ? rows : 1;
  const below = turned_b ? 1 : columns, next = turned_b ? inner : 1;
  for (let i = 0; i < rows; i += 4) {
    const i1 = Math.min(1, rows - 1 - i), i2 = Math.min(2, rows - 1 - i), i3 = Math.min(3, rows - 1 - i);
    const p1 = i1 * down, p2 = i2 * down, p3 = i3 * down, o1 = i1 * columns, o2 = i2 * columns, o3 = i3 * columns;
    for (let j = 0; j < columns; j += 2) {
      const j1 = Math.min(1, columns - 1 - j), k1 = j1 * next;
      let c = start ? start[j] : 0, d = start ? start[j + j1] : 0, e = c, f = d, g = c, h = d, l = c, m = d;
      for (let q = 0, p = i * down, k = j * next; q < inner; q++, p += right, k += below) {
        const u = b[k], v = b[k + k1], w = a[p], x = a[p + p1], y = a[p + p2], z = a[p + p3];
        c += w * u; d += w * v; e += x * u; f += x * v; g += y * u; h += y * v; l += z * u; m += z * v;
      }
      const o = i * columns + j, r = o + j1;
      out[o] = c; out[o + o1] = e; out[o + o2] = g; out[o + o3] = l;
      out[r] = d; out[r + o1] = f; out[r + o2] = h; out[r + o3] = m;
    }
  }
}

// out = the sum of the rows of x.
function add_rows(out, x, rows, columns) {
  for (let j = 0; j < columns; j++) {
    let sum = 0;
    for (let i = 0; i < rows; i++) sum += x[i * columns + j];
    out[j] = sum;
  }
}

// The sum, and what rounding has cost (A. Neumaier, 1974).
function accurate_sum(numbers) {
  let sum = 0, lost = 0;
  for (let i = 0; i < numbers.length; i++) {
    const x = numbers[i], both = sum + x, back = both - sum;
    lost += sum - (both - back) + (x - back);
    sum = both;
  }
  return Math.abs(sum) < Infinity ? sum + lost : sum;
}

// The state of a step: those of its own arrays which another one does not give. A parameter may be called "constructor".
function shared(own, given) {
  for (const name in own) {
    const array = Object.hasOwn(given, name) ? given[name] : own[name], { length } = own[name];
    if (array?.length !== length) throw new RangeError(`state.${name} must have length ${length}`);
    own[name] = array;
  }
  return own;
}

// Sizes are whole numbers from 1.
function checked(sizes) {
  for (const name in sizes) {
    if (!Number.isInteger(sizes[name]) || sizes[name] < 1) throw new RangeError(`${name} ${sizes[name]}`);
  }
}

// A step of two passes with all its arrays by name, and the update of each optimizer after them. Optimizers share arrays
// by name, also what they remember.
function whole_step(step, given, values, factories) {
  const { batch, sizes, inputs, state } = step, updates = {};
  const buffers = { ...inputs, ...state, ...values };
  for (const name in factories) {
    const { memory, update } = factories[name]({ batch, sizes, state: { ...given, ...buffers } });
    Object.assign(state, memory);
    Object.assign(buffers, memory);
    updates[name] = update;
  }
  return { ...step, buffers, updates };
}

// The label of a row; -1 if it is ignored.
function label_of(y, i, classes, ignoring, ignored) {
  const label = y[i];
  if (ignoring && label === ignored) return -1;
  if (label >= 0 && label < classes && label % 1 === 0) return label;
  throw new RangeError(`row ${i} has label ${label} of ${classes} classes`);
}

// Softmax cross-entropy of labels, one weight for all. The largest logit, whose exponential is 1, is kept out of the sum
// of the others, and the gradient of the label's class is taken from the others, where it would cancel.
function xent_panel(z, y, ignoring, ignored, w, upstream, share, loss, slope) {
  const rows = loss.length, classes = z.length / rows;
  for (let i = 0; i < rows; i++) {
    const label = label_of(y, i, classes, ignoring, ignored), from = i * classes, to = from + classes;
    let at = from;
    for (let c = from + 1; c < to; c++) if (z[c] > z[at]) at = c;
    const top = z[at];
    let rest = top - top, own = 1;
    for (let c = from; c < to; c++) {
      const e = c === at ? 1 : exp(z[c] - top, 0);
      if (c !== at) rest += e;
      if (c === from + label) own = e;
      if (slope) slope[c] = e;
    }
    loss[i] = label < 0 ? 0 : w * (top - z[from + label] + Math.log1p(rest));
    if (!slope) continue;
    const factor = (share * upstream[upstream.length > 1 ? i : 0] * w) / (1 + rest);
    for (let c = from; c < to; c++) slope[c] = label < 0 ? 0 : slope[c] * factor;
    if (label >= 0) slope[from + label] = -((rest + (1 - own)) * factor);
  }
  return accurate_sum(loss);
}

// Softmax cross-entropy of labels with a weight for each class and smoothing.
function xent_rows(z, y, ignoring, ignored, w, smoothing, upstream, share, loss, slope) {
  const classes = w.length, target = new Float64Array(classes);
  for (let i = 0; i < loss.length; i++) {
    const label = label_of(y, i, classes, ignoring, ignored);
    for (let c = 0; c < classes; c++) target[c] = label < 0 ? 0 : (smoothing / classes) * w[c];
    if (label >= 0) target[label] += w[label] - smoothing * w[label];
    soft_row(z, i, target, share * upstream[upstream.length > 1 ? i : 0], loss, slope);
  }
}

// Softmax cross-entropy of soft targets.
function soft_xent_rows(z, q, w, smoothing, upstream, share, loss, slope) {
  const classes = w.length, target = new Float64Array(classes);
  for (let i = 0; i < loss.length; i++) {
    for (let c = 0; c < classes; c++) target[c] = ((1 - smoothing) * q[i * classes + c] + smoothing / classes) * w[c];
    soft_row(z, i, target, share * upstream[upstream.length > 1 ? i : 0], loss, slope);
  }
}

// One row of it: the loss, and g (mass p - target). Both are taken from the other classes for the one that has most.
function soft_row(z, i, target, g, loss, slope) {
  const classes = target.length, from = i * classes;
  let big = 0, at = 0, others = 0, rest = 0, gaps = 0;
  for (let c = 1; c < classes; c++) {
    if (target[c] > target[big]) big = c;
    if (z[from + c] > z[from + at]) at = c;
  }
  const top = z[from + at];
  for (let c = 0; c < classes; c++) {
    if (c !== big) others += target[c];
    if (c !== at) rest += exp(z[from + c] - top, 0);
    if (target[c] !== 0) gaps += target[c] * (top - z[from + c]);
  }
  rest += top - top;
  const mass = others + target[big];
  loss[i] = mass === 0 ? 0 : gaps + mass * Math.log1p(rest);
  for (let c = 0; slope && c < classes; c++) {
    const t = target[c], e = c === at ? 1 : exp(z[from + c] - top, 0);
    const most = c === big && 2 * t > mass;
    const d = most ? others - (mass * (rest + (1 - e))) / (1 + rest) : (mass * e) / (1 + rest) - t;
    slope[from + c] = mass === 0 ? 0 : g * d;
  }
}

// Sigmoid cross-entropy of each element; `sums` gets the sum of all.
function sigmoid_xent_blocks(z, y, w, weight, upstream, loss, slope, share, sums) {
  let sum = 0;
  for (let i = 0; i < z.length; i++) {
    const x = z[i], positive = w[i % w.length] * y[i], negative = 1 - y[i], by = weight[i % weight.length];
    const e = exp(-Math.abs(x), 0), rest = Math.log1p(e), large = 1 / (1 + e), small = e * large;
    const left = negative === 0 ? 0 : negative * (Math.max(x, 0) + rest);
    const right = positive === 0 ? 0 : positive * (Math.max(-x, 0) + rest);
    const counts = by * (positive + negative) !== 0, each = counts ? by * (left + right) : 0;
    const d = negative * (x >= 0 ? large : small) - positive * (x >= 0 ? small : large);
    sum += each;
    if (loss) loss[i] = each;
    if (slope) slope[i] = counts ? upstream[upstream.length > 1 ? i : 0] * share * (by * d) : 0;
  }
  sums[0] = sum;
}

// exp(x) - less, where less is 0 or 1, to the last digit: what the engines have takes twice as long. With x = k log(2) + r
// and t = r r it is 2**k (1 + r + r c / (2 - c)) (fdlibm, e_exp.c; the number that is added and taken away rounds k).
const POWERS = Float64Array.from({ length: 2046 }, (_, k) => 2 ** (k - 1022));
function exp(x, less) {
  if (!(Math.abs(x) < 700)) return Math.exp(x) - less;
  const k = x * Math.LOG2E + 6755399441055744 - 6755399441055744, power = POWERS[(k | 0) + 1022];
  const r = x - k * 0.6931471803691238 - k * 1.9082149292705877e-10, t = r * r;
  const c = r - t * (0.16666666666666602 + t * (-0.0027777777777015593 + t * (6.613756321437934e-5
    + t * (-1.6533902205465252e-6 + t * 4.1381367970572385e-8))));
  return power * (r + (r * c) / (2 - c)) + (power - less);
}

// From exp(2 x) - 1, which has all digits near 0.
function tanh(x) {
  const e = exp(x > 20 ? 40 : x < -20 ? -40 : 2 * x, 1);
  return e / (e + 2);
}

// The series of positive terms, and where it has many of them one minus erfc (Abramowitz and Stegun, 7.1.6).
function erf(x) {
  if (Math.abs(x) > 2) return Math.sign(x) * (1 - erfc(Math.abs(x)));
  let term = x, sum = x;
  for (let n = 1; n < 60; n++) sum += term *= (2 * x * x) / (2 * n + 1);
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
}

// The continued fraction, and for small x one minus erf (Abramowitz and Stegun, 7.1.14).
function erfc(x) {
  if (!(x > 1)) return x < -2 ? 2 - erfc(-x) : 1 - erf(x);
  if (x > 28) return 0;
  let below = x;
  for (let n = 200; n > 0; n--) below = x + n / 2 / below;
  // The square of h is exact.
  const h = Math.fround(x);
  return (Math.exp(-h * h) * Math.exp((h - x) * (h + x))) / (Math.sqrt(Math.PI) * below);
}

// x ** y as in NumPy: 1 ** NaN and (-1) ** Infinity are 1.
function power(x, y) {
  return x === 1 || (x === -1 && Math.abs(y) === Infinity) ? 1 : x ** y;
}

// log(exp(x) + exp(y)).
function logaddexp(x, y) {
  return x === y ? x + Math.LN2 : Math.max(x, y) + Math.log1p(Math.exp(-Math.abs(x - y)));
}

// The nearest integer, the even one of two.
function rint(x) {
  const low = Math.floor(x), over = x - low;
  return over < 0.5 || (over === 0.5 && low % 2 === 0) ? low : low === x ? x : low + 1;
}

// out[i, j, k] = the sum (or product) of x[i, :j + 1, k], for arrays of shape (before, n, after) as one row.
function accumulate(out, x, before, n, after, is_product) {
  for (let i = 0; i < before; i++) {
    for (let j = 0; j < n; j++) {
      for (let k = 0; k < after; k++) {
        const at = (i * n + j) * after + k;
        out[at] = j === 0 ? x[at] : is_product ? out[at - after] * x[at] : out[at - after] + x[at];
      }
    }
  }
}

// out[i, :, k] = the order that sorts x[i, :, k]; equal elements stay in theirs, and NaN comes last.
function argsort(out, x, before, n, after) {
  for (let i = 0; i < before; i++) {
    for (let k = 0; k < after; k++) {
      const at = (j) => (i * n + j) * after + k;
      const order = Array.from({ length: n }, (_, j) => j).sort((a, b) => {
        const u = x[at(a)], v = x[at(b)];
        return u < v || (u === u && v !== v) ? -1 : u > v || (u !== u && v === v) ? 1 : a - b;
      });
      for (let j = 0; j < n; j++) out[at(j)] = order[j];
    }
  }
}

// a - b * floor(a / b), which has the sign of b.
function remainder_floats(a, b) {
  const rest = a % b;
  if (b === 0 || rest !== rest) return rest;
  if (rest === 0) return b < 0 ? -0 : 0;
  return b < 0 !== rest < 0 ? rest + b : rest;
}

// floor(a / b), without the rounding of a / b.
function floor_divide_floats(a, b) {
  if (b === 0) return a / b;
  const rest = a % b, quotient = (a - rest) / b - (rest !== 0 && b < 0 !== rest < 0 ? 1 : 0);
  if (quotient === 0) return Math.sign(1 / (a / b)) * 0;
  const whole = Math.abs(quotient) < 1e15 ? Math.floor(quotient) : quotient;
  return quotient - whole > 0.5 ? whole + 1 : whole;
}

// As for NumPy's integers: 0 where b is 0.
function remainder_integers(a, b) {
  return b === 0 ? 0 : a - b * Math.floor(a / b);
}

function floor_divide_integers(a, b) {
  return b === 0 ? 0 : Math.floor(a / b);
}

function power_integers(base, exponent) {
  if (exponent < 0) throw new RangeError("integers to negative integer powers are not allowed");
  return base ** exponent;
}
