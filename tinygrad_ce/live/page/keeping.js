// What leaves the page: its state in the link's fragment, a program that goes on from here, the model as a file.

const FRAGMENT = "#live1."; // 1: the version of what stands behind it
const MOST_BYTES = 50e6; // of a link's state, unpacked: a few letters can claim to be gigabytes
const MOST_ROWS = 20000;

// ---- the link

// Sizes and texts as JSON, the numbers behind it as they lie in memory: their bits are kept.
function asBytes({ state, data, ...rest }) {
  const arrays = [...Object.values(state), ...(data ? [data.x, data.y] : [])];
  const lengths = Object.entries(state).map(([name, array]) => [name, array.length]);
  const sizes = data && { x: data.x.length, y: data.y.length, rows: data.rows, test: data.test };
  const header = new TextEncoder().encode(JSON.stringify({ ...rest, data: sizes, lengths }));
  return new Blob([Uint32Array.of(header.length), header, ...arrays]);
}

function fromBytes(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const { lengths, data, ...rest } = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(new Uint8Array(buffer, 4, length)));
  let position = 4 + length;
  const next = (count) => new Float64Array(buffer.slice(position, (position += 8 * count)));
  const state = Object.fromEntries(lengths.map(([name, count]) => [name, next(count)]));
  const rows = data && { ...data, x: next(data.x), y: next(data.y) };
  if (position !== buffer.byteLength) throw new RangeError("it was cut");
  return { ...rest, state, data: rows };
}

// A stream's bytes, through a (de)compression where there is one; RangeError where they are too many.
async function through(blob, transform) {
  const parts = [];
  let size = 0;
  for (const reader = blob.stream().pipeThrough(transform).getReader(); ;) {
    const { done, value } = await reader.read();
    if (done) return new Blob(parts).arrayBuffer();
    parts.push(value);
    size += value.length;
    if (size > MOST_BYTES) throw new RangeError("it is too long");
  }
}

async function asFragment(kept) {
  const bytes = asBytes(kept), packs = "CompressionStream" in window;
  const buffer = packs ? await through(bytes, new CompressionStream("deflate-raw")) : await bytes.arrayBuffer();
  let text = "";
  for (const byte of new Uint8Array(buffer)) text += String.fromCharCode(byte);
  return `${FRAGMENT}${packs ? "d" : "p"}${btoa(text).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "")}`;
}

async function fromFragment(text) {
  const packed = text[FRAGMENT.length], letters = text.slice(FRAGMENT.length + 1);
  if (!text.startsWith(FRAGMENT) || !"dp".includes(packed)) throw new RangeError("it is of another version");
  const bytes = Uint8Array.from(atob(letters.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
  const kept = fromBytes(packed === "d" ? await through(new Blob([bytes]), new DecompressionStream("deflate-raw")) : bytes.buffer);
  checkKept(kept);
  return kept;
}

// Whether a stranger's state is one that this page could have written. Errors if not.
function checkKept({ settings, count, updates, order, frozen, selected, data, state }) {
  const must = (truth, words) => { if (!truth) throw new RangeError(words); };
  const whole = (value, least, most) => Number.isInteger(value) && value >= least && value <= most;
  const { optimizer = [], width: [least, most] = [1, 0] } = page.offered, { hidden } = settings, first = page.settings;
  must(Number.isFinite(settings.rate) && settings.rate >= 0 && whole(settings.batch, 1, MOST_ROWS) && whole(settings.seed, 0, 2 ** 53 - 1), "its settings are wrong");
  must([first.optimizer, ...optimizer].includes(settings.optimizer) && keyOf(settings) !== null, "its network is not in this page");
  must(asText(hidden) === asText(first.hidden) || hidden.every((size) => whole(size, least, most)), "its widths are wrong");
  must(whole(count, 0, 1e12) && whole(updates, 0, 1e12), "its steps are wrong");
  const has = (name, index) => Object.hasOwn(state, name) && whole(index, 0, state[name].length - 1);
  must(selected === null || has(selected.name, selected.index), "the selected weight is not there");
  must(frozen.every(([place, value]) => has(...((at) => [place.slice(0, at), Number(place.slice(at + 1))])(place.lastIndexOf(":"))) && typeof value === "number"), "a frozen weight is not there");
  if (data) checkRows(data, must, whole);
  const rows = data ? data.rows - data.test.length : session.data.rows - session.data.test.size;
  must(order === null || (whole(order.position, 0, rows) && [0, rows].includes(order.rows.length) && order.rows.every((row) => whole(row, 0, rows - 1))), "the order of its rows is wrong");
}

function checkRows({ x, y, rows, test }, must, whole) {
  const first = firstData(), classes = page.data.classes.length;
  must(whole(rows, 1, MOST_ROWS) && x.length === rows * first.features && y.length === (rows * first.y.length) / first.rows, "its data have other sizes");
  must(test.every((row) => whole(row, 0, rows - 1)) && new Set(test).size === test.length && test.length < rows, "its test rows are wrong");
  must(!classes || y.every((label) => whole(label, 0, classes - 1)), "its classes are wrong");
}

// What a link carries takes the place of what is here; a broken one changes nothing.
async function openFragment() {
  if (!location.hash.startsWith("#live")) return;
  const { history: losses } = session;
  let before = null;
  try {
    const kept = await fromFragment(location.hash);
    pause();
    if (moments.number !== null) leaveMoment();
    before = snapshot();
    restore(kept);
    fail(`This link brought its own numbers: step ${session.count}.`);
  } catch (error) {
    if (before) {
      restore(before);
      session.history = losses;
    }
    fail(`The link's state cannot be read (${error instanceof RangeError ? error.message : "it is damaged"}), so nothing was changed: copy the whole link once more.`);
  }
  redraw();
}

async function copyLink() {
  if (moments.number !== null) return fail("A link keeps your own network, not a moment: go back to your network first.");
  const fragment = await asFragment(snapshot());
  history.replaceState(null, "", fragment);
  await copyText(location.href, `The link (${location.href.length.toLocaleString("en")} letters) is copied: it opens the page as it is now.`, "The link stands in the address bar: copy it from there.");
  return null;
}

async function copyText(text, done, otherwise) {
  try {
    await navigator.clipboard.writeText(text);
    fail(done);
  } catch { // the browser does not allow it
    fail(otherwise);
  }
}

// ---- the model as a file

// The document with the sizes of the hidden layers in place of their names.
const withSizes = (text) => Object.entries(session.sizes).reduce((so_far, [name, size]) => so_far.replaceAll(`"${name}"`, size), text);

// A safetensors file that tg.load reads: the length of a header, the header, the arrays.
function asSafetensors() {
  const { saved, shapes } = session.network, header = { __metadata__: { tinygrad_ce: withSizes(saved.document) } }, arrays = [];
  let position = 0;
  for (const [path, name] of Object.entries(saved.arrays)) {
    const array = session.step.state[name];
    header[`model.${path}`] = { dtype: "F64", shape: shapes[name].map(lengthOf), data_offsets: [position, (position += array.byteLength)] };
    arrays.push(array);
  }
  const text = new TextEncoder().encode(JSON.stringify(header)), padded = new Uint8Array(Math.ceil(text.length / 8) * 8).fill(32);
  padded.set(text);
  return new Blob([BigUint64Array.of(BigInt(padded.length)), padded, ...arrays]);
}

function download(blob, name) {
  const url = URL.createObjectURL(blob);
  element("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

// ---- the program that goes on from here

const pythonNumber = (value) => (Number.isNaN(value) ? "nan" : !Number.isFinite(value) ? (value > 0 ? "inf" : "-inf") : Object.is(value, -0) ? "-0.0" : String(value));

// np.array([...]) with the very bits: JavaScript's shortest decimals are those of Python's repr.
function pythonArray(array, shape) {
  let text = "", line = "    ";
  for (const value of array) {
    const number = `${pythonNumber(value)}, `;
    if (line.length + number.length > 100) [text, line] = [`${text}${line.trimEnd()}\n`, "    "];
    line += number;
  }
  const many = shape.length === 1 ? "" : `.reshape(${shape.join(", ")})`;
  return `np.array([\n${text}${line.trimEnd()}\n], float)${many}`;
}

function asPython() {
  const { network, settings, data, sizes } = session, { code, saved, shapes } = network;
  const { step, rows } = session, state = Object.entries(saved.arrays);
  const filledIn = (text) => Object.entries({ ...sizes, lr: settings.rate }).reduce((so_far, [name, value]) => so_far.replaceAll(`{${name}}`, pythonNumber(value)), text);
  const isWhole = page.data.classes.length ? ".astype(int)" : "";
  const [x, y] = rowsOf(trainingRows), width = y.length / trainingRows.length;
  return [
    `"""The network of the live page, after ${session.count} steps: run it, and it goes on training from there."""`,
    "", "import numpy as np", "from numpy import inf, nan  # noqa: F401", "", "import tinygrad_ce as tg", "",
    `X = ${pythonArray(x, [trainingRows.length, data.features])}`,
    `y = ${pythonArray(y, width === 1 ? [trainingRows.length] : [trainingRows.length, width])}${isWhole}`,
    `model = ${filledIn(code.model)}`,
    "model.restore({", ...state.map(([path, name]) => `${JSON.stringify(path)}: ${pythonArray(step.state[name], shapes[name].map(lengthOf))},`), "})",
    `trainer = tg.Trainer(model, ${code.loss}, ${filledIn(code.optimizers[settings.optimizer])})`,
    `print("loss", float(trainer.evaluate(X, y)["loss"]))`,
    `trainer.fit(X, y, epochs=20, batch_size=${Math.min(settings.batch, rows.length)}, seed=${settings.seed})`,
    "print(trainer.history)", "",
  ].join("\n");
}

function keepingControls() {
  const button = (id, words, act) => element("button", { id, type: "button", click: act }, words);
  const python = () => copyText(asPython(), "A Python program that goes on from here is copied.", "The browser does not allow copying: press “download as Python”.");
  const { code, saved } = page.networks[page.own];
  return {
    nodes: [
      button("copy-link", "copy link", copyLink),
      ...(code ? [button("copy-python", "copy as Python", python), button("download-python", "download as Python", () => download(new Blob([asPython()]), "goes_on.py"))] : []),
      ...(saved ? [button("download-model", "download model", () => download(asSafetensors(), "model.safetensors"))] : []),
    ],
    draw() {},
  };
}
