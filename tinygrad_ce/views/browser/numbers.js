"use strict";
// Arrays as Python sends them, and numbers as text as Python writes them.

function unpacked(packed) {
  const bytes = Uint8Array.from(atob(packed.data), (c) => c.charCodeAt(0));
  const kinds = { f8: Float64Array, f4: Float32Array, i4: Int32Array, u1: Uint8Array };
  return { shape: packed.shape, numbers: new kinds[packed.kind](bytes.buffer), truth: packed.truth };
}

// ---- numbers as text, as Python's format(x, ".4g") writes them

function written(value, digits, truth) {
  if (truth) return value ? "True" : "False";
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  if (value === 0) return "0";
  const [mantissa, exponent] = rounded(value, digits).split("e");
  const power = Number(exponent);
  if (power < -4 || power >= digits) {
    const short = mantissa.includes(".") ? mantissa.replace(/0+$/, "").replace(/\.$/, "") : mantissa;
    return `${short}e${power < 0 ? "-" : "+"}${String(Math.abs(power)).padStart(2, "0")}`;
  }
  const fixed = Number(`${mantissa}e${exponent}`).toFixed(Math.max(digits - 1 - power, 0));
  return fixed.includes(".") ? fixed.replace(/0+$/, "").replace(/\.$/, "") : fixed;
}

function rounded(value, digits) { // half way between two it is the even one, as in Python; JavaScript takes the larger
  const [exact, exponent] = value.toExponential(60).split("e");
  const kept = exact.slice(0, exact.indexOf(".") + digits), rest = exact.slice(exact.indexOf(".") + digits);
  return /^50*$/.test(rest) && "02468".includes(kept.at(-1)) ? `${kept}e${exponent}` : value.toExponential(digits - 1);
}

function rangeOf(array) {
  let low = Infinity, high = -Infinity, spoiled = 0;
  for (const x of array.numbers) {
    if (!Number.isFinite(x)) spoiled += 1;
    else { low = Math.min(low, x); high = Math.max(high, x); }
  }
  if (spoiled === array.numbers.length) return "nothing finite";
  const [first, last] = [low, high].map((end) => written(end, 3, array.truth));
  return `${low < high ? `${first} … ${last}` : `all ${first}`}${spoiled ? `, ${spoiled} not finite` : ""}`;
}

const number = (array, position, digits = 4) => written(array.numbers[position], digits, array.truth);

function indexOf(shape, position) {
  const index = [];
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    index.unshift(position % shape[axis]);
    position = Math.floor(position / shape[axis]);
  }
  return index;
}

// a caption of an array: its name, and its shape as Python writes it
const captioned = (name, array) => name + (array.shape.length ? ` (${array.shape.join(", ")}${array.shape.length === 1 ? "," : ""})` : "");
const cellName = (name, shape, position) => (shape.length ? `${name}[${indexOf(shape, position).join(", ")}]` : name);
