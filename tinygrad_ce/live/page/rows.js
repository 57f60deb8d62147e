// Rows that are no points of a plane: a table with numbers that can be typed over, or pictures; the worst rows first.

const listed = { rows: [], nodes: [] };
const ROWS = 8, PICTURES = 12;

// The training rows that the network gets most wrong: the right class is furthest behind, or the number furthest off.
function worstRows(count) {
  const { buffer } = lastColumn(), z = session.step.buffers[buffer], size = z.length / session.step.batch;
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

// ---- a table

function tablePanel() {
  const names = page.data.features, width = session.data.features;
  listed.nodes = Array.from({ length: Math.min(ROWS, session.rows.length) }, (_, i) => {
    const fields = Array.from({ length: width }, (_, column) => {
      const field = element("input", { type: "text", inputmode: "decimal", size: 6, change: () => typeNumber(field, listed.rows[i], column) });
      return field;
    });
    const [row, target, predicted, loss] = ["th", "td", "td", "td"].map((tag) => element(tag));
    row.setAttribute("scope", "row");
    return { fields, row, target, predicted, loss, tr: element("tr", pointing(() => listed.rows[i]), row, target, predicted, loss, ...fields.map((field) => element("td", {}, field))) };
  });
  const heads = ["row", hasClasses() ? "class" : "number", "predicted", "loss", ...Array.from({ length: width }, (_, k) => names[k] ?? `x[${k}]`)];
  const head = element("tr", {}, ...heads.map((name) => element("th", { scope: "col" }, name)));
  listed.rows = [];
  const table = element("table", {}, element("thead", {}, head), element("tbody", {}, ...listed.nodes.map((node) => node.tr)));
  return element("div", { id: "listed" }, element("p", { class: "soft" }, `The ${listed.nodes.length} worst training rows; type over a number to change it.`),
    element("div", { class: "scroll", role: "region", tabindex: 0, "aria-label": "the worst rows" }, table), element("span", { id: "listed-wrong", class: "wrong", role: "alert" }));
}

function typeNumber(field, row, column) {
  const value = typedNumber(field.value, NUMBERS), isWrong = typeof value === "string";
  say(at("listed-wrong"), isWrong ? `Row ${row}: ${value}` : "");
  change(field, { "aria-invalid": isWrong });
  if (!isWrong) movePoint(row, column, value);
}

function drawTable() {
  listWorst(ROWS, at("listed"));
  listed.nodes.forEach((node, i) => {
    const row = listed.rows[i], step = stepOfRow(row), values = featuresOf(row);
    say(node.row, String(row));
    say(node.target, hasClasses() ? className(labelOf(row)) : written(labelOf(row), 4));
    say(node.predicted, hasClasses() ? className(classAt(step.buffers, 0)) : written(step.buffers[lastColumn().buffer][0], 4));
    say(node.loss, written(step.outputs.loss[0], 3));
    change(node.tr, { class: hasClasses() && classAt(step.buffers, 0) !== labelOf(row) ? "wrong" : null });
    node.fields.forEach((field, column) => {
      change(field, { "aria-label": `${page.data.features[column] ?? `x[${column}]`} of row ${row}` });
      if (document.activeElement !== field) field.value = written(values[column], 4);
    });
  });
}

// ---- pictures

function drawExample(canvas, row) { // the picture of a row; without one, the mean of all training rows
  const { features } = session.data, { x } = session.step.inputs, rows = session.step.batch;
  const mean = (cell) => { let sum = 0; for (let i = 0; i < rows; i++) sum += x[i * features + cell]; return sum / rows; };
  const values = row === null ? Float64Array.from({ length: features }, (_, cell) => mean(cell)) : featuresOf(row);
  heat(canvas, (cell) => values[cell], largest(values) || 1);
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
    const row = listed.rows[i], predicted = classAt(stepOfRow(row).buffers, 0), right = predicted === labelOf(row);
    drawExample(node.canvas, row);
    say(node.words, `${className(labelOf(row))} → ${className(predicted)}${right ? "" : " ✗"}`);
    change(node.button, { "aria-label": `row ${row}: ${className(labelOf(row))}, predicted ${className(predicted)}`, class: `example${right ? "" : " wrong"}` });
  });
}
