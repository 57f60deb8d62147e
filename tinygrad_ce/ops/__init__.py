"""The primitives, by family. Each is a forward and one derivative rule for each input; there is no other calculus."""

# fmt: off
from tinygrad_ce.ops.arithmetic import add, div, mul, neg, sub
from tinygrad_ce.ops.comparison import (
    equal, greater, greater_equal, less, less_equal, logical_and, logical_not, logical_or, not_equal,
)
from tinygrad_ce.ops.elementwise import (
    absolute, astype, clip, cos, exp, expm1, identity, log, log1p, maximum, minimum, relu, sigmoid, sigmoid_slope,
    sign, sin, softplus, sqrt, tanh, tanh_slope, where, xdivy, xlog1py, xlogy,
)
from tinygrad_ce.ops.indexing import (
    getitem, index, pick, place, scatter_add,
)
from tinygrad_ce.ops.linalg import (
    affine, contract, einsum, matmul,
)
from tinygrad_ce.ops.loss import (
    sigmoid_xent, sigmoid_xent_grad, soft_xent, soft_xent_grad, target_mass, xent, xent_grad,
)
from tinygrad_ce.ops.power import constant_power, general_power, power
from tinygrad_ce.ops.reduction import (
    argmax, deviation, log_softmax, log_softmax_grad, logsumexp, reduce_max, reduce_mean, reduce_min, reduce_sum,
    softmax, variance,
)
from tinygrad_ce.ops.shape import (
    broadcast_to, concatenate, expand_dims, moveaxis, reshape, squeeze, stack, swapaxes, transpose,
)

__all__ = [
    "absolute", "add", "affine", "argmax", "astype", "broadcast_to", "clip", "concatenate", "constant_power",
    "contract", "cos", "deviation", "div", "einsum", "equal", "exp", "expand_dims", "expm1", "general_power",
    "getitem", "greater", "greater_equal", "identity", "index", "less", "less_equal", "log", "log1p",
    "log_softmax", "log_softmax_grad", "logical_and", "logical_not", "logical_or", "logsumexp", "matmul",
    "maximum", "minimum",
    "moveaxis", "mul", "neg", "not_equal", "pick", "place", "power", "reduce_max", "reduce_mean", "reduce_min",
    "reduce_sum", "relu", "reshape", "scatter_add", "sigmoid", "sigmoid_slope", "sigmoid_xent", "sigmoid_xent_grad",
    "sign", "sin",
    "soft_xent", "soft_xent_grad", "softmax", "softplus", "sqrt", "squeeze", "stack", "sub", "swapaxes", "tanh",
    "tanh_slope", "target_mass",
    "transpose", "variance", "where", "xdivy", "xent", "xent_grad", "xlog1py", "xlogy",
]
