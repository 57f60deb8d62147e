"""tinygrad_ce: a small reverse-mode autodiff framework on NumPy and Numba, for toy networks and for teaching.

>>> import tinygrad_ce as tg
>>> x = tg.Tensor(3.0, requires_grad=True)
>>> y = x * x + 2 * x
>>> y.backward(); x.grad
array(8.)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tinygrad_ce import check, core, data, losses, nn, numpy_protocol, ops, optim
from tinygrad_ce.backward import gradients, no_grad
from tinygrad_ce.core import Primitive, Tensor, primitive
from tinygrad_ce.functional import grad, hessian, hvp, jacobian, jvp, value_and_grad, vjp
from tinygrad_ce.nn.init import seed
from tinygrad_ce.threads import get_num_threads, set_num_threads
from tinygrad_ce.train import History, NotFiniteError, Trainer

if TYPE_CHECKING:
    from tinygrad_ce.program import Program, TraceError, compile, source, trace

__version__ = "0.1.0"

__all__ = [
    "History",
    "NotFiniteError",
    "Primitive",
    "Program",
    "Tensor",
    "TraceError",
    "Trainer",
    "check",
    "compile",
    "core",
    "data",
    "get_num_threads",
    "grad",
    "gradients",
    "hessian",
    "hvp",
    "jacobian",
    "jvp",
    "losses",
    "nn",
    "no_grad",
    "numpy_protocol",
    "ops",
    "optim",
    "primitive",
    "seed",
    "set_num_threads",
    "source",
    "trace",
    "value_and_grad",
    "vjp",
]

_OF_PROGRAMS = ("Program", "TraceError", "compile", "source", "trace")


def __getattr__(name: str) -> Any:
    """What has to do with programs is loaded when it is first asked for: most scripts ask for none of it."""
    if name in _OF_PROGRAMS:
        value = globals()[name] = getattr(import_module("tinygrad_ce.program"), name)
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_OF_PROGRAMS})
