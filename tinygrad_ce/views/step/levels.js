// The levels of the picture: the first shows all of the graph, each further one a group that is folded in another one.
const levels = data.levels;
const texts = at("levels") ? JSON.parse(at("levels").textContent) : []; // the further pictures, made when they are opened
const drawn = [document.querySelector(".tg-graph")];
const levelOfGroup = new Map(levels.map(({ group }, k) => [group, k]));
const homeOf = []; // by node, the level in which it has a card of its own
levels.forEach((here, k) => here.nodes.forEach((n) => { homeOf[n] = k; }));

let level = 0, svg; // what is seen
let cards, folds, outside, wires; // by node or group their elements; with each wire the edges that it stands for

function isWithin(k, outer) { // a level in another one, or that itself
  while (k !== null && k !== outer) k = levels[k].above;
  return k === outer;
}

const holds = (fold, n) => isWithin(homeOf[n], levelOfGroup.get(fold));
const outputOf = (card) => Number(card.dataset.output);
const levelOfStep = (step) => homeOf[step.edge === undefined ? step.node : edges[step.edge].target]; // its wire is there

// All elements with numbers: [node, element]; a fold shows those of its output.
const panelled = () => [...cards, ...[...folds.values()].map((card) => [outputOf(card), card])];

// What shows a node here: its own card, the fold that it is in, or its name.
function cardOf(n) {
  const fold = () => [...folds].find(([group]) => holds(group, n))?.[1];
  return cards.get(n) ?? outside.get(n) ?? fold();
}

function parsed(text) {
  const template = document.createElement("template");
  template.innerHTML = text;
  return template.content.firstElementChild;
}

function useLevel(k) {
  drawn[k] ??= parsed(texts[k - 1]);
  if (svg && svg !== drawn[k]) svg.replaceWith(drawn[k]);
  [level, svg] = [k, drawn[k]];
  const found = (selector, key) => new Map([...svg.querySelectorAll(selector)].map((g) => [Number(g.dataset[key]), g]));
  cards = found(".node", "node");
  folds = found(".fold", "group");
  outside = found(".outside", "node");
  wires = [...svg.querySelectorAll(".wire")].map((g) => [(g.dataset.edges ?? g.dataset.edge).split(" ").map(Number), g]);
  svg.setAttribute("role", "group");
  for (const [n, card] of cards) makeButton(card, `pin ${nodes[n].name}`);
  for (const [group, card] of folds) makeButton(card, `open ${levels[levelOfGroup.get(group)].title}`);
  for (const [n, card] of outside) makeButton(card, `go to ${nodes[n].name}`);
}

function makeButton(card, label) {
  card.setAttribute("tabindex", "0");
  card.setAttribute("role", "button");
  card.setAttribute("aria-label", label);
}

function showLevel(k) {
  if (k === level) return;
  useLevel(k);
  startZoom();
  repaint();
  markPinned();
  showCrumbs();
}

// By hand: the picture stays there, unless the step of the story is in it.
function openLevel(k) {
  const before = level, hasFocus = svg.contains(document.activeElement) || at("level").contains(document.activeElement);
  if (k === null || k === before) return;
  if (k !== levelOfStep(steps[followed[now]])) at("follow").checked = false;
  showLevel(k);
  show();
  const fold = [...folds].find(([group]) => isWithin(before, levelOfGroup.get(group)))?.[1];
  if (fold) keepInView(fold);
  if (hasFocus) (fold ?? svg.querySelector(".node, .fold")).focus({ preventScroll: true });
}

function followLevel(step) {
  if (at("follow").checked) showLevel(levelOfStep(step));
}

function showCrumbs() {
  const way = [];
  for (let k = level; k !== null; k = levels[k].above) way.unshift(k);
  at("crumbs").replaceChildren(...way.map((k) => {
    const item = element("li"), button = element("button", levels[k].title);
    if (k === level) button.setAttribute("aria-current", "location");
    button.type = "button";
    button.addEventListener("click", () => openLevel(k));
    item.append(button);
    return item;
  }));
  at("up").disabled = level === 0;
}

at("up").addEventListener("click", () => openLevel(levels[level].above));
at("follow").addEventListener("change", () => { followLevel(steps[followed[now]]); show(); });
at("level").hidden = at("folding").hidden = levels.length === 1;
document.documentElement.classList.toggle("levelled", levels.length > 1);
useLevel(0);
showCrumbs();
