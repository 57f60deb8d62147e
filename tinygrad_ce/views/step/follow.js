// One cell of each array is followed through the story: from a leaf to the loss, and back.

let cells = new Map(data.path); // by node, the cell that is shown with its numbers

const sizeOf = (x) => (Number.isNaN(x) ? Infinity : Math.abs(x)); // what is spoiled is looked at first

function largest(array, positions = array.numbers.keys()) {
  let best = null;
  for (const i of positions) if (best === null || sizeOf(array.numbers[i]) > sizeOf(array.numbers[best])) best = i;
  return best ?? 0;
}

// Where the numbers of a formula stand, for one cell of its result.
function placesOf(pieces, shape, position) {
  const index = indexOf(shape, position);
  return pieces.filter((piece) => typeof piece !== "string").map((piece) => ({
    array: piece.array,
    position: piece.table ? piece.table[position] : piece.steps.reduce((sum, step, axis) => sum + step * index[axis], piece.start),
  }));
}

const positionsIn = (places, array) => places.filter((place) => place.array === array).map((place) => place.position);

// Follow this cell: towards the loss through what depends most on it, and in all that the way is computed from.
function follow(node, position) {
  cells = new Map([[node, position]]);
  for (let n = node; ;) {
    const uses = nodes[n].uses.filter((e) => edges[e].share !== null);
    if (!uses.length) break;
    const here = cells.get(n);
    const e = uses.reduce((best, e) => (sizeOf(arrays[edges[e].share].numbers[here]) > sizeOf(arrays[edges[best].share].numbers[here]) ? e : best));
    const target = edges[e].target;
    const upstream = positionsIn(placesOf(edges[e].pieces, valueOf(n).shape, here), nodes[target].gradient);
    cells.set(target, upstream.length ? largest(gradientOf(target), upstream) : sameCell(n, here, target));
    n = target;
  }
  complete();
}

function sameCell(n, position, other) { // of an array of the same shape; else its largest
  const array = nodes[other].gradient === null ? valueOf(other) : gradientOf(other);
  return String(array.shape) === String(valueOf(n).shape) ? position : largest(array);
}

// Of each other node the cell from which a cell that is followed was computed.
function complete() {
  for (let n = nodes.length - 1; n >= 0; n--) {
    if (cells.has(n)) continue;
    for (const e of nodes[n].uses) {
      const target = edges[e].target, found = positionsIn(placesOf(nodes[target].pieces, valueOf(target).shape, cells.get(target)), nodes[n].value);
      if (!found.length) continue;
      cells.set(n, largest(edges[e].share === null ? valueOf(n) : arrays[edges[e].share], found));
      break;
    }
    if (!cells.has(n)) cells.set(n, largest(nodes[n].gradient === null ? valueOf(n) : gradientOf(n)));
  }
}

complete();
