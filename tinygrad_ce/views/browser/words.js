// Words of the field become buttons; a press shows the one line that explains the word. WORDS stands before this.

const WORD = new RegExp(`\\b(${Object.keys(WORDS).sort((a, b) => b.length - a.length).join("|")})(s|es)?\\b`, "gi");
const LINES = new Map(Object.entries(WORDS).map(([word, line]) => [word.toLowerCase(), { word, line }]));

// The nodes of a sentence of ours, words of the field as buttons: each word once in `seen`, which a panel keeps.
function explained(text, seen = new Set()) {
  const nodes = [];
  let end = 0;
  for (const match of text.matchAll(WORD)) {
    const name = match[1].toLowerCase();
    if (seen.has(name)) continue;
    seen.add(name);
    nodes.push(text.slice(end, match.index), wordButton(match[0], name));
    end = match.index + match[0].length;
  }
  return [...nodes, text.slice(end)];
}

function wordButton(text, name) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "word";
  button.textContent = text;
  button.setAttribute("aria-haspopup", "dialog");
  button.addEventListener("click", () => showWord(LINES.get(name), button));
  return button;
}

// One card for all words: Escape or a press elsewhere closes it, and the focus goes back to the word.
function showWord({ word, line }, button) {
  const card = document.getElementById("word-card") ?? wordCard();
  if (card.matches(":popover-open")) card.hidePopover();
  card.querySelector("strong").textContent = word;
  card.querySelector("p").textContent = line;
  card.showPopover();
  const place = button.getBoundingClientRect(), size = card.getBoundingClientRect();
  const below = place.bottom + 6 + size.height <= innerHeight;
  card.style.left = `${Math.max(8, Math.min(place.left, innerWidth - size.width - 8))}px`;
  card.style.top = `${Math.max(8, below ? place.bottom + 6 : place.top - 6 - size.height)}px`;
  card.focus({ preventScroll: true });
}

function wordCard() {
  const card = document.createElement("div");
  card.id = "word-card";
  card.popover = "auto";
  card.tabIndex = -1;
  card.setAttribute("role", "dialog");
  card.setAttribute("aria-labelledby", "word-name");
  card.setAttribute("aria-describedby", "word-line");
  const name = document.createElement("strong"), line = document.createElement("p");
  name.id = "word-name";
  line.id = "word-line";
  card.append(name, line);
  document.body.append(card);
  return card;
}

// All words with their lines, folded: for who wants to read them in a row.
function glossary() {
  const all = document.createElement("details"), title = document.createElement("summary"), list = document.createElement("dl");
  title.textContent = "All words, explained";
  for (const { word, line } of LINES.values()) {
    const term = document.createElement("dt"), meaning = document.createElement("dd");
    term.textContent = word;
    meaning.textContent = line;
    list.append(term, meaning);
  }
  all.className = "glossary";
  all.append(title, list);
  return all;
}
