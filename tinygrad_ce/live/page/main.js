// The page begins.
begin();
buildControls();
buildCurve();
redraw();
session.selected = steepest();
redraw();
openFragment();
addEventListener("hashchange", openFragment);
