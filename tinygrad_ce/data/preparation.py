"""Preparation: what turns the rows of a table into X and y, fitted on the training part and kept with the model."""

from __future__ import annotations


class Preparation:
    """What turns a table into X and y, and predictions back into the words and units of the table."""
