"""The file of a saved model: arrays, and one text that says what they belong to; nothing in it can be executed.

Read in this order: `file.py` (arrays and a text on the disk), `classes.py` (what the text may name), `architecture.py`
(layers as JSON), `settings.py` (losses, optimizers, schedules and generators as JSON), `parameters.py` (the arrays of a
model), `document.py` (the text as a whole, checked before arrays are read). `train/saved.py` puts them together.
"""
