// Unpacks what Python has deflated, in its order: content becomes the text of an element, scripts run.

(async () => {
  for (const element of document.querySelectorAll("script[data-deflated]")) {
    const bytes = Uint8Array.from(atob(element.textContent), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    const unpacked = document.createElement("script");
    unpacked.id = element.id;
    unpacked.type = element.dataset.deflated;
    unpacked.textContent = await new Response(stream).text();
    element.replaceWith(unpacked);
  }
  document.documentElement.dataset.ready = "";
})();
