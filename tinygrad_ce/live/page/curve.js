// The losses so far, of training and test rows, beside the loss of a network that only guesses.

const CURVE = { height: 150, left: 40, right: 8, top: 10, bottom: 34, most: 400 }; // most: points of a line

// What guessing costs: with C classes equally likely, each gets probability 1 / C, whose cross-entropy is ln C.
function guessing() {
  const loss = session.settings.loss ?? "", classes = page.data.classes.length;
  if (!/cross.?entropy|bce/i.test(loss) || classes < 2) return null;
  const outcomes = /binary|bce|sigmoid/i.test(loss) ? 2 : classes;
  return { loss: Math.log(outcomes), words: `guessing: ln ${outcomes} = ${Math.log(outcomes).toFixed(3)}` };
}

// The largest loss on the axis: a few that are far above the others and the first are cut off.
function highestLoss(losses, guess) {
  const sorted = losses.filter((loss) => Number.isFinite(loss)).sort((a, b) => a - b);
  return Math.max(sorted[Math.floor(0.98 * (sorted.length - 1))] ?? 1, Number.isFinite(losses[0]) ? losses[0] : 0, guess?.loss ?? 0, 1e-12) * 1.1;
}

// The line through the losses; it breaks where one is not finite.
function linePath(steps, losses, x, y) {
  const stride = Math.ceil(steps.length / CURVE.most);
  let path = "", pen = "M";
  for (let i = 0; i < steps.length; i++) {
    if (i % stride && i !== steps.length - 1) continue;
    if (Number.isFinite(losses[i])) path += `${pen}${x(steps[i]).toFixed(1)},${y(losses[i]).toFixed(1)}`;
    pen = Number.isFinite(losses[i]) ? "L" : "M";
  }
  return path;
}

const spoken = (name, loss, accuracy) => `${name}: loss ${written(loss, 4)}${accuracy === null ? "" : `, ${(100 * accuracy).toFixed(0)} % right`}`;

function curveText(x, y, anchor) {
  const text = document.createElementNS(SVG, "text");
  change(text, { x, y, "text-anchor": anchor, "font-size": 12, fill: "var(--soft)" });
  return text;
}

function buildCurve() {
  const { height, left, right, top, bottom } = CURVE, base = height - bottom;
  const view = { draw };
  let width = 280; // as wide as the panel lets it be, so that its words are as large as those beside it
  const line = (stroke, strokeWidth, dash = null) => element("path", { fill: "none", stroke, "stroke-width": strokeWidth, "stroke-dasharray": dash, "stroke-linejoin": "round" });
  const axes = element("path", { fill: "none", stroke: "var(--soft)" });
  const guess = line("var(--soft)", 1.5, "6 4"), train = line("var(--mark)", 2), test = line("var(--gradient)", 2, "2 3");
  const highest = curveText(left - 4, top + 8, "end"), lowest = curveText(left - 4, base, "end"), last = curveText(0, base + 15, "end");
  const steps = curveText(0, base + 30, "middle"), first = curveText(left, base + 15, "start");
  const side = curveText(12, (top + base) / 2, "middle");
  change(side, { transform: `rotate(-90 12 ${(top + base) / 2})` });
  [lowest.textContent, steps.textContent, side.textContent] = ["0", "training steps", "loss"];
  const svg = element("svg", { role: "img" }, axes, guess, test, train, highest, lowest, first, last, steps, side);
  const sample = (stroke, dash, words) => element("span", { style: "display:flex;align-items:center;gap:.4rem" }, element("svg", { viewBox: "0 0 30 6", width: 30, height: 6, "aria-hidden": "true" }, element("path", { d: "M0,3H30", stroke, "stroke-width": 2, "stroke-dasharray": dash })), words);
  const words = ["train", "test", "guess"].map((name) => element("span", { id: `curve-${name}` }));
  const legend = [sample("var(--mark)", null, words[0]), sample("var(--gradient)", "2 3", words[1]), sample("var(--soft)", "6 4", words[2])];
  at("curve-panel").append(svg, element("div", { id: "curve-words" }, ...legend));
  new ResizeObserver(fit).observe(svg);
  fit();

  function fit() {
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize) / 16;
    width = Math.max(200, svg.clientWidth / rem);
    change(svg, { viewBox: `0 0 ${width} ${height}` });
    change(axes, { d: `M${left},${top}V${base}H${width - right}` });
    change(last, { x: width - right });
    change(steps, { x: (left + width - right) / 2 });
    if (views.includes(view)) draw();
  }

  function draw() {
    const { history } = session, guessed = guessing(), start = history.steps[0], end = Math.max(history.steps.at(-1), start + 1);
    const highestShown = highestLoss([...history.train, ...history.test.filter((loss) => loss !== null)], guessed);
    const x = (step) => left + ((step - start) / (end - start)) * (width - left - right);
    const y = (loss) => base - (Math.min(Math.max(loss, 0), highestShown) / highestShown) * (base - top);
    const hasTest = history.test.at(-1) !== null;
    // What was changed by hand since the last step is in the words, and not in the line. Inside a step, a batch is computed.
    const current = session.line === null ? losses() : Object.fromEntries(Object.entries(history).map(([name, all]) => [name, all.at(-1)]));
    change(train, { d: linePath(history.steps, history.train, x, y) });
    change(test, { d: hasTest ? linePath(history.steps, history.test, x, y) : "" });
    change(guess, { d: guessed ? `M${left},${y(guessed.loss)}H${width - right}` : "" });
    const texts = [spoken("training rows", current.train, current.trainAccuracy), hasTest ? spoken("test rows", current.test, current.testAccuracy) : "", guessed?.words ?? ""];
    words.forEach((node, i) => say(node, texts[i]));
    legend.forEach((node, i) => { node.style.display = texts[i] ? "flex" : "none"; });
    say(highest, written(highestShown, 2));
    say(first, start.toLocaleString("en"));
    say(last, end.toLocaleString("en"));
    change(svg, { "aria-label": `Losses from step ${start} to ${history.steps.at(-1)}, first ${written(history.train[0], 4)}. ${texts.filter(Boolean).join("; ")}.` });
  }
  views.push(view);
}
