// to be written: data
