// What if: a number of a leaf is typed or dragged, and the story is computed anew; the steps of a training.

const signed = (x) => (x > 0 ? "+" : "") + written(x, 3, false);
let leaf = data.path.find(([n]) => leaves.includes(n))?.[0] ?? leaves[0]; // whose number can be changed

function chooseLeaf(n, position) {
  leaf = n;
  choose(n, position);
  at("value").focus();
  at("value").select();
}

// The fields show the number that is followed, and what has become of the loss.
function showChanges() {
  const array = valueOf(leaf), position = cells.get(leaf), changed = changes();
  at("leaf").value = String(leaf);
  at("place").value = indexOf(array.shape, position).join(", ");
  at("place").parentElement.hidden = !array.shape.length;
  if (document.activeElement !== at("value")) at("value").value = array.numbers.length ? number(array, position, 6) : "";
  if (document.activeElement !== at("drag")) {
    const value = array.numbers[position] || 0, reach = Math.max(1, 2 * Math.abs(value));
    [at("drag").min, at("drag").max, at("drag").value] = Number.isFinite(value) ? [value - reach, value + reach, value].map(String) : ["-1", "1", "0"];
  }
  at("drag").disabled = nodes[leaf].integer || array.truth;
  at("difference").textContent = changed.count ? difference(changed) : "";
  at("original").disabled = isOriginal();
  at("trained").textContent = `${trained} ${trained === 1 ? "step" : "steps"} taken`;
  if (hasRate && document.activeElement !== at("rate")) at("rate").value = written(numberOfStep("lr"), 6, false);
}

function difference({ count, foretold, unknown }) {
  const loss = nodes[data.loss].name, many = count > 1 ? `${count} numbers changed: ` : "";
  const known = unknown < count ? `; the gradient foretold ${signed(foretold)} (gradient × change)` : "";
  const rest = unknown ? "; no gradient is computed for data, so it foretells nothing there" : "";
  return `${many}${loss} ${written(base.loss, 4)} → ${written(lossNow(), 4)}: ${signed(lossNow() - base.loss)}${known}${rest}`;
}

function tryNumber(text) {
  at("wrong").textContent = changeNumber(leaf, cells.get(leaf), text);
  repaint();
  show();
}

function tryPlace(text) {
  const { shape } = valueOf(leaf), index = text.split(",").map((part) => (part.trim() === "" ? NaN : Number(part)));
  const fits = index.length === shape.length && index.every((i, axis) => Number.isInteger(i) && i >= 0 && i < shape[axis]);
  at("wrong").textContent = fits ? "" : `${nodes[leaf].name} has shape (${shape.join(", ")}): write a place in it, counted from 0`;
  if (fits) choose(leaf, index.reduce((sum, i, axis) => sum * shape[axis] + i, 0));
}

function tryRate(text) {
  const value = numberIn(text, false);
  at("wrong").textContent = value === null ? `“${text.trim().slice(0, 20)}” is no learning rate: write a number, such as 0.1` : "";
  if (value === null) return;
  rate = value;
  restoreNothing();
}

function restoreNothing() { // the same numbers, and another update of them
  compute();
  repaint();
  show();
}

function backToOriginal() {
  rate = null;
  restore(original);
  at("wrong").textContent = "";
  document.activeElement?.blur?.();
  repaint();
  show();
}

function nextTrainStep() {
  if (!rule) return;
  trainStep();
  repaint();
  go(0);
}

for (const n of pass ? leaves : []) {
  const option = element("option", nodes[n].name);
  option.value = String(n);
  at("leaf").append(option);
}
at("leaf").addEventListener("change", () => { leaf = Number(at("leaf").value); at("wrong").textContent = ""; show(); });
at("value").addEventListener("change", () => tryNumber(at("value").value));
at("drag").addEventListener("input", () => tryNumber(at("drag").value));
at("place").addEventListener("change", () => tryPlace(at("place").value));
at("rate").addEventListener("change", () => tryRate(at("rate").value));
at("original").addEventListener("click", backToOriginal);
at("train").addEventListener("click", nextTrainStep);
at("numbers").hidden = !pass;
at("training").hidden = !rule;
at("rate").parentElement.hidden = !hasRate;
at("why").textContent = data.recorded || data.untrained;
