// The page begins.
begin();
buildControls();
redraw();
