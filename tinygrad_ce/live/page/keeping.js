// to be written: keeping
