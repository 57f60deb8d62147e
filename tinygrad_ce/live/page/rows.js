// Rows that are no points of a plane: a table with numbers that can be typed over, or pictures; the worst rows first.

const listed = { rows: [], nodes: [], fields: [], chosen: null };
const ROWS = 8, PICTURES = 12;

// The training rows that the network gets most wrong: the right class is furthest behind, or the number furthest off.
function worstRows(count) {
  const z = session.step.buffers[session.network.output], size = z.length / session.step.batch;
  const wrong = session.rows.map((row, i) => {
    const label = labelOf(row);
    if (!hasClasses()) return Math.abs(z[i * size] - label);
    if (size === 1) return label ? -z[i] : z[i];
    let other = -Infinity;
    for (let c = 0; c < size; c++) if (c !== label) other = Math.max(other, z[i * size + c]);
    return other - z[i * size + label];
  });
  return session.rows.map((row, i) => [row, wrong[i]]).sort((a, b) => b[1] - a[1]).slice(0, count).map(([row]) => row);
}

// Rows keep their places while one of them is typed in or looked at.
function listWorst(count, holder) {
  const kept = listed.rows.length === Math.min(count, session.rows.length) && listed.rows.every((row) => row < session.data.rows);
  if (!kept || !(holder.contains(document.activeElement) || holder.matches(":hover"))) listed.rows = worstRows(count);
}

function pointing(row) { // listeners by which a node points at the row that it shows
  return { pointerenter: () => pointAt(row()), pointerleave: () => pointAt(null), focusin: () => pointAt(row()), focusout: () => pointAt(null) };
}

// ---- a table: the worst rows, and the numbers of the one that is chosen

function tablePanel() {
  const names = page.data.features, numbers = element("div", { id: "row-numbers", class: "scroll", role: "group", "aria-label": "numbers of the chosen row" });
  listed.nodes = Array.from({ length: Math.min(ROWS, session.rows.length) }, (_, i) => {
    const cells = [element("td", {}, element("span", { class: "short" }), element("span", { class: "short" })), element("td")], button = element("button", { type: "button", click: () => { listed.chosen = listed.rows[i]; redraw(); } });
    return { button, cells, tr: element("tr", pointing(() => listed.rows[i]), element("th", { scope: "row" }, button), ...cells) };
  });
  listed.fields = Array.from({ length: session.data.features }, (_, column) => {
    const name = names[column] ?? `x[${column}]`, field = element("input", { type: "text", inputmode: "decimal", size: 8, change: () => typeNumber(field, column) });
    numbers.append(element("label", {}, field, ` ${name}`));
    return field;
  });
  Object.assign(listed, { rows: [], chosen: null });
  const heads = ["row", hasClasses() ? "class → predicted" : "number → predicted", "loss"].map((name) => element("th", { scope: "col" }, name));
  return element("div", { id: "listed" }, element("p", { class: "soft" }, `The ${listed.nodes.length} worst training rows`),
    element("table", {}, element("thead", {}, element("tr", {}, ...heads)), element("tbody", {}, ...listed.nodes.map((node) => node.tr))),
    element("p", { id: "chosen-row" }), numbers, element("span", { id: "listed-wrong", class: "wrong", role: "alert" }));
}

function typeNumber(field, column) {
  const value = typedNumber(field.value, NUMBERS), isWrong = typeof value === "string";
  say(at("listed-wrong"), isWrong ? value : "");
  change(field, { "aria-invalid": isWrong });
  if (!isWrong) movePoint(listed.chosen, column, fromUnits(value, column));
}

function drawTable() {
  listWorst(ROWS, at("listed"));
  if (!(listed.chosen < session.data.rows)) listed.chosen = null;
  listed.chosen ??= listed.rows[0];
  listed.nodes.forEach((node, i) => {
    const row = listed.rows[i], buffers = answerOf(row), right = targetWords(row), said = saidOf(buffers);
    say(node.button, String(row));
    say(node.cells[0].firstChild, `${right} `);
    say(node.cells[0].lastChild, `→ ${said}`);
    change(node.cells[0], { title: `${right} → ${said}` });
    say(node.cells[1], written(buffers.loss[0], 3));
    change(node.button, { "aria-pressed": row === listed.chosen });
    change(node.tr, { class: hasClasses() && right !== said ? "wrong" : null });
  });
  say(at("chosen-row"), `The numbers of row ${listed.chosen}: type over one to change it.`);
  const values = featuresOf(listed.chosen);
  listed.fields.forEach((field, column) => { if (document.activeElement !== field && field.getAttribute("aria-invalid") !== "true") field.value = written(inUnits(values[column], column), 4); });
}

// ---- pictures

function drawExample(canvas, row) { // the picture of a row; without one, the mean of all training rows
  const { features } = session.data, { x } = session.step.inputs, rows = session.step.batch;
  const mean = (cell) => { let sum = 0; for (let i = 0; i < rows; i++) sum += x[i * features + cell]; return sum / rows; };
  const values = row === null ? Float64Array.from({ length: features }, (_, cell) => mean(cell)) : featuresOf(row);
  heat(canvas, values, largest(values) || 1);
}

function examplesPanel() {
  const [height, width] = page.data.image;
  listed.rows = [];
  listed.nodes = Array.from({ length: Math.min(PICTURES, session.rows.length) }, (_, i) => {
    const canvas = element("canvas", { width, height, class: "pixels" }), words = element("span");
    return { canvas, words, button: element("button", { type: "button", class: "example", ...pointing(() => listed.rows[i]), click: () => flip(listed.rows[i]) }, canvas, words) };
  });
  return element("div", { id: "listed" }, element("p", { class: "soft" }, `The ${listed.nodes.length} worst training rows: class → predicted. A click gives the next class.`), element("div", { class: "examples" }, ...listed.nodes.map((node) => node.button)));
}

function drawExamples() {
  listWorst(PICTURES, at("listed"));
  listed.nodes.forEach((node, i) => {
    const row = listed.rows[i], target = targetWords(row), said = saidOf(answerOf(row)), right = target === said;
    drawExample(node.canvas, row);
    say(node.words, `${target} → ${said}${right ? "" : " ✗"}`);
    change(node.button, { "aria-label": `row ${row}: ${target}, predicted ${said}`, class: `example${right ? "" : " wrong"}` });
  });
}
