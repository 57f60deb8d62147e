// The page begins.
begin();
buildControls();
buildCurve();
redraw();
session.selected = steepest();
redraw();
openFragment();
addEventListener("hashchange", openFragment);
// In a frame: without the focus, so that the page around it does not scroll.
if (new URLSearchParams(location.search).has("moment") && page.moments.list.length) beginMoment(0);
