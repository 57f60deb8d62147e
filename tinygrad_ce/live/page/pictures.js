// to be written: pictures
