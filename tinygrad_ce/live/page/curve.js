// The loss so far.
views.push({ draw() { at("curve-title").textContent = `Loss ${written(session.step.outputs.loss[0], 4)} after ${session.count} steps`; } });
