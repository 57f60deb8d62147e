// One neuron, looked into: a large picture, and its sum with the numbers of one row, in which each weight can be typed.

const NUMBERS = { least: -1e6, most: 1e6 }; // that may be typed for a weight, or for a number of the data
const inner = { column: null, neuron: null, row: 0, picture: null, fields: [], back: null };

function lookInto(column, neuron) {
  const one = drawing.columns[column].find((shown) => shown.neuron === neuron);
  Object.assign(inner, { column, neuron, back: one.button });
  const canvas = element("canvas", { width: one.canvas.width, height: one.canvas.height, class: `large ${one.canvas.className}` });
  const summed = weightsInto(column) !== undefined;
  inner.picture = canvas;
  at("neuron-panel").replaceChildren(
    element("button", { id: "neuron-back", type: "button", click: leaveNeuron }, "← the network"),
    element("div", { class: "head" }, canvas, element("div", {}, element("h3", {}, one.name), element("p", { class: "soft" }, pictureWords(column)),
      ...(summed ? [element("p", { id: "neuron-row" }), element("p", { id: "neuron-sum" })] : []))),
    ...(summed ? [incomingTable(column, neuron)] : []));
  at("neuron-panel").hidden = false;
  for (const id of ["neurons", "folds"]) at(id).hidden = true;
  redraw();
  at("neuron-back").focus();
}

function leaveNeuron() {
  inner.column = null;
  at("neuron-panel").hidden = true;
  for (const id of ["neurons", "folds"]) at(id).hidden = false;
  redraw();
  inner.back.focus();
}

function pictureWords(column) {
  if (plane.buffers) return "Where in the plane it is above zero (orange) and below (blue).";
  if (isPicture(column)) return "The picture that goes in; without a row pointed at, the mean of all.";
  return weightsInto(column)?.from === 0 ? "Its weights, one for each input: orange above zero, blue below." : page.data.classes.length ? "Its mean over the rows of each class." : "Its mean over the rows with the smallest, the middle and the largest numbers.";
}

// The bias and each weight in a row of their own: name, the number as a field, the input that it meets, their product.
function incomingTable(column, neuron) {
  const { name, bias, from } = weightsInto(column), size = neuronsOf(column);
  const inputs = Array.from({ length: neuronsOf(from) }, (_, k) => ({ name, index: k * size + neuron, shape: [neuronsOf(from), size], source: k }));
  const all = bias ? [{ name: bias, index: neuron, shape: [size], source: null }, ...inputs] : inputs;
  inner.fields = all.map((weight) => {
    const text = cellName(weight.name, weight.shape, weight.index);
    const one = { ...weight, input: element("td"), product: element("td"), word: element("span", { class: "wrong", role: "alert" }) };
    one.field = element("input", { type: "text", inputmode: "decimal", size: 9, "aria-label": text, change: () => typed(one) });
    one.tr = element("tr", {}, element("th", { scope: "row" }, text), element("td", {}, one.field, one.word), one.input, one.product);
    return one;
  });
  const head = element("tr", {}, ...["weight", "value", "× input", "= product"].map((words) => element("th", { scope: "col" }, words)));
  return element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "incoming weights" }, element("table", {}, element("thead", {}, head), element("tbody", {}, ...inner.fields.map((one) => one.tr))));
}

function typed(one) {
  const value = typedNumber(one.field.value, NUMBERS), isWrong = typeof value === "string";
  say(one.word, isWrong ? value : "");
  change(one.field, { "aria-invalid": isWrong });
  if (!isWrong) setWeight(one.name, one.index, value);
}

function drawSum() {
  const { from } = weightsInto(inner.column), buffers = answerOf(inner.row), { columns } = answering();
  const inputs = buffers[columns[from].buffer], answer = buffers[columns[inner.column].buffer][inner.neuron];
  let sum = 0;
  for (const one of inner.fields) {
    const weight = session.step.state[one.name][one.index], factor = one.source === null ? 1 : inputs[one.source];
    sum += weight * factor;
    if (document.activeElement !== one.field && !one.word.textContent) one.field.value = written(weight, 4);
    say(one.input, one.source === null ? "" : `${neuronName(from, one.source)} = ${written(factor, 4)}`);
    say(one.product, written(weight * factor, 4));
  }
  const name = `${columnAt(inner.column).buffer}[${inner.neuron}]`, same = Math.abs(answer - sum) <= 1e-9 * Math.max(1, Math.abs(sum));
  say(at("neuron-row"), `With the numbers of row ${inner.row}. Point at another row of the data to see that one.`);
  say(at("neuron-sum"), `The products add up to ${written(sum, 4)}` + (same ? ", which is what it answers." : `; after the activation ${name} = ${written(answer, 4)}.`));
}

at("network-panel").append(element("div", { id: "neuron-panel", hidden: "" }));
at("neuron-panel").addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  event.stopPropagation();
  leaveNeuron();
});

views.push({
  draw() {
    if (inner.column === null) return;
    if (!inner.back.isConnected) { // another network, built anew
      inner.back = drawing.columns[0][0].button;
      return leaveNeuron();
    }
    inner.row = session.row ?? Math.min(inner.row, session.data.rows - 1);
    neuronPainter(inner.column, null)(inner.picture, inner.neuron);
    if (weightsInto(inner.column)) drawSum();
  },
});
