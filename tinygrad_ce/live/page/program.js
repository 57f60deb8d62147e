// to be written: program
