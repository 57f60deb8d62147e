// Formulas: a line of the printed step, read cell by cell. Nothing is computed here in the engine's place: a formula says
// which numbers a cell is made of, and serves for the arrays that only textbooks write down (e, p, one_hot).

const formulas = (() => {
  const FORMS = /\s*(\d+\.?\d*(?:e[-+]?\d+)?|[\p{L}_][\p{L}\p{N}_]*|\*\*|[<>=!]=|[-+*/@().,=<>:[\]])/uy;
  const BINDING = { "==": 1, "<": 1, ">": 1, "<=": 1, ">=": 1, "!=": 1, "+": 2, "-": 2, "*": 3, "/": 3, "@": 3, "**": 5 };
  const FACTOR = 4, ATOM = 6; // how tightly a minus sign in front, and a name, bind
  const SIGNS = {
    "+": (a, b) => a + b, "-": (a, b) => a - b, "*": (a, b) => a * b, "/": (a, b) => a / b, "**": (a, b) => a ** b,
    "==": (a, b) => Number(a === b), "!=": (a, b) => Number(a !== b), "<": (a, b) => Number(a < b),
    ">": (a, b) => Number(a > b), "<=": (a, b) => Number(a <= b), ">=": (a, b) => Number(a >= b),
  };
  const EACH_NUMBER = {
    exp: Math.exp, log: Math.log, log1p: Math.log1p, tanh: Math.tanh, sqrt: Math.sqrt, abs: Math.abs, sign: Math.sign,
    maximum: (a, b) => (a > b || a !== a ? a : b), minimum: (a, b) => (a < b || a !== a ? a : b), where: (c, a, b) => (c ? a : b),
  };

  // ---- text as a tree: { kind, ... }; a form that is not known is an error, and its line has no formula

  function parsed(text) {
    const symbols = [];
    FORMS.lastIndex = 0;
    while (text.slice(FORMS.lastIndex).trim()) symbols.push((FORMS.exec(text) ?? unknown(text))[1]);
    let next = 0;
    const tree = expression(0);
    return next === symbols.length ? tree : unknown(text);

    function skip(symbol) { if (symbols[next++] !== symbol) unknown(text); }

    function expression(least) {
      let left = symbols[next] === "-" ? (next++, { kind: "minus", inner: expression(FACTOR) }) : postfixed();
      while (BINDING[symbols[next]] > least) {
        const sign = symbols[next++];
        const right = expression(sign === "**" ? FACTOR : BINDING[sign]);
        left = { kind: sign === "@" ? "product" : "sign", sign, left, right };
      }
      return left;
    }

    function postfixed() {
      const symbol = symbols[next++] ?? unknown(text);
      let inner = { kind: "name", name: symbol };
      if (symbol === "(") { inner = expression(0); skip(")"); } else if (/\d/.test(symbol[0])) inner = { kind: "number", text: symbol };
      for (;;) {
        if (symbols[next] === ".") { next += 1; inner = { kind: "of", inner, name: symbols[next++] }; }
        else if (symbols[next] === "(") inner = { kind: "call", inner, ...listed(")") };
        else if (symbols[next] === "[") inner = { kind: "index", inner, ...listed("]") };
        else return inner;
      }
    }

    function listed(end) { // what stands between brackets: numbers by position, and by name
      const items = [], options = {};
      for (next += 1; symbols[next] !== end; symbols[next] === "," && next++) {
        if (next >= symbols.length) unknown(text);
        if (symbols[next + 1] === "=") {
          const name = symbols[next];
          options[name] = "";
          for (next += 2; next < symbols.length && ![",", end].includes(symbols[next]); next++) options[name] += symbols[next];
        } else items.push(expression(0));
      }
      next += 1;
      return { items, options };
    }
  }

  function unknown(text) { throw new SyntaxError(`no formula for ${text}`); }

  // ---- a tree as a part: { shape, value(k), pieces(k), inner(k), binding } of each cell k. pieces: texts, and numbers
  // { name, position, value } of arrays; inner: the parts that the number is computed from, each with its cell.

  function partOf(tree, known) {
    const part = (node) => partOf(node, known);
    if (tree.kind === "number") return constant(Number(tree.text), tree.text);
    if (tree.kind === "name") return known(tree.name) ?? unknown(tree.name);
    if (tree.kind === "minus") {
      const x = within(part(tree.inner), FACTOR);
      return { ...x, value: (k) => -x.value(k), pieces: (k) => ["-", ...x.pieces(k)], inner: (k) => [[x, k]], binding: 3 };
    }
    if (tree.kind === "product") return product(part(tree.left), part(tree.right));
    if (tree.kind === "sign") return signed(tree.sign, part(tree.left), part(tree.right));
    if (tree.kind === "of" && tree.name === "T") return turned(part(tree.inner));
    if (tree.kind === "of" && tree.name === "size") return constant(sizeOf(part(tree.inner).shape));
    if (tree.kind === "index") return picked(tree, part);
    return tree.kind === "call" ? called(tree, part) : unknown(tree.kind);
  }

  const sizeOf = (shape) => shape.reduce((a, b) => a * b, 1);
  const constant = (value, text = String(value)) => ({ shape: [], value: () => value, pieces: () => [text], inner: () => [], binding: ATOM });

  function arrayPart(name, shape, value) { // an array by its name: numbers that can be looked up
    const pieces = (k) => [{ name, position: k, shape, value: () => value(k) }];
    return { shape, value, pieces, inner: () => [], binding: ATOM, named: true };
  }

  function within(x, binding) {
    return x.binding >= binding ? x : { ...x, pieces: (k) => ["(", ...x.pieces(k), ")"], binding: ATOM };
  }

  // a part that only moves the numbers of x about; cells: for each new cell, which one of x
  function moved(x, shape, cells) {
    return { ...x, shape, value: (k) => x.value(cells(k)), pieces: (k) => x.pieces(cells(k)), inner: (k) => x.inner(cells(k)) };
  }

  function turned(x) {
    if (x.shape.length !== 2) return x.shape.length < 2 ? x : unknown("T");
    const [rows, columns] = x.shape;
    return moved(x, [columns, rows], (k) => (k % rows) * columns + Math.floor(k / rows));
  }

  function spread(x, shape) { // broadcast
    if (String(x.shape) === String(shape)) return x;
    if (sizeOf(x.shape) === 1) return moved(x, shape, () => 0);
    const missing = shape.length - x.shape.length;
    return moved(x, shape, (k) => indexOf(shape, k).slice(missing).reduce((cell, i, axis) => cell * x.shape[axis] + (x.shape[axis] === 1 ? 0 : i), 0));
  }

  function common(parts) {
    const longest = parts.reduce((a, b) => (b.shape.length > a.length ? b.shape : a), []);
    return longest.map((_, axis) => Math.max(...parts.map((x) => x.shape[axis - longest.length + x.shape.length] ?? 1)));
  }

  function signed(sign, left, right) {
    const shape = common([left, right]), binding = BINDING[sign], compute = SIGNS[sign];
    const a = spread(within(left, binding + Number(sign === "**")), shape), b = spread(within(right, binding + Number("-/".includes(sign))), shape);
    return {
      shape, binding, sign,
      value: (k) => compute(a.value(k), b.value(k)),
      pieces: (k) => [...a.pieces(k), sign === "**" ? "**" : ` ${sign} `, ...b.pieces(k)],
      inner: (k) => [[a, k], [b, k]],
    };
  }

  // a sum: terms(k) gives its parts with their cells; of a long one the first three and the last are written
  function sum(shape, count, terms) {
    const pieces = (k) => terms(k).flatMap(([x, cell], n, all) => {
      if (all.length > 4 && n > 2 && n < all.length - 1) return [];
      return [...(n ? [all.length > 4 && n > 2 ? " + … + " : " + "] : []), ...x.pieces(cell)];
    });
    const total = (k) => terms(k).reduce((so_far, [x, cell]) => so_far + x.value(cell), 0);
    return { shape, value: total, pieces, inner: terms, binding: count > 1 ? 2 : 3, sign: "sum" };
  }

  function product(left, right) {
    if (left.shape.length !== 2 || right.shape.length > 2) unknown("@");
    const [rows, count] = left.shape, columns = right.shape[1] ?? 1;
    const a = within(left, 3), b = within(right, 4);
    const term = (k, q) => signed("*", moved(a, [], () => Math.floor(k / columns) * count + q), moved(b, [], () => q * columns + (k % columns)));
    const shape = right.shape.length === 2 ? [rows, columns] : [rows];
    return sum(shape, count, (k) => Array.from({ length: count }, (_, q) => [term(k, q), 0]));
  }

  function reduced(name, x, options) {
    const axis = { undefined: null, None: null, 0: 0, 1: 1, "-1": x.shape.length - 1 }[options.axis];
    if (axis === undefined || (axis !== null && (x.shape.length > 2 || axis >= x.shape.length))) unknown(name);
    const [rows, columns] = axis === null || x.shape.length < 2 ? [sizeOf(x.shape), 1] : x.shape;
    const count = axis === 1 ? columns : rows, left = axis === 1 ? rows : columns;
    const shape = left === 1 && axis === null ? [] : options.keepdims === "True" ? (axis ? [left, 1] : [1, left]) : [left];
    const terms = (k) => Array.from({ length: count }, (_, q) => [x, axis === 1 ? k * columns + q : q * columns + k]);
    if (name === "max") {
      const inside = sum(shape, count, terms).pieces;
      const pieces = (k) => ["max(", ...inside(k).map((piece) => (typeof piece === "string" ? piece.replaceAll(" + ", ", ") : piece)), ")"];
      return { shape, value: (k) => terms(k).reduce((most, [y, cell]) => EACH_NUMBER.maximum(y.value(cell), most), -Infinity), pieces, inner: terms, binding: ATOM };
    }
    const total = sum(shape, count, terms);
    return name === "mean" ? signed("/", total, constant(count)) : total;
  }

  function called({ inner, items, options }, part) {
    if (inner.kind === "name" && inner.name === "len") return constant(part(items[0]).shape[0]);
    if (inner.kind !== "of") unknown("call");
    const name = inner.name, numpy = inner.inner.kind === "name" && inner.inner.name === "np";
    const parts = (numpy ? items : [inner.inner, ...items]).map(part);
    if (["sum", "mean", "max"].includes(name) && parts.length === 1) return reduced(name, parts[0], options);
    if (numpy && ["dot", "matmul"].includes(name)) return product(...parts);
    const compute = numpy && Object.hasOwn(EACH_NUMBER, name) ? EACH_NUMBER[name] : unknown(name);
    const shape = common(parts), each = parts.map((x) => spread(x, shape));
    return {
      shape, binding: ATOM, sign: name,
      value: (k) => compute(...each.map((x) => x.value(k))),
      pieces: (k) => [`${name}(`, ...each.flatMap((x, n) => [...(n ? [", "] : []), ...x.pieces(k)]), ")"],
      inner: (k) => each.map((x) => [x, k]),
    };
  }

  // np.eye(C)[y], a 1 in the column of each row's class; and p[np.arange(n), y], in each row the number of its class
  function picked({ inner, items }, part) {
    const labels = part(items.at(-1));
    if (inner.kind === "call" && inner.inner.name === "eye" && items.length === 1) {
      const classes = part(inner.items[0]).value(0);
      const same = (k) => [moved(labels, [], () => Math.floor(k / classes)), constant(k % classes)];
      return {
        shape: [labels.shape[0], classes], binding: 1,
        value: (k) => Number(labels.value(Math.floor(k / classes)) === k % classes),
        pieces: (k) => signed("==", ...same(k)).pieces(0), inner: (k) => same(k).map((x) => [x, 0]),
      };
    }
    if (items.length !== 2 || items[0].inner?.name !== "arange") unknown("index");
    const x = part(inner);
    return moved(x, labels.shape, (k) => k * x.shape[1] + labels.value(k));
  }

  return { parsed, partOf, constant, arrayPart };
})();
