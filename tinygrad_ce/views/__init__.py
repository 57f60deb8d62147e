"""What a person looks at: text, plots, and the search for the first NaN. Everything reads the one recorded graph."""
