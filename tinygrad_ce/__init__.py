"""tinygrad_ce: a small reverse-mode autodiff framework on NumPy and Numba, for toy networks and for teaching.

>>> import tinygrad_ce as tg
>>> x = tg.Tensor(3.0, requires_grad=True)
>>> y = x * x + 2 * x
>>> y.backward(); x.grad
array(8.)

What there is, by what one wants to do; `help(tg.Trainer)` and so on say more:

- numbers that remember where they came from: `tg.Tensor`, `tg.ops`, `tg.no_grad`, `tg.primitive`
- derivatives of functions: `tg.grad`, `tg.value_and_grad`, `tg.vjp`, `tg.jvp`, `tg.jacobian`, `tg.hessian`, `tg.hvp`,
  `tg.gradients`; are they right? `tg.check.gradcheck`
- networks: `tg.nn`, `tg.losses`, `tg.optim`, `tg.seed`
- data: `tg.data.moons`, `tg.data.digits`, `tg.data.from_csv`, `tg.data.split`, `tg.data.standardize`
- training: `tg.Trainer`, `tg.History`, `tg.train.Callback`; keeping: `tg.save`, `tg.load`, `tg.export`
- looking: `tg.explain`, `tg.draw`, `tg.step_through`, `tg.live`, `tg.why_nan`, `tg.audit`, `tg.surface`
- printing and compiling: `tg.source`, `tg.trace`, `tg.compile`, `tg.set_num_threads`
- a classroom: `tg.exercise`, `tg.grade`, `tg.assignments`
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from tinygrad_ce import check, core, data, losses, missing_names, nn, numpy_protocol, ops, optim, source_lines, train
from tinygrad_ce.backward import no_grad
from tinygrad_ce.core import Primitive, Tensor, primitive
from tinygrad_ce.functional import grad, gradients, hessian, hvp, jacobian, jvp, value_and_grad, vjp
from tinygrad_ce.kernels import attach
from tinygrad_ce.nn.init import seed
from tinygrad_ce.pickling import attach as attach_pickling
from tinygrad_ce.threads import get_num_threads, set_num_threads
from tinygrad_ce.train import History, NotFiniteError, Trainer
from tinygrad_ce.views import notebook

attach.attach()
attach_pickling()
source_lines.attach()
missing_names.attach(
    modules=(nn, losses, optim, data, train),
    classes=(Tensor, nn.Module, optim.Optimizer, Trainer),
    calls=(
        *((cls, "__init__") for module in (nn, optim) for cls in vars(module).values() if isinstance(cls, type)),
        *((Trainer, name) for name in ("__init__", "fit")),
    ),
)
notebook.attach(
    {
        Tensor: notebook.tensor_parts,
        nn.Module: lambda model: nn.module.summary_of(model).parts,
        data.Dataset: notebook.dataset_parts,
        data.Preparation: lambda preparation: preparation.summary().parts,
        Trainer: notebook.trainer_parts,
    }
)

if TYPE_CHECKING:
    from tinygrad_ce import assignments, export
    from tinygrad_ce.exercises import exercise
    from tinygrad_ce.grading import grade
    from tinygrad_ce.live.live import live
    from tinygrad_ce.program import Program, TraceError, compile, source, trace
    from tinygrad_ce.train.saved import load, save
    from tinygrad_ce.views.audit import audit
    from tinygrad_ce.views.draw import draw
    from tinygrad_ce.views.explain import explain
    from tinygrad_ce.views.nan import why_nan
    from tinygrad_ce.views.page import step_through
    from tinygrad_ce.views.surface import surface

__version__ = "0.1.0"

__all__ = [
    "History",
    "NotFiniteError",
    "Primitive",
    "Program",
    "Tensor",
    "TraceError",
    "Trainer",
    "assignments",
    "audit",
    "check",
    "compile",
    "core",
    "data",
    "draw",
    "exercise",
    "explain",
    "export",
    "get_num_threads",
    "grad",
    "grade",
    "gradients",
    "hessian",
    "hvp",
    "jacobian",
    "jvp",
    "live",
    "load",
    "losses",
    "nn",
    "no_grad",
    "numpy_protocol",
    "ops",
    "optim",
    "primitive",
    "save",
    "seed",
    "set_num_threads",
    "source",
    "step_through",
    "surface",
    "trace",
    "train",
    "value_and_grad",
    "vjp",
    "why_nan",
]

_LATER = {
    **dict.fromkeys(("Program", "TraceError", "compile", "source", "trace"), "program"),
    **dict.fromkeys(("load", "save"), "train.saved"),
    **{name: f"views.{name}" for name in ("audit", "draw", "explain", "surface")},
    "exercise": "exercises",
    "grade": "grading",
    "live": "live.live",
    "step_through": "views.page",
    "why_nan": "views.nan",
}
_ROOMS_LATER = ("assignments", "export")


def __getattr__(name: str) -> Any:
    """Programs, views and exports are loaded when they are first asked for: most scripts ask for none of them."""
    if name in _LATER:
        value = globals()[name] = getattr(import_module(f"tinygrad_ce.{_LATER[name]}"), name)
        return value
    if name in _ROOMS_LATER:
        return import_module(f"tinygrad_ce.{name}")
    if name.startswith("__"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    raise missing_names.missing_of_module(__name__, name, sys._getframe(1))


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER, *_ROOMS_LATER})
