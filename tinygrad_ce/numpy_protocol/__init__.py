"""A Tensor looks like an array: np.exp(t), np.sum(t, axis=0), ndarray * t, t.reshape(...), t[0], len(t), print(t)...

NumPy hands its calls on a Tensor to the functions listed here, and the methods of arrays are put on Tensor. A NumPy
function that is not listed raises, and says what to use: silently leaving the graph would be a wrong gradient.
"""

from tinygrad_ce.core import Tensor
from tinygrad_ce.numpy_protocol import elements, methods, products, questions, reductions, shapes, ufuncs
from tinygrad_ce.numpy_protocol.registry import FUNCTIONS, UFUNCS

methods.attach(Tensor)  # when the families above have put their functions into the table

__all__ = [
    "FUNCTIONS",
    "UFUNCS",
    "elements",
    "methods",
    "products",
    "questions",
    "reductions",
    "shapes",
    "ufuncs",
]
