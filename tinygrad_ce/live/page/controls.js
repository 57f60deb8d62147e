// Buttons, keys and settings: what trains the network and what it is trained with.

const training = { running: false, left: 0, drawn: 0, announced: 0, speed: "1", spoiled: null };
const SPEEDS = { "0.02": "slow", 1: "one step a frame", 10: "10 steps a frame", 100: "100 steps a frame" };
const stillness = matchMedia("(prefers-reduced-motion: reduce)");
const UNSEEN = "position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)"; // but read aloud

// ---- numbers that are typed

// The number in a text, or the words that say what is wrong with it.
function typedNumber(text, { least, most, whole }) {
  const value = text.trim() === "" ? NaN : Number(text);
  const range = `${least} to ${most}`;
  if (Number.isNaN(value)) return `type a number, ${range}`;
  if (whole && !Number.isInteger(value)) return `type a whole number, ${range}`;
  return value >= least && value <= most ? value : `${text.trim()} is outside of ${range}`;
}

// A field with its word beside it: what is no number changes nothing, and stays to be corrected.
function numberField(id, label, size, limits, shown, apply) {
  const wrong = element("span", { id: `${id}-wrong`, class: "wrong", role: "alert" });
  const input = element("input", {
    id, type: "text", inputmode: "decimal", size, "aria-label": label, "aria-describedby": wrong.id, autocomplete: "off",
    change() {
      const value = typedNumber(input.value, limits());
      const isWrong = typeof value === "string";
      wrong.textContent = isWrong ? value : "";
      input.setAttribute("aria-invalid", isWrong);
      if (!isWrong) apply(value);
    },
  });
  const draw = () => { if (document.activeElement !== input && !wrong.textContent) input.value = shown(); };
  return { nodes: [input, wrong], draw, input, clear() { wrong.textContent = ""; input.setAttribute("aria-invalid", false); input.value = shown(); } };
}

// ---- choices

function choiceOf(id, label, name, values, apply) {
  const select = element("select", { id, change() { apply(values.find((value) => String(value) === select.value)); } });
  const draw = () => {
    const now = session.settings[name], shown = values.includes(now) ? values : [now, ...values];
    if (select.length !== shown.length) select.replaceChildren(...shown.map((value) => element("option", { value: String(value) }, value === null || value === undefined ? "as it came" : String(value))));
    select.value = String(now);
  };
  return { nodes: [element("label", {}, `${label} `, select)], draw };
}

// What an activation, a loss or a number of layers needs beside it, where one's own network has no such thing.
function chooseNetwork(settings) {
  const { activation, loss, hidden } = session.settings, { offered } = page;
  choose({ activation: activation ?? offered.activation[0], loss: loss ?? offered.loss[0], hidden: hidden ?? [4], ...settings });
}

const sliderOf = (id, label, range, move) => {
  const slider = element("input", { id, type: "range", "aria-label": label, ...range, input() { move(Number(slider.value)); } });
  return slider;
};

function rateControl() {
  const field = numberField("rate", "learning rate", 6, () => ({ least: 0, most: 1e6 }), () => String(session.settings.rate), (rate) => choose({ rate }));
  const slider = sliderOf("rate-slider", "learning rate", { min: -4, max: 2, step: 0.05 }, (power) => {
    choose({ rate: Number((10 ** power).toPrecision(2)) });
    field.clear();
  });
  return {
    nodes: [element("span", {}, "learning rate"), slider, ...field.nodes],
    draw() {
      field.draw();
      slider.value = Math.log10(session.settings.rate);
      slider.setAttribute("aria-valuetext", String(session.settings.rate));
    },
  };
}

function batchControl() {
  const slider = sliderOf("batch", "rows of a batch", { min: 1, step: 1 }, (batch) => choose({ batch }));
  const shown = element("output", { for: "batch" });
  return {
    nodes: [element("span", {}, "batch"), slider, shown],
    draw() {
      const rows = session.data.rows - session.data.test.size, { batch } = session.settings;
      const words = batch >= rows ? `all ${rows} rows` : `${batch} of ${rows} rows`;
      slider.max = rows;
      slider.value = batch;
      slider.setAttribute("aria-valuetext", words);
      shown.textContent = words;
    },
  };
}

function seedControl() {
  const field = numberField("seed", "seed of the first weights and of the batches", 5, () => ({ least: 0, most: 2 ** 53 - 1, whole: true }), () => String(session.settings.seed), (seed) => choose({ seed }));
  return { nodes: [element("span", {}, "seed"), ...field.nodes], draw: field.draw };
}

function widthsControl() {
  const box = element("span", { class: "control", role: "group", "aria-label": "neurons of each hidden layer" });
  let fields = [];
  const [least, most] = page.offered.width;
  const fieldOf = (layer) => numberField(`width-${layer + 1}`, `neurons of hidden layer ${layer + 1}`, 2, () => ({ least, most, whole: true }), () => String(session.settings.hidden[layer]), (width) => chooseNetwork({ hidden: session.settings.hidden.with(layer, width) }));
  return {
    nodes: [box],
    draw() {
      const count = session.settings.hidden?.length ?? 0;
      if (count !== fields.length) {
        fields = Array.from({ length: count }, (_, layer) => fieldOf(layer));
        box.replaceChildren(...(count ? ["neurons "] : []), ...fields.flatMap(({ nodes }) => nodes));
      }
      for (const field of fields) field.draw();
    },
  };
}

function depthControl() {
  const { depth } = page.offered;
  const select = element("select", { id: "depth", change() {
    const old = session.settings.hidden ?? [];
    chooseNetwork({ hidden: Array.from({ length: Number(select.value) }, (_, i) => old[i] ?? old.at(-1) ?? 4) });
  } }, ...depth.map((count) => element("option", { value: count }, count)));
  const asItCame = element("option", { value: "" }, "as it came");
  return {
    nodes: [element("label", {}, "hidden layers ", select)],
    draw() {
      const { hidden } = session.settings;
      if (hidden) asItCame.remove(); else if (!asItCame.isConnected) select.prepend(asItCame);
      select.value = hidden?.length ?? "";
    },
  };
}

function settingControls() {
  const { activation = [], loss = [], optimizer = [], depth = [], width } = page.offered;
  return [
    rateControl(), batchControl(), seedControl(),
    ...(optimizer.length ? [choiceOf("optimizer", "optimizer", "optimizer", optimizer, (value) => choose({ optimizer: value }))] : []),
    ...(activation.length ? [choiceOf("activation", "activation", "activation", activation, (value) => chooseNetwork({ activation: value }))] : []),
    ...(loss.length ? [choiceOf("loss", "loss", "loss", loss, (value) => chooseNetwork({ loss: value }))] : []),
    ...(depth.length ? [depthControl()] : []),
    ...(width ? [widthsControl()] : []),
  ];
}

// ---- training

function runFrame(time) {
  if (training.left) {
    const until = performance.now() + 40;
    while (training.left && performance.now() < until) {
      trainSteps(Math.min(10, training.left));
      training.left -= Math.min(10, training.left);
    }
  } else if (training.running) {
    const speed = Number(training.speed);
    if (speed >= 1) trainSteps(speed, speed);
    else if (time - training.drawn < 1 / speed * 10) return requestAnimationFrame(runFrame);
    else trainStep();
  }
  const working = training.running || training.left > 0;
  const isLast = !working, waits = training.left > 0 || (stillness.matches && time - training.drawn < 500);
  if (isLast || !waits) {
    training.drawn = time;
    redraw();
  }
  if (isLast || time - training.announced > 5000) announce(time);
  if (working) requestAnimationFrame(runFrame);
  return null;
}

function start(left) {
  const idle = !training.running && !training.left;
  if (left) training.left += left; else training.running = true;
  redraw(); // the button says Pause before the first frame does
  if (idle) requestAnimationFrame(runFrame);
}

function pause() {
  training.running = false;
  training.left = 0;
  announce(performance.now());
  redraw();
}

function announce(time) {
  training.announced = time;
  const accuracy = session.history.trainAccuracy.at(-1);
  at("announced").textContent = `Step ${session.count}: loss ${written(session.step.outputs.loss[0], 4)}${accuracy === null ? "" : `, ${Math.round(100 * accuracy)} % right`}`;
}

function once(act) {
  pause();
  act();
  redraw();
  announce(performance.now());
}

// What is said of the first number that is not finite.
function spoiledWords({ count, line, name, position, reason }) {
  const shape = printed.shapeIn(name), row = shape[0] === session.step.batch ? session.rows[indexOf(shape, position)[0]] : null;
  const from = row === null ? "" : `, from row ${row} of the data`, where = line === null ? "" : ` Line ${line + 1}, marked ✗, computed it: ${session.network.lines[line].text}.`;
  return `At step ${count} the first number that is not finite is ${cellName(name, shape, position)}${from}: ${reason}.${where} Reset, or change what led there.`;
}

function trainingControls() {
  const play = element("button", { id: "play", type: "button", class: "main", click: () => (training.running || training.left ? pause() : start(0)) });
  const speed = element("select", { id: "speed", "aria-label": "speed", change() { training.speed = speed.value; } }, ...Object.entries(SPEEDS).map(([value, words]) => element("option", { value }, words)));
  speed.value = training.speed;
  const button = (id, words, act) => element("button", { id, type: "button", click: act }, words);
  const figures = element("span", { id: "figures" }), own = button("own", "your network", () => choose({ activation: page.settings.activation, loss: page.settings.loss, hidden: page.settings.hidden }));
  return {
    nodes: [
      play, speed, button("one", "one step", () => once(trainStep)), button("inside", "step inside ▸", () => once(stepInside)),
      button("thousand", "1,000 steps without drawing", () => start(1000)), button("reset", "reset", () => once(reset)), own, figures,
      element("p", { id: "announced", role: "status", "aria-live": "polite", style: UNSEEN }),
    ],
    draw() {
      play.textContent = training.running || training.left ? "❚❚ Pause" : "▶ Train";
      own.hidden = session.key === page.own;
      figures.textContent = `step ${session.count.toLocaleString("en")} · loss ${written(session.step.outputs.loss[0], 4)}`;
      if (session.spoiled === training.spoiled) return;
      training.spoiled = session.spoiled;
      fail(session.spoiled ? spoiledWords(session.spoiled) : "");
    },
  };
}

function buildControls() {
  const parts = [trainingControls(), ...settingControls(), keepingControls()];
  at("controls").append(...parts.map(({ nodes }) => element("span", { class: "control" }, ...nodes)));
  views.push({ draw() { for (const part of parts) part.draw(); } });
}
