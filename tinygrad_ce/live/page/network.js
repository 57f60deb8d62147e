// to be written: network
