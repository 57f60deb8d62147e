"""The losses: each checks its arguments in the words of a teacher, then calls primitives.

The name says what it takes: `cross_entropy` and `binary_cross_entropy` take probabilities, `softmax_cross_entropy` and
`sigmoid_binary_cross_entropy` take logits. Given probabilities that a softmax or sigmoid has just made, the first two
differentiate through the logits, so the textbook network is as stable as the fused one.
"""

from tinygrad_ce.losses.classes import cross_entropy, kl_divergence, nll, softmax_cross_entropy
from tinygrad_ce.losses.elements import binary_cross_entropy, hinge, huber, mse, sigmoid_binary_cross_entropy

__all__ = [
    "binary_cross_entropy",
    "cross_entropy",
    "hinge",
    "huber",
    "kl_divergence",
    "mse",
    "nll",
    "sigmoid_binary_cross_entropy",
    "softmax_cross_entropy",
]
