"""`python -m tinygrad_ce.numpy_protocol > docs/numpy.md` writes the page of the documentation."""

from tinygrad_ce.numpy_protocol.refusals import page

print(page(), end="")
