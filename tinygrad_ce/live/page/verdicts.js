// to be written: verdicts
