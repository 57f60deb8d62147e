// Panel: what `tg.audit` says of each layer, from the same figures by the same rules; page.audit has its thresholds and words.

const audited = (() => {
  const { thresholds, cures, curves } = page.audit;

  const arrays = (names) => names.map(printed.numbers);
  const finite = (names) => arrays(names).every((array) => notFinite(array) < 0);

  // Of all numbers of arrays together; scaled before they are squared, for exploded ones would overflow.
  function norm(all) {
    let largest = 0, squares = 0;
    for (const array of all) for (const x of array) largest = Math.max(largest, Math.abs(x));
    if (!(largest > 0 && largest < Infinity)) return largest;
    for (const array of all) for (const x of array) squares += (x / largest) ** 2;
    return largest * Math.sqrt(squares);
  }

  // As Python's `a / b if b else None`: NaN counts as a number there.
  const over = (a, b) => (a === null || b === null || b === 0 ? null : a / b);
  const kept = (name) => Boolean(name) && printed.named(name) !== null;

  // Percent of an activation's numbers that are flat, of its units that are dead for every row; and the rows.
  function activity({ layer, output, before }) {
    const curve = curves[layer.split("(")[0]], line = printed.lineOf(`d_${before}`);
    const passed = line < 0 ? [] : printed.sidesOf(session.network.lines[line].text).expression.match(/\bd_\w+/g) ?? [];
    const alone = passed.length && passed.every((name) => name === `d_${output}`); // nothing else comes back to it
    const slope = curve && alone ? printed.formulaOf(line, `d_${output}`) : null;
    if (!slope) return { saturated: null, dead: null, rows: 0 };
    const units = slope.shape.at(-1), rows = slope.shape.reduce((a, b) => a * b, 1) / units, alive = new Array(units).fill(false);
    let flat = 0;
    for (let k = 0; k < rows * units; k++) {
      const steep = Math.abs(slope.value(k));
      if (steep > thresholds.dead * curve.largest) alive[k % units] = true;
      if (steep <= thresholds.flat * curve.largest) flat += 1;
    }
    const dead = (100 * alive.filter((x) => !x).length) / units;
    return { saturated: curve.both_sides ? (100 * flat) / (rows * units) : null, dead, rows };
  }

  function figures(layer, last, after) {
    const reached = layer.parameters.filter((name) => kept(`d_${name}`));
    const row = { ...layer, ...activity(layer), gradient: null, perWeight: null, update: null, share: null };
    if (kept(`d_${layer.output}`)) row.share = over(norm(arrays([`d_${layer.output}`])), last);
    if (reached.length) {
      const weight = norm(arrays(reached));
      row.gradient = norm(arrays(reached.map((name) => `d_${name}`)));
      row.perWeight = over(row.gradient, weight);
      row.update = over(norm(reached.map((name) => after[name].map((x, k) => x - printed.numbers(name)[k]))), weight);
    }
    return row;
  }

  function whereNotFinite({ parameters, output }) {
    if (!finite(parameters)) return "its parameters";
    if (kept(output) && !finite([output])) return "its numbers";
    return finite([output, ...parameters].map((name) => `d_${name}`).filter(kept)) ? "" : "its gradient";
  }

  const tooFewRows = (row) => row.dead !== null && row.dead >= thresholds.most && row.rows < thresholds.fewest_rows;

  // The most urgent verdict on a layer, and what more there is to say; the order and the rules are those of views/audit/verdicts.py.
  function judged(row, after, asking) {
    const spoiled = whereNotFinite(row);
    if (spoiled) return ["not finite", spoiled];
    const unused = row.parameters.filter((name) => !kept(`d_${name}`));
    if (unused.length) return ["no gradient", `${unused.length === row.parameters.length ? "" : `${unused.join(", ")} is `}not used by this loss`];
    if (row.gradient === 0) {
      const blocking = after.find((other) => other.dead === 100);
      return ["no gradient", blocking ? `${blocking.path} lets nothing back` : "it is 0"];
    }
    if (row.saturated !== null && row.saturated >= thresholds.most) return ["saturated", ""];
    if (row.dead !== null && row.dead >= thresholds.most && row.rows >= thresholds.fewest_rows) return ["dead", ""];
    if (!kept(row.output)) return ["not in the graph", ""];
    const verdict = row.parameters.length ? sizeOfSteps(row, asking) : "fine";
    if (verdict === "fine" && tooFewRows(row)) return [verdict, "too few rows for a verdict on dead units"];
    return [verdict, verdict === "fine" && row.update !== null && row.update > thresholds.long_update ? "long steps, usual only at first" : ""];
  }

  function sizeOfSteps({ share, update }, asking) {
    if (share !== null && share > thresholds.exploding) return "exploding";
    if (share !== null && share < thresholds.vanishing) return "vanishing";
    if (update !== null && update > thresholds.large_update) return "updates too large";
    return update !== null && update < thresholds.small_update && asking ? "updates too small" : "fine";
  }

  function listed(names) { // of many the first, as in views/audit.py
    return names.length <= 5 ? names.join(", ") : `${names.slice(0, 4).join(", ")} and ${names.length - 4} more`;
  }

  // What `tg.audit(model, loss, optimizer)` says now: { rows, verdict }.
  return () => {
    const layers = session.network.layers, after = printed.afterUpdate();
    const final = layers.filter((layer) => layer.parameters.length && kept(`d_${layer.output}`)).at(-1);
    const last = final ? norm(arrays([`d_${final.output}`])) : null;
    const rows = layers.map((layer) => figures(layer, last, after));
    const largest = [...rows.map((row) => row.perWeight || (Number.isNaN(row.perWeight) ? NaN : 0)), 0].reduce((a, b) => (b > a ? b : a));
    rows.forEach((row, n) => { [row.verdict, row.reason] = judged(row, rows.slice(n + 1), largest > thresholds.small_gradient); });
    const ill = Object.keys(cures).map((verdict) => [verdict, rows.filter((row) => row.verdict === verdict)]).filter(([, found]) => found.length);
    const words = ill.map(([verdict, found]) => `${verdict}: ${listed(found.map((row) => row.path))}`);
    if (!Number.isFinite(session.step.outputs.loss[0]) && !ill.some(([verdict]) => verdict === "not finite")) words.unshift("not finite: the loss itself");
    return { rows, verdict: words.join("; ") || "fine" };
  };
})();

{
  const percent = (x) => `${x % 1 === 0.5 ? 2 * Math.round(x / 2) : Math.round(x)} %`; // half to even, as in Python
  const short = (x) => written(x, 2);
  const FIGURES = [["saturated", "saturated", percent], ["dead", "dead", percent], ["gradient", "gradient", short], ["gradient / weight", "perWeight", short], ["update / weight", "update", short]];
  const whole = element("p", { class: "whole-verdict", role: "status" }), list = element("ul", { class: "verdicts" });
  at("verdicts-panel").append(whole, list);
  let sizes = null, items = []; // of which network the rows are

  function build() {
    sizes = session.sizes;
    items = session.network.layers.map(({ path, layer }) => {
      const verdict = element("strong"), figures = element("span", { class: "soft" }), cure = element("p");
      return { verdict, figures, cure, item: element("li", {}, element("details", {}, element("summary", {}, `${path} ${layer.replace(/\bw\d+\b/g, lengthOf)}: `, verdict), cure), figures) };
    });
    list.replaceChildren(...items.map(({ item }) => item));
  }

  views.push({
    draw() {
      if (sizes !== session.sizes) build(); // each network that begins has its own
      const { rows, verdict } = audited();
      say(whole, `In all: ${verdict}`);
      rows.forEach((row, n) => {
        const { item, verdict: words, figures, cure } = items[n], ill = Object.hasOwn(page.audit.cures, row.verdict);
        change(item, { class: ill ? "ill" : "well" });
        say(words, `${ill ? "⚠ " : "✓ "}${row.reason ? `${row.verdict}: ${row.reason}` : row.verdict}`);
        say(cure, page.audit.cures[row.verdict] ?? (row.verdict === "fine" ? "Nothing to mend." : page.audit.separate));
        say(figures, FIGURES.filter(([, name]) => row[name] !== null).map(([name, figure, form]) => `${name} ${form(row[figure])}`).join(" · "));
      });
    },
  });
}
