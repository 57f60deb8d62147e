"""scikit-learn's MLPClassifier and MLPRegressor, trained here: change one import, and the program runs.

The same parameters, the same initial weights and the same batches for the same random_state, so the same curves to
rounding; and besides dropout, batch norm, class weights, label smoothing, modules of one's own and `explain_row`.

Read in this order: `estimators.py` (what a user sees), `base.py` (a fit), `rows.py`, `loss.py`, `epochs.py` (what
happens after each epoch), `network.py`, `parameters.py`.
"""

from tinygrad_ce.data.checks import extra

extra("sklearn")  # if it is not there, say what to install

from tinygrad_ce.sklearn.estimators import MLPClassifier, MLPRegressor  # noqa: E402
from tinygrad_ce.sklearn.explanation import RowExplanation  # noqa: E402

__all__ = ["MLPClassifier", "MLPRegressor", "RowExplanation"]
