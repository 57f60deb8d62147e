// to be written: controls
