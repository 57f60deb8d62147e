"""The file of a saved model: arrays, and one text that says what they belong to; nothing in it can be executed.

Read in this order: `file.py` (arrays and a text on the disk), `classes.py` (what a text may name), `architecture.py`
(layers as JSON), `settings.py` (losses, optimizers, schedules and generators as JSON).
"""
