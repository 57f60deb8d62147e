// The words, formulas and tables of a step: what it computed stands first, what it computed it from is below.

const line = (text, classes) => element("p", text, classes);
let operandsOpen = true, partsOpen = true;

function headline(step, text) {
  const badge = element("span", { forward: "Forward", backward: "Backward", update: "Update" }[step.phase], `badge ${step.phase}`);
  at("headline").replaceChildren(badge, text);
}

function after(sign, figure) { // on one line with it
  const pair = element("div", undefined, "pair");
  pair.append(element("span", sign, "sign"), figure);
  return pair;
}

function folded(words, isOpen, onToggle, figures, classes) {
  const box = element("details", undefined, classes), tables = element("div", undefined, "tables"), summary = element("summary", words);
  box.open = isOpen;
  summary.addEventListener("click", () => onToggle(!box.open)); // it opens or closes after this
  tables.append(...figures);
  box.append(summary, tables);
  return box;
}

const operands = (figures) => folded("What it was computed from", operandsOpen, (open) => { operandsOpen = open; }, figures, "operands");

// One operation that textbooks write as several: each of them, with its numbers.
function parts(opened) {
  if (!opened.length) return [];
  const figures = opened.map(({ text, array }) => tableOf(captioned(text, arrays[array]), arrays[array], -1, null));
  return [folded("Opened: softmax or sigmoid, logarithm, mean", partsOpen, (open) => { partsOpen = open; }, figures, "opened")];
}

function forwardStep(detail, step) {
  const node = nodes[step.node], value = valueOf(step.node), chosen = cells.get(step.node);
  headline(step, `: ${node.name} = ${node.text}`);
  if (value.numbers.length) {
    litBy([node.pieces, value.shape, chosen]);
    detail.append(workedLine(`${cellName(node.name, value.shape, chosen)} = `, withNumbers(node.pieces, value.shape, chosen), number(value, chosen)));
  }
  detail.append(tableOf(captioned(node.name, value), value, chosen, (p) => choose(step.node, p), "result"));
  const sources = [...new Set(node.inputs.map((e) => edges[e].source))];
  detail.append(...parts(node.opened), operands(sources.map(valueTable)));
  detail.append(line([node.doc, node.place && `at ${node.place}`, node.modules && `in ${node.modules}`].filter(Boolean).join("; "), "soft"));
}

function seedStep(detail, step) {
  const name = nodes[step.node].name;
  headline(step, ` starts: d_${name} = 1`);
  detail.append(line(`The gradient of ${name} with respect to itself is 1. From here, every operation hands back to each of its inputs: what is upstream, times its local derivative.`));
}

function backwardStep(detail, step) {
  const edge = edges[step.edge], source = nodes[edge.source], target = nodes[edge.target];
  const share = arrays[edge.share], upstream = gradientOf(edge.target);
  const uses = source.uses.filter((e) => edges[e].share !== null);
  const arrived = shown.arrived.get(edge.source) ?? [step.edge];
  const isShared = uses.length > 1, sign = isShared ? "+=" : "=";
  headline(step, `: from ${target.name} to ${source.name}${isShared ? `, share ${arrived.length} of ${uses.length}` : ""}`);
  const chosen = cells.get(edge.source), name = cellName(`d_${source.name}`, share.shape, chosen);
  detail.append(line(`d_${source.name} ${sign} ${edge.text}`, "rule"));
  if (share.numbers.length) {
    litBy([edge.pieces, share.shape, chosen]);
    detail.append(workedLine(`${name} ${sign} `, withNumbers(edge.pieces, share.shape, chosen), number(share, chosen)));
  }
  const pick = (p) => choose(edge.source, p);
  if (isShared && share.numbers.length) {
    const sum = gradientSoFar(edge.source, arrived);
    const terms = arrived.map((e) => number(arrays[edges[e].share], chosen)).map((t, n) => (n && t.startsWith("-") ? `(${t})` : t));
    if (terms.length > 6) terms.splice(3, terms.length - 4, "…");
    const missing = uses.length - arrived.length, so = `so far ${name} = `;
    const p = workedLine(so, [terms.join(" + ")], number(sum, chosen), "filled sum");
    p.append(missing ? `; ${missing} more to come` : "; complete");
    detail.append(p);
  }
  const caption = captioned(`${isShared ? "this share of " : ""}d_${source.name}`, share);
  const results = element("div", undefined, "tables");
  results.append(tableOf(caption, share, chosen, pick, "result"));
  if (isShared && share.numbers.length) {
    const sum = gradientSoFar(edge.source, arrived);
    results.append(tableOf(captioned(`d_${source.name} so far`, sum), sum, chosen, pick));
  }
  detail.append(results);
  const figures = [tableOf(captioned(`upstream d_${target.name}`, upstream), upstream, -1, null)];
  if (edge.local !== null) figures.push(after("×", tableOf(captioned("local derivative", arrays[edge.local]), arrays[edge.local], -1, null)));
  else figures.push(...edge.operands.map(valueTable));
  detail.append(...parts(edge.opened), operands(figures));
  detail.append(line(`the rule of ${target.op} for its argument ${edge.argument}${target.place ? `; ${target.name} was made at ${target.place}` : ""}`, "soft"));
}

function updateStep(detail, step) {
  const { node: n, text, memory: kept } = data.update.parameters[step.update], name = nodes[n].name;
  const before = valueOf(n), now = updated(step.update), chosen = cells.get(n), at_ = cellName(name, before.shape, chosen);
  headline(step, `: ${text}`);
  if (before.numbers.length) {
    const cell = (array) => [{ array, start: 0, steps: before.shape.map((_, k) => before.shape.slice(k + 1).reduce((a, b) => a * b, 1)), leads: false }];
    const place = [before.shape, chosen], gradient = cell(nodes[n].gradient), old = [{ ...cell(nodes[n].value)[0], leads: true }];
    litBy([old, ...place], [gradient, ...place]);
    const change = now.numbers[chosen] - before.numbers[chosen];
    const middle = data.update.plain
      ? [" - ", written(numberOfStep("lr"), 4), " * ", ...withNumbers(gradient, ...place)]
      : [change < 0 ? " - " : " + ", written(Math.abs(change), 4)];
    detail.append(workedLine(`${at_} = `, [...withNumbers(old, ...place), ...middle], number(now, chosen)));
    if (!data.update.plain) {
      const p = line("", "soft");
      p.append(`the change that ${data.update.optimizer} makes of d_${cellName(name, before.shape, chosen)} = `, ...withNumbers(gradient, ...place), hasRate ? ` and lr = ${written(numberOfStep("lr"), 4)}` : "");
      detail.append(p);
    }
  }
  detail.append(tableOf(captioned(`${name} after the update`, now), now, chosen, (p) => choose(n, p), "result"));
  const figures = [valueTable(n), tableOf(captioned(`d_${name}`, gradientOf(n)), gradientOf(n), -1, null)];
  for (const k of kept) {
    const { label, shape } = data.update.memory[k];
    figures.push(tableOf(captioned(`${label} before`, { shape }), { shape, numbers: memory[k], truth: false }, -1, null));
    figures.push(after("→", tableOf(captioned(`${label} after`, { shape }), { shape, numbers: rule.state[`m${k}`], truth: false }, -1, null)));
  }
  detail.append(operands(figures));
}
