// How large the picture and the page are: zoom, the frame in a notebook, paper, and the colour scheme.

// In a notebook the page is as high as what it shows, and gets no lower from step to step, so that nothing jumps; the
// picture beside its frame, for those who may run no scripts, goes.
const frame = frameOfThisOrigin(), form = frame && frame.closest(".tinygrad-ce");

function frameOfThisOrigin() {
  try {
    return window.frameElement;
  } catch {
    return null;
  }
}

if (form) {
  document.documentElement.classList.add("framed");
  const picture = form.querySelector("img");
  if (picture) picture.style.display = "none";
  let width = 0, tallest = 0;
  new ResizeObserver(() => {
    const box = document.body.getBoundingClientRect();
    tallest = Math.max(box.width === width ? tallest : 0, Math.ceil(box.height));
    width = box.width;
    frame.style.height = `${tallest}px`;
  }).observe(document.body);
}

let zoom = 1, zoomedByHand = false;

function scaled(factor) {
  zoom = Math.min(Math.max(factor, 0.2), 4);
  const { width, height } = svg.viewBox.baseVal;
  svg.setAttribute("width", width * zoom);
  svg.setAttribute("height", height * zoom);
}

// As large as the frame allows, in both directions; but letters of 12 pixels get no smaller, and what is larger is scrolled.
function fitting() {
  const box = at("picture"), tallest = parseFloat(getComputedStyle(box).maxHeight) || innerHeight / 2;
  const { width, height } = svg.viewBox.baseVal;
  return Math.max(1, Math.min((box.clientWidth - 12) / width, (tallest - 12) / height));
}

const startZoom = () => scaled(zoomedByHand ? zoom : Math.min(fitting(), 1.35));

function zoomed(factor) { // the node of this step stays in the middle
  scaled(factor);
  const card = cardOf(steps[followed[now]].node), box = at("picture");
  if (!card) return;
  const outer = box.getBoundingClientRect(), inner = card.getBoundingClientRect();
  box.scrollLeft += inner.left + inner.width / 2 - outer.left - box.clientWidth / 2;
  box.scrollTop += inner.top + inner.height / 2 - outer.top - box.clientHeight / 2;
}

at("smaller").addEventListener("click", () => { zoomedByHand = true; zoomed(zoom / 1.25); });
at("larger").addEventListener("click", () => { zoomedByHand = true; zoomed(zoom * 1.25); });
at("whole").addEventListener("click", () => { zoomedByHand = false; zoomed(fitting()); });

let closed = []; // what is folded on the screen, and open on paper
addEventListener("beforeprint", () => {
  closed = [...document.querySelectorAll("details:not([open])")];
  closed.forEach((box) => { box.open = true; });
});
addEventListener("afterprint", () => closed.forEach((box) => { box.open = false; }));

darkScheme.addEventListener("change", () => { repaint(); show(); });
startZoom();
if (darkScheme.matches) repaint();
pin(null);
