// to be written: random
