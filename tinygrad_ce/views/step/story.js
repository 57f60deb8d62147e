// The story: which step is shown, by buttons, keys, the slider and clicks; where it stands in picture and program.
const lines = [...document.querySelectorAll("#program pre > span")];
let followed = steps.map((_, n) => n); // the steps that are followed: all, or those of what is pinned
let now = 0; // a position in `followed`
let pinned = null; // a node
let timer = null;

// ---- what is pinned, and the steps that belong to it

function reachedFrom(start) {
  const found = new Set([start]);
  const waiting = [start];
  while (waiting.length) for (const e of nodes[waiting.pop()].uses) {
    const target = edges[e].target;
    if (!found.has(target)) { found.add(target); waiting.push(target); }
  }
  return found;
}

const belongs = (step, reached) => reached.has(step.node) && (step.edge === undefined || reached.has(edges[step.edge].target));

function pin(node, position = null) {
  const step = followed[now];
  pinned = node === null ? null : { node, position };
  if (position !== null) follow(node, position);
  if (leaves.includes(node)) leaf = node;
  const reached = node === null ? null : reachedFrom(node);
  followed = steps.map((_, n) => n).filter((n) => reached === null || belongs(steps[n], reached));
  now = Math.max(followed.findLastIndex((n) => n <= step), 0);
  markPinned();
  at("unpin").hidden = node === null;
  at("unpin").textContent = node === null ? "unpin" : `unpin ${nodes[node].name}`;
  at("slider").max = String(followed.length - 1);
  show();
}

// What has nothing to do with what is pinned is pale.
function markPinned() {
  const reached = pinned && reachedFrom(pinned.node);
  for (const [n, card] of [...cards, ...outside]) card.classList.toggle("off", pinned !== null && !reached.has(n));
  for (const [n, card] of cards) {
    card.classList.toggle("pinned", pinned?.node === n);
    card.setAttribute("aria-pressed", String(pinned?.node === n));
  }
  for (const [group, card] of folds) {
    card.classList.toggle("off", pinned !== null && ![...reached].some((n) => holds(group, n)));
    card.classList.toggle("pinned", pinned !== null && holds(group, pinned.node));
  }
  for (const [all, wire] of wires) {
    wire.classList.toggle("off", pinned !== null && !all.some((e) => reached.has(edges[e].source) && reached.has(edges[e].target)));
  }
}

function choose(node, position) {
  follow(node, position);
  if (leaves.includes(node)) leaf = node;
  show();
}

// ---- the step that is shown

function show() {
  const step = steps[followed[now]], detail = at("detail");
  const focused = detail.contains(document.activeElement) ? [...detail.querySelectorAll("button, input")].indexOf(document.activeElement) : -1;
  updatePicture(stateAfter(followed[now]), step);
  detail.replaceChildren();
  lit = new Map();
  at("step").className = step.phase;
  if (step.phase === "forward") forwardStep(detail, step);
  else if (step.phase === "update") updateStep(detail, step);
  else if (step.edge === undefined) seedStep(detail, step);
  else backwardStep(detail, step);
  if (focused >= 0) [...detail.querySelectorAll("button, input")][focused]?.focus();
  markLines(step);
  at("slider").value = String(now);
  at("slider").setAttribute("aria-valuetext", at("headline").textContent);
  at("count").textContent = `${now + 1} of ${followed.length}`;
  for (const box of detail.querySelectorAll(".rows")) showChosen(box);
  markCells(lit);
  if (pass) showChanges();
  showSpoiled();
  keepInView(cardOf(step.node));
}

function markLines(step) {
  lines.forEach((span, n) => {
    const current = step.lines.includes(n);
    span.className = current ? `now ${step.phase}` : "";
    span.dataset.phase = current ? step.phase : "";
    if (current) span.setAttribute("aria-current", "step"); else span.removeAttribute("aria-current");
  });
  const first = lines.find((span) => span.classList.contains("now"));
  if (first) within(at("program").querySelector("pre"), first.offsetTop - first.parentElement.offsetTop, first.offsetHeight, "top");
}

function showSpoiled() {
  const n = spoiledStep(), button = at("spoiled");
  button.hidden = n < 0;
  if (n < 0) return;
  const { node, phase, edge } = steps[n];
  const array = phase === "forward" ? valueOf(node) : arrays[edges[edge].share];
  const position = array.numbers.findIndex((x) => !Number.isFinite(x));
  const name = cellName(phase === "forward" ? nodes[node].name : `d_${nodes[node].name}`, array.shape, position);
  button.textContent = `the first number that is not finite: ${name} = ${number(array, position)}; show how it came about`;
  button.onclick = () => { if (pinned) pin(null); follow(node, position); go(n); };
}

function showChosen(box) {
  const cell = box.querySelector("td.chosen");
  if (cell) within(box, cell.offsetTop, cell.offsetHeight, "top");
}

function within(box, start, size, side) {
  const scroll = side === "top" ? "scrollTop" : "scrollLeft", extent = side === "top" ? box.clientHeight : box.clientWidth;
  if (start < box[scroll] + 8 || start + size > box[scroll] + extent - 8) box[scroll] = start - (extent - size) / 2;
}

function keepInView(card) { // to the middle across, but down no further than is needed, so that what is above is seen, too
  if (!card) return;
  const box = at("picture"), outer = box.getBoundingClientRect(), inner = card.getBoundingClientRect();
  within(box, inner.left - outer.left + box.scrollLeft, inner.width, "left");
  const top = inner.top - outer.top + box.scrollTop - 8, bottom = top + inner.height + 16;
  box.scrollTop = Math.min(Math.max(box.scrollTop, bottom - box.clientHeight), top);
}

// ---- buttons, keys, slider

function go(position) {
  now = Math.min(Math.max(position, 0), followed.length - 1);
  followLevel(steps[followed[now]]);
  show();
}

function playing(isOn) {
  clearInterval(timer);
  timer = null;
  if (isOn) {
    if (now === followed.length - 1) go(0);
    timer = setInterval(() => { if (now === followed.length - 1) playing(false); else go(now + 1); }, Number(at("speed").value));
  }
  at("play").textContent = isOn ? "Pause" : "Play";
  at("play").setAttribute("aria-label", isOn ? "pause" : "play");
  at("headline").setAttribute("aria-live", isOn ? "off" : "polite"); // nobody listens to so many words
}

const moves = { first: () => go(0), back: () => go(now - 1), next: () => go(now + 1), last: () => go(followed.length - 1) };
for (const [id, move] of Object.entries(moves)) at(id).addEventListener("click", () => { playing(false); move(); });
at("play").addEventListener("click", () => playing(timer === null));
at("slider").addEventListener("input", () => { playing(false); go(Number(at("slider").value)); });
at("speed").addEventListener("change", () => playing(timer !== null));
at("unpin").addEventListener("click", () => { pin(null); at("play").focus(); });

// After a click with the mouse the keys belong to the page again: the space bar plays.
document.addEventListener("click", (event) => {
  if (event.detail > 0 && document.activeElement.matches("#controls button, #change button, #detail button, #level button, #follow, summary, .node, .fold, .outside")) document.activeElement.blur();
});

const CARDS = ".node, .fold, .outside";

document.addEventListener("keydown", (event) => {
  const kind = event.target.tagName;
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if ((kind === "SELECT" || kind === "INPUT") && event.key !== "Escape") return; // they have keys of their own
  if (event.key === "ArrowRight") moves.next();
  else if (event.key === "ArrowLeft") moves.back();
  else if (event.key === "Home") moves.first();
  else if (event.key === "End") moves.last();
  else if (event.key === "Escape") pinned ? pin(null) : openLevel(levels[level].above);
  else if (pass && event.key.toLowerCase() === "o") backToOriginal();
  else if (rule && event.key.toLowerCase() === "n") nextTrainStep();
  else if ((event.key === " " || event.key === "Enter") && event.target.classList.contains("share")) goToEdge(Number(event.target.dataset.edge));
  else if (event.key === " " && kind !== "BUTTON" && kind !== "SUMMARY") {
    if (event.target.matches(CARDS)) pressIn(event);
    else playing(timer === null);
  } else if (event.key === "Enter" && event.target.matches(CARDS)) pressIn(event);
  else return;
  if (event.key.startsWith("Arrow") || event.key === "Home" || event.key === "End") playing(false);
  event.preventDefault();
});

function goToEdge(n) { // back along it if that is followed, else forward
  const back = followed.findIndex((k) => steps[k].edge === n);
  const forth = followed.findIndex((k) => steps[k].phase === "forward" && steps[k].node === edges[n].target);
  playing(false);
  go(back >= 0 ? back : Math.max(forth, 0));
}

// A click in the picture opens what is folded or elsewhere, pins a node, or leads to the step of a wire.
function pressIn(event) {
  const card = event.target.closest(CARDS), wire = event.target.closest(".wire");
  if (wire) goToEdge(Number(wire.querySelector(".arrived .share")?.dataset.edge ?? wires.find(([, g]) => g === wire)[0][0]));
  if (!card) return;
  if (card.matches(".fold")) return openLevel(levelOfGroup.get(Number(card.dataset.group)));
  if (card.matches(".outside")) return openLevel(homeOf[card.dataset.node]);
  const text = event.target.closest("text[data-cell]");
  const node = Number(card.dataset.node), position = text ? Number(text.dataset.cell) : null;
  if (pinned && pinned.node === node && pinned.position === position) pin(null);
  else pin(node, position);
}

at("picture").addEventListener("click", pressIn);
at("picture").addEventListener("focusin", (event) => { // who cannot see the picture hears the numbers of the card
  const card = event.target.closest(CARDS);
  if (!card) return;
  const n = Number(card.dataset.output ?? card.dataset.node), first = (array) => [...array.numbers.slice(0, 12)].map((_, i) => number(array, i, 3)).join(", ");
  const gradient = shown.arrived.has(n) ? `; gradient ${first(gradientSoFar(n, shown.arrived.get(n)))}` : "";
  card.setAttribute("aria-description", shown.values.has(n) ? `${first(valueOf(n))}${gradient}` : "not computed yet");
});

at("intro").replaceChildren(...explained(at("intro").textContent));
at("words").append(glossary());
