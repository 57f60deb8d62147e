// Panel: one weight, what its gradient is made of row by row, the same as a finite difference, and what the update will do.

// (L(w + h) - L(w - h)) / 2h of a parameter, by two forward passes; every number is put back.
function finiteDifference(name, index) {
  const { state, outputs } = session.step, before = arraysOf(state), w = state[name][index];
  const h = 1e-5 * Math.max(1, Math.abs(w));
  const lossAt = (value) => {
    setArrays(state, before);
    state[name][index] = value;
    session.step.forward();
    return outputs.loss[0];
  };
  const above = lossAt(w + h), below = lossAt(w - h);
  setArrays(state, before);
  session.step.forward();
  session.step.backward();
  return { h, above, below, slope: (above - below) / (w + h - (w - h)) };
}

// The terms of the sum behind a parameter's gradient, one a row of the batch: [{ row, term, factors }], null if unknown.
function termsOf(name, index) {
  const line = printed.lineOf(`d_${name}`), part = line < 0 ? null : printed.formulaOf(line);
  if (part?.sign !== "sum") return null;
  const terms = part.inner(index);
  return terms.length !== session.rows.length ? null : terms.map(([x, k], n) => ({ row: session.rows[n], term: x.value(k), factors: x.inner(k).map(([y, cell]) => y.value(cell)) }));
}

{
  const MOST = 3;
  const panel = at("edge-panel"), hint = element("p", { class: "soft" }, "Choose a weight: press an edge of the network."), body = element("div");
  panel.append(hint, body);
  let key = "", slots = null, refreshed = [], checked = null; // checked: the gradient that the finite difference stands beside

  const selected = () => (session.selected && Object.hasOwn(session.step.state, session.selected.name) ? session.selected : null);

  function build({ name, index }) {
    refreshed = [];
    const title = cellName(name, printed.shapeIn(name), index);
    const field = element("input", { type: "text", inputmode: "decimal", id: "edge-value", "aria-describedby": "edge-word", change: setValue });
    const word = element("span", { id: "edge-word", class: "word-beside", role: "status" });
    const rows = Array.from({ length: MOST + 1 }, () => {
      const button = element("button", { type: "button", class: "term" });
      const point = () => { if (button.dataset.row) { session.row = Number(button.dataset.row); redraw(); } };
      for (const event of ["click", "focus"]) button.addEventListener(event, point);
      return button;
    });
    const more = element("p", { class: "soft" }), sum = element("p"), difference = element("p", { role: "status" });
    const check = element("button", { type: "button", click: () => { checked = printed.numbers(`d_${name}`)?.[index]; say(difference, differenceWords(name, index, checked)); } }, "check it by a finite difference");
    const coming = element("p");
    body.replaceChildren(
      element("p", {}, element("strong", {}, title), ` ${wordsOf(name, index)}`),
      element("p", {}, element("label", { for: "edge-value" }, "value "), field, " ", word),
      element("h3", {}, "Its gradient ", badge("backward")), sum, ...rows.slice(0, MOST), more, rows[MOST],
      check, difference,
      element("h3", {}, "The next ", badge("update")), coming, ...updateFormulas(name, index),
    );
    slots = { field, word, rows, more, sum, difference, coming };

    function setValue() {
      const value = typedNumber(field.value, NUMBERS), isWrong = typeof value === "string";
      say(word, isWrong ? value : "");
      change(field, { "aria-invalid": isWrong });
      if (!isWrong) setWeight(name, index, value);
    }
  }

  // From which neuron to which, in words.
  function wordsOf(name, index) {
    const weight = session.network.weights.find((other) => other.name === name), bias = session.network.weights.find((other) => other.bias === name);
    if (bias) return `the bias of ${neuronName(bias.to, index)}`;
    if (!weight) return "";
    const [from, to] = indexOf(printed.shapeIn(name), index);
    return `the weight from ${neuronName(weight.from, from)} to ${neuronName(weight.to, to)}`;
  }

  // What the optimizer computes for this weight, as its printed lines with their numbers.
  function updateFormulas(name, index) {
    const line = session.network.lines.findIndex(({ text, phase }) => phase === "update" && printed.sidesOf(text).targets[0] === name);
    if (line < 0) return [];
    const part = printed.formulaOf(line);
    if (part) return [cellFormula(name, part, index, null, refreshed)];
    return (printed.bodyOf(line) ?? []).map(({ target, part: inner }) => (inner ? cellFormula(target, inner, inner.shape.length ? index : 0, null, refreshed) : ""));
  }

  function differenceWords(name, index, gradient) {
    const { h, above, below, slope } = finiteDifference(name, index);
    return `(L(w + h) - L(w - h)) / 2h = (${written(above, 10)} - ${written(below, 10)}) / ${written(2 * h, 4)} = ${written(slope, 6)}, with h = ${written(h, 4)}; the gradient is ${gradient === undefined ? 0 : written(gradient, 6)}.`;
  }

  views.push({
    draw() {
      const edge = selected();
      hint.hidden = edge !== null;
      body.hidden = edge === null;
      if (!edge) return;
      const { name, index } = edge, now = `${name}:${index}:${session.settings.optimizer}`;
      if (now !== key || body.network !== session.step) build(edge);
      [key, body.network] = [now, session.step];
      const { state } = session.step, gradient = printed.numbers(`d_${name}`)?.[index];
      if (document.activeElement !== slots.field) slots.field.value = written(state[name][index], 6);
      if (checked !== gradient) say(slots.difference, "");
      drawTerms(name, index, gradient);
      const after = printed.afterUpdate()[name][index], before = printed.named(name).value(index);
      say(slots.coming, session.frozen.has(`${name}:${index}`) ? `It is frozen at ${written(state[name][index], 4)}.` : `${session.settings.optimizer === "yours" ? "your optimizer" : session.settings.optimizer}: ${written(before, 4)} → ${written(after, 4)}, a change of ${written(after - before, 4)}${ofBatch()}`);
      for (const refresh of refreshed) refresh();
    },
  });

  // Between steps all rows are computed, and the coming step takes some of them.
  function ofBatch() {
    const { batch } = session.settings;
    return session.line === null && batch < session.rows.length ? `; by all ${session.rows.length} rows: the step itself takes ${batch} of them` : "";
  }

  // What is multiplied in each row, as in x[r, 0] × d_z1[r, 2].
  function productOf(name, index) {
    const line = session.network.lines[printed.lineOf(`d_${name}`)], factors = /^\w+ = (\w+)\.T @ (\w+)$/.exec(line.text);
    if (!factors) return "input × what comes back";
    const [i, j] = indexOf(printed.shapeIn(name), index);
    return `input × what comes back, ${factors[1]}[r, ${i}] × ${factors[2]}[r, ${j}]`;
  }

  function drawTerms(name, index, gradient) {
    const terms = termsOf(name, index), { rows, more, sum } = slots;
    say(sum, gradient === undefined ? "This loss does not use it." : `d_${cellName(name, printed.shapeIn(name), index)} = ${written(gradient, 6)}${terms ? `, the sum over ${terms.length} rows of ${terms[0].factors.length ? productOf(name, index) : "what comes back"}. The rows that push most:` : ""}`);
    const first = terms ? [...terms].sort((a, b) => Math.abs(b.term) - Math.abs(a.term)).slice(0, MOST) : [];
    const pointed = terms?.find(({ row }) => row === session.row);
    rows.forEach((button, n) => drawTerm(button, n < MOST ? first[n] : first.includes(pointed) ? null : pointed));
    const rest = terms ? terms.length - first.length : 0;
    say(more, rest > 0 ? `… ${rest} more, ${written(gradient - first.reduce((total, { term }) => total + term, 0), 4)} together` : "");
  }

  function drawTerm(button, shown) {
    button.hidden = !shown;
    if (!shown) return;
    const product = shown.factors.length ? `${shown.factors.map((x) => written(x, 4)).join(" × ")} = ` : "";
    say(button, `row ${shown.row}: ${product}${written(shown.term, 4)}`);
    change(button, { "data-row": shown.row, "aria-pressed": String(shown.row === session.row) });
  }
}
