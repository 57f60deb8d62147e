"""Training: the loop that one would write by hand, callbacks, compiled epochs, history and metrics.

Read in this order: `loop.py` (the loop), `callbacks.py` (what you write), `built_in.py` (what `fit` does beside the
loop), `trainer.py` (`fit` puts them together), `compiled.py`.
"""

from tinygrad_ce.train.built_in import NotFiniteError
from tinygrad_ce.train.callbacks import Callback
from tinygrad_ce.train.history import History
from tinygrad_ce.train.learning_rate import LearningRates, find_learning_rate
from tinygrad_ce.train.loop import Loop
from tinygrad_ce.train.tensorboard import TensorBoard
from tinygrad_ce.train.trainer import Trainer

__all__ = [
    "Callback",
    "History",
    "LearningRates",
    "Loop",
    "NotFiniteError",
    "TensorBoard",
    "Trainer",
    "find_learning_rate",
]
