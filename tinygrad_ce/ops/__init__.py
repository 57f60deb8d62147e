"""The primitives, by family. Each is a forward and one derivative rule for each input; there is no other calculus."""

# fmt: off
from tinygrad_ce.ops.arithmetic import add, div, mul, neg, sub
from tinygrad_ce.ops.comparison import (
    equal, greater, greater_equal, isfinite, isinf, isnan, less, less_equal, logical_and, logical_not, logical_or,
    logical_xor, not_equal,
)
from tinygrad_ce.ops.elementwise import (
    absolute, astype, clip, cos, exp, expm1, identity, log, log1p, maximum, minimum, relu, sigmoid, sigmoid_slope,
    sign, sin, softplus, sqrt, tanh, tanh_slope, where, xdivy, xlog1py, xlogy,
)
from tinygrad_ce.ops.indexing import getitem, index, pick, place, scatter_add
from tinygrad_ce.ops.inverse import (
    arccos, arccosh, arcsin, arcsinh, arctan, arctan2, arctanh, cbrt, cosh, erf, erfc, exp2, hypot, log2, log10,
    logaddexp, sinh, tan,
)
from tinygrad_ce.ops.linalg import affine, contract, einsum, matmul
from tinygrad_ce.ops.loss import (
    sigmoid_xent, sigmoid_xent_grad, soft_xent, soft_xent_grad, target_mass, xent, xent_grad,
)
from tinygrad_ce.ops.power import constant_power, general_power, power
from tinygrad_ce.ops.rearrange import (
    diagonal, flip, pad, place_diagonal, repeat, roll, tile, tril, triu,
)
from tinygrad_ce.ops.reduction import (
    argmax, deviation, log_softmax, log_softmax_grad, logsumexp, reduce_max, reduce_mean, reduce_min, reduce_sum,
    softmax, softmax_grad, std, variance,
)
from tinygrad_ce.ops.rounding import ceil, floor, floor_divide, mod, rint, trunc
from tinygrad_ce.ops.scan import (
    add_along_axis, argmin, argsort, cumprod, cumsum, median, prod, sort, take_along_axis,
)
from tinygrad_ce.ops.shape import (
    broadcast_to, concatenate, expand_dims, moveaxis, reshape, squeeze, stack, swapaxes, transpose,
)

__all__ = [
    "absolute", "add", "add_along_axis", "affine", "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctan2",
    "arctanh", "argmax", "argmin", "argsort", "astype", "broadcast_to", "cbrt", "ceil", "clip", "concatenate",
    "constant_power", "contract", "cos", "cosh", "cumprod", "cumsum", "deviation", "diagonal", "div", "einsum", "equal",
    "erf", "erfc", "exp", "exp2", "expand_dims", "expm1", "flip", "floor", "floor_divide", "general_power", "getitem",
    "greater", "greater_equal", "hypot", "identity", "index", "isfinite", "isinf", "isnan", "less", "less_equal", "log",
    "log1p", "log2", "log10", "log_softmax", "log_softmax_grad", "logaddexp", "logical_and", "logical_not",
    "logical_or", "logical_xor", "logsumexp", "matmul", "maximum", "median", "minimum", "mod", "moveaxis", "mul", "neg",
    "not_equal", "pad", "pick", "place", "place_diagonal", "power", "prod", "reduce_max", "reduce_mean", "reduce_min",
    "reduce_sum", "relu", "repeat", "reshape", "rint", "roll", "scatter_add", "sigmoid", "sigmoid_slope",
    "sigmoid_xent", "sigmoid_xent_grad", "sign", "sin", "sinh", "soft_xent", "soft_xent_grad", "softmax",
    "softmax_grad", "softplus", "sort", "sqrt", "squeeze", "stack", "std", "sub", "swapaxes", "take_along_axis", "tan",
    "tanh", "tanh_slope", "target_mass", "tile", "transpose", "tril", "triu", "trunc", "variance", "where", "xdivy",
    "xent", "xent_grad", "xlog1py", "xlogy",
]
