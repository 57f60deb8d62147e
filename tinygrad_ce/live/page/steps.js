// The lines of the printed step: the formula of each, the state after the next update, and where a NaN came from.

const printed = (() => {
  const known = new WeakMap(); // by createStep's step: the parts by name or text, null where there is no formula
  const remembered = (key, make) => {
    if (!known.has(session.step)) known.set(session.step, new Map());
    const parts = known.get(session.step);
    if (!parts.has(key)) parts.set(key, attempted(make));
    return parts.get(key);
  };
  function attempted(make) {
    try { return make(); } catch (error) { if (error instanceof SyntaxError) return null; throw error; }
  }

  // A line of the program: its targets, and the text behind the equals sign.
  function sidesOf(text) {
    const [, targets, expression] = /^([^=#]*?) = (.*?)(?:\s+#.*)?$/.exec(text) ?? [null, "", text];
    return { targets: targets.split(", "), expression };
  }

  function shapeWords(name) { // an optimizer's m_W0 has the shape of W0
    const { shapes } = session.network, of = Object.hasOwn(session.step.state, name) ? name.slice(name.indexOf("_") + 1) : name;
    return shapes[name] ?? shapes[of];
  }

  // The shape of an array with this step's numbers in place of the names of its sizes.
  function shapeIn(name) {
    const sizes = { batch: session.step.batch, ...session.sizes };
    return (shapeWords(name) ?? []).map((size) => sizes[size] ?? size);
  }

  function lineOf(name) { // the line that computes an array, not the one that updates it; -1 if none does
    return session.network.lines.findIndex((line) => line.text.startsWith(`${name} = `) && line.phase !== "update");
  }

  // What stands behind a name of the program, as a part; null for a name of which nothing is known. An array that the
  // program does not keep, as the e and p of a cross-entropy, is read from its line.
  function named(name) {
    if (name === "lr") return formulas.arrayPart(name, [], () => session.settings.rate);
    if (name === "t") return formulas.arrayPart(name, [], () => session.updates + (aroundUpdate ? 0 : 1));
    if (name === "batch") return formulas.constant(session.step.batch);
    const array = Object.hasOwn(session.step.buffers, name) && shapeWords(name) ? session.step.buffers[name] : null;
    if (array) return formulas.arrayPart(name, shapeIn(name), (k) => (aroundUpdate?.before[name] ?? array)[k]);
    const line = lineOf(name), part = line < 0 ? null : formulaOf(line);
    return part && { ...formulas.arrayPart(name, part.shape, part.value), inner: part.inner, sign: part.sign };
  }

  // The numbers of an array of the step, as they were before its update; null for a name of which nothing is known.
  function numbers(name) {
    if (Object.hasOwn(session.step.buffers, name)) return aroundUpdate?.before[name] ?? session.step.buffers[name];
    const part = named(name);
    return part && Float64Array.from({ length: part.shape.reduce((a, b) => a * b, 1) }, (_, k) => part.value(k));
  }

  // The formula of a line, as a part. slope: with ones in place of this array, for what the line multiplies it by.
  function formulaOf(line, slope = null) {
    const { text } = session.network.lines[line];
    return remembered(`${text} ${slope ?? ""}`, () => {
      const ones = (name) => (name === slope ? { ...named(name), value: () => 1 } : named(name));
      return formulas.partOf(formulas.parsed(sidesOf(text).expression), ones);
    });
  }

  // The lines of an optimizer's printed function, for a line `W0, m_W0 = adam(W0, ...)`: [{ text, target, part }].
  function bodyOf(line) {
    const { text } = session.network.lines[line];
    return remembered(`body of ${text}`, () => {
      const call = formulas.parsed(sidesOf(text).expression);
      const [head, ...body] = functionText(call.inner?.name);
      const scope = new Map();
      const set = (name, part, position = null) => scope.set(name, part && { ...formulas.arrayPart(name, part.shape, part.value), position });
      head.forEach(([name, value], n) => {
        const given = call.items[n] ?? (call.options[name] ?? value ? formulas.parsed(call.options[name] ?? value) : null);
        set(name, given && formulas.partOf(given, named));
      });
      return body.map((row) => {
        const { targets: [target], expression } = sidesOf(row);
        const part = attempted(() => formulas.partOf(formulas.parsed(expression), (name) => scope.get(name)));
        set(target, part);
        return { text: row, target, part };
      });
    });
  }

  // A function that stands above the step: its arguments with their defaults, and the lines of its body.
  function functionText(name) {
    const rows = [session.network.above ?? ""].flat().join("\n").split("\n");
    const from = rows.findIndex((row) => name && row.startsWith(`def ${name}(`));
    if (from < 0) throw new SyntaxError(`no function ${name}`);
    const after = rows.slice(from + 1), end = after.findIndex((row) => row.trim().startsWith("return"));
    const head = rows[from].slice(rows[from].indexOf("(") + 1, rows[from].lastIndexOf(")")).split(", ");
    return [head.map((argument) => argument.split("=")), ...after.slice(0, end).map((row) => row.trim()).filter((row) => row && row[0] !== "#")];
  }

  // The state after the next update, by name, made on copies: nothing stays changed. (Inside of a step, after this one.)
  function afterUpdate() {
    if (aroundUpdate) return aroundUpdate.after;
    const { state } = session.step, before = arraysOf(state);
    runOptimizer(session.step);
    const after = arraysOf(state);
    setArrays(state, before);
    return after;
  }

  // In words, why the first number that is not finite is none: { line, name, position } as `firstNotFinite` finds it.
  function reason({ line, name, position }) {
    const array = named(name), number = `${cellName(name, array.shape, position)} is ${written(array.value(position), 4)}`;
    if (Object.hasOwn(session.step.inputs, name)) return `${number} in the data`;
    if (Object.hasOwn(session.step.state, name)) return line === null || !session.count ? `${number} before the first step` : `${number} after the update: the rate times the gradient has become too large`;
    return (line === null ? null : reasonOf(formulaOf(line), position)) ?? number;
  }

  // Why a cell of a formula is not finite: the innermost operation whose own numbers were still finite.
  function reasonOf(part, k) {
    if (!part || Number.isFinite(part.value(k))) return null;
    const inner = part.inner(k), values = inner.map(([x, cell]) => x.value(cell));
    const worse = values.findIndex((value) => !Number.isFinite(value));
    if (worse >= 0) {
      const deeper = reasonOf(...inner[worse]);
      if (deeper) return deeper;
    }
    return inner.length ? inWords(part.sign, values) : null;
  }

  function inWords(sign, values) {
    const [a, b] = values.map((value) => written(value, 4));
    if (sign === "exp") return `exp(${a}) is larger than a number can be (about 1.8e+308): it overflows`;
    if (sign === "log") return values[0] === 0 ? "log(0) is -inf" : `the logarithm of ${a}, a negative number, does not exist`;
    if (sign === "/" && values[1] === 0) return values[0] === 0 ? "0 / 0 has no value" : `${a} was divided by 0`;
    if (sign === "sum") return `the sum of ${values.length} numbers is larger than a number can be: it overflows`;
    if (["+", "-", "*", "/", "**"].includes(sign)) {
      return values.every(Number.isFinite) ? `${a} ${sign} ${b} is larger than a number can be: it overflows` : `${a} ${sign} ${b} has no value`;
    }
    return `${sign}(${[a, b].filter((text) => text !== undefined).join(", ")}) is not finite`;
  }

  return { sidesOf, shapeIn, lineOf, named, numbers, formulaOf, bodyOf, afterUpdate, reason };
})();
