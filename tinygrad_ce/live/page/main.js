// The page begins.
begin();
redraw();
