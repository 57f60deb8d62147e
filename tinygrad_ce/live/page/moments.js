// to be written: moments
