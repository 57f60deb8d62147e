// The page begins.
begin();
buildControls();
buildCurve();
redraw();
session.selected = steepest();
redraw();
openFragment();
addEventListener("hashchange", openFragment);
if (location.hash === "#moment" && page.moments.list.length) beginMoment(0); // in a frame: the page around it must not scroll
