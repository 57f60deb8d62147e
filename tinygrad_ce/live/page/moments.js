// Panel: moments, each predicted, tried, checked and explained. A moment brings its network and rows into the session;
// what the session was before comes back unchanged.

const moments = {
  number: null, // of the moment that is open
  state: 0, // of its states, the one that was set last
  guess: null, // what was predicted: no check before that
  solved: new Set(),
  lines: 0, // as far as the step was walked through
  start: null, // { loss, state, slopes } when the state was set
  shown: false, // whether the explanation is
  kept: null, // the session and the page's content from before
};

// ---- the session, kept and brought back

function keepSession() {
  const { data, own, settings, state } = page;
  moments.kept = { snapshot: snapshot(), history: session.history, spoiled: session.spoiled, page: { data, own, settings, state, prefix: "" } };
}

function bringBack() {
  Object.assign(page, moments.kept.page);
  restore(moments.kept.snapshot);
  session.history = moments.kept.history;
  session.spoiled = moments.kept.spoiled;
}

const packedNumbers = (numbers) => ({ shape: [numbers.length], kind: "f8", data: btoa(String.fromCharCode(...new Uint8Array(Float64Array.from(numbers).buffer))) });

// Sets the session to a state of the moment; false, with a sentence, where the page has no such network.
function setUp(number) {
  const { settings, scale, weights, data, select } = page.moments.list[moments.number].states[number];
  bringBack();
  if (data !== null) Object.assign(page, { data: page.moments.data[data], own: null, settings: {}, prefix: page.moments.prefix });
  if (keyOf({ ...session.settings, ...settings }) === null) {
    bringBack();
    fail("This page does not hold the network of this moment.");
    return false;
  }
  if (data !== null) session.data = firstData();
  const training = session.data.rows - session.data.test.size;
  session.frozen.clear();
  choose({ ...settings, batch: Math.min(settings.batch ?? training, training) });
  const state = {};
  for (const [name, array] of Object.entries(session.step.state)) state[name] = packedNumbers(weights[name] ?? array.map((value) => value * scale));
  // These are the first numbers now: "reset" comes back to them.
  Object.assign(page, { own: session.key, settings: { ...session.settings, steps: 0 }, state });
  seeded = false;
  restart();
  session.selected = null;
  if (select) session.selected = { name: select.name, index: flatIndex(select.name, select.index) };
  const slopes = Object.fromEntries(Object.keys(session.step.state).filter(slopesOf).map((name) => [name, slopesOf(name).slice()]));
  Object.assign(moments, { state: number, lines: 0, start: { loss: session.step.outputs.loss[0], state: arraysOf(session.step.state), slopes } });
  return true;
}

// ---- opening and leaving

function beginMoment(number) {
  pause();
  fail("");
  showWelcome(false);
  if (moments.kept === null) keepSession();
  Object.assign(moments, { number, guess: null });
  const ready = setUp(0);
  showMoment(ready);
  redraw();
}

function openMoment(number) {
  beginMoment(number);
  at("moment-title").focus({ preventScroll: true });
  at("moments-panel").scrollIntoView({ block: "nearest" });
}

function leaveMoment() {
  const { number } = moments;
  pause();
  fail("");
  bringBack();
  Object.assign(moments, { number: null, kept: null });
  showMoment();
  redraw();
  at("moment-list").children[number].firstChild.focus();
}

// ---- what is shown

function listOfMoments() {
  return element("ol", { id: "moment-list" }, ...page.moments.list.map(({ title }, number) => element("li", {}, element("button", { type: "button", click: () => openMoment(number) }, title))));
}

const isRight = ({ answer, answers }, guess) => (answers.length ? guess === answer : Math.abs(guess - answer) <= 0.25 * Math.abs(answer));

function predicting(moment) {
  const { answers, question } = moment, wrong = element("span", { class: "wrong", role: "alert" });
  const fields = answers.length
    ? answers.map((answer, i) => element("label", {}, element("input", { type: "radio", name: "guess", value: i }), ` ${answer}`))
    : [element("label", {}, "Your number ", element("input", { type: "text", name: "guess", inputmode: "decimal", size: 8, autocomplete: "off" }))];
  const form = element("form", { id: "guess-form" },
    element("p", { id: "moment-question" }, ...explained(question)),
    element("fieldset", { "aria-labelledby": "moment-question" }, ...fields), element("button", { id: "moment-guess" }, "This is my guess"), wrong);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const text = new FormData(form).get("guess")?.trim() ?? "";
    if (text === "" || Number.isNaN(Number(text))) return say(wrong, answers.length ? "Choose an answer first." : "Type a number, such as 0.5.");
    moments.guess = answers.length ? answers[Number(text)] : Number(text);
    showMoment();
    redraw();
    return at("moment-task").focus();
  });
  return form;
}

function trying({ task, states }) {
  const again = (number) => { pause(); setUp(number); moments.shown = false; redraw(); say(at("moment-said"), `Set: ${states[number].button}`); };
  return [
    element("p", { id: "moment-task", tabindex: -1 }, ...explained(task)),
    element("div", { class: "moment-buttons" },
      ...states.map(({ button }, number) => element("button", { type: "button", click: () => again(number) }, button)),
      element("button", { type: "button", id: "moment-check", click: () => say(at("moment-said"), verdictOf()) }, "Check"),
      element("p", { id: "moment-verdict" })),
  ];
}

const verdictOf = () => {
  const words = lacking(page.moments.list[moments.number]);
  return words === null ? "Solved." : `Not yet: ${words}.`;
};

function solve(moment) {
  moments.solved.add(moments.number);
  const { answer } = moment, { guess } = moments, explanation = withMeasures(moment.explanation);
  const judged = isRight(moment, guess) ? "You foretold it" : `You said: ${guess}. It is: ${answer}`;
  at("moment-verdict").replaceChildren(element("strong", {}, "✓ Solved. "), `${judged}. `, ...explained(explanation));
  say(at("moment-said"), `Solved. ${judged}. ${explanation}`);
  showProgress();
}

function showProgress() {
  const { list } = page.moments;
  say(at("moments-title"), `Moments: ${moments.solved.size} of ${list.length} solved`);
  [...at("moment-list").children].forEach((item, number) => {
    item.classList.toggle("solved", moments.solved.has(number));
    say(item.firstChild, `${list[number].title}${moments.solved.has(number) ? " ✓" : ""}`);
    if (number === moments.number) item.firstChild.setAttribute("aria-current", "true"); else item.firstChild.removeAttribute("aria-current");
  });
}

// The open moment stands above all panels, so that it is read where it is tried.
function showMoment(ready = true) {
  const { number, guess } = moments, open = number !== null, panel = at("moments-panel"), main = panel.parentElement;
  const moment = page.moments.list[number], last = page.moments.list.length - 1;
  if (open !== (main.firstElementChild === panel)) main[open ? "prepend" : "append"](panel);
  document.documentElement.classList.toggle("in-moment", open);
  at("moment").hidden = !open;
  at("moment-list").hidden = open;
  showProgress();
  if (!open) return;
  moments.shown = false;
  say(at("moment-title"), `${number + 1}. ${moment.title}`);
  at("moment-body").replaceChildren(...(!ready ? [] : guess === null ? [predicting(moment)] : trying(moment)));
  say(at("moment-said"), "");
  at("moment-before").disabled = number === 0;
  at("moment-next").disabled = number === last;
}

function drawMoment() {
  moments.lines = Math.max(moments.lines, (session.line ?? -1) + 1);
  if (moments.number === null || moments.guess === null || moments.shown) return;
  const moment = page.moments.list[moments.number], words = lacking(moment);
  if (words === null) {
    solve(moment);
    moments.shown = true;
  } else say(at("moment-verdict"), `Not yet: ${words}.`);
}

function buildMoments() {
  const button = (id, words, click) => element("button", { id, type: "button", click }, words);
  at("moments-panel").append(
    listOfMoments(),
    element("article", { id: "moment", hidden: "", "aria-labelledby": "moment-title" },
      element("h3", { id: "moment-title", tabindex: -1 }), element("div", { id: "moment-body" }), element("p", { id: "moment-said", role: "status" }),
      element("div", { class: "moment-buttons" },
        button("moment-before", "◂ the one before", () => openMoment(moments.number - 1)), button("moment-next", "next ▸", () => openMoment(moments.number + 1)),
        button("moment-leave", "back to your network", leaveMoment))));
  showMoment();
  views.push({ draw: drawMoment });
}

if (page.moments.list.length) buildMoments();
else at("moments-panel").hidden = true;
