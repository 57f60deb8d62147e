// The first sentence, what it means with the legend of colours and lines, and the lecture switch: larger, and fewer panels at once.

const IN_SHORT = "A network guesses, looks how wrong it was, and changes itself a little: thousands of times. Press Train.";
const FIRST = "A network guesses, looks how wrong it was, and changes itself a little: thousands of times. In the forward pass numbers run from the inputs to the loss. In the backward pass the chain rule runs back and gives each weight its gradient: by how much the loss would rise if that weight rose. In the update each weight goes a little against its gradient. Press Train, or press step inside to see one step line by line.";
const LEGEND = [
  ["forward", "forward pass: numbers are computed"], ["backward", "backward pass: gradients are computed"], ["update", "update: weights change"],
  ["positive", "edge with a positive number"], ["negative", "edge with a negative number: dashed"], ["wide", "the wider an edge, the larger its number"],
];
const SHOWN_IN_LECTURE = { data: "the data", curve: "the loss", edge: "this edge", verdicts: "is it learning?", below: "one step, as NumPy" };

function legendOf() {
  return element("ul", { class: "legend" }, ...LEGEND.map(([kind, words]) => element("li", {}, element("span", { class: `swatch ${kind}`, "aria-hidden": "true" }), words)));
}

function buildWelcome() {
  const help = element("button", { id: "help", type: "button", "aria-expanded": "false", "aria-controls": "welcome", click: () => showWelcome(at("welcome").hidden) }, "What is this?");
  const section = element("section", { id: "welcome", "aria-labelledby": "welcome-title", hidden: "" },
    element("h2", { id: "welcome-title" }, "New to backpropagation?"), element("p", {}, ...explained(FIRST)), legendOf(),
    glossary(), element("button", { id: "welcome-close", type: "button", click: () => { showWelcome(false); help.focus(); } }, "Close"));
  document.querySelector("main").before(section);
  document.querySelector("h1").after(element("p", { id: "in-short" }, IN_SHORT), help, ...lectureControls());
}

function showWelcome(shown) {
  at("welcome").hidden = !shown;
  at("help").setAttribute("aria-expanded", String(shown));
}

function lectureControls() {
  const root = document.documentElement;
  const panel = element("select", { id: "lecture-panel", "aria-label": "shown beside the network", change: () => { root.dataset.lecture = panel.value; } },
    ...Object.entries(SHOWN_IN_LECTURE).map(([value, words]) => element("option", { value }, words)));
  const button = element("button", { id: "lecture", type: "button", "aria-pressed": "false", click: () => turn(!root.classList.contains("lecture")) }, "Lecture");
  function turn(on) {
    root.classList.toggle("lecture", on);
    root.dataset.lecture = panel.value;
    panel.hidden = !on;
    button.setAttribute("aria-pressed", String(on));
    if (on) showWelcome(false);
  }
  panel.hidden = true;
  if (new URLSearchParams(location.search).has("lecture") || location.hash === "#lecture") queueMicrotask(() => turn(true));
  return [button, panel];
}

buildWelcome();
