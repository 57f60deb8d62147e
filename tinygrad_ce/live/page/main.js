// The page begins.
begin();
buildControls();
buildCurve();
redraw();
openFragment();
addEventListener("hashchange", openFragment);
