// to be written: edge
