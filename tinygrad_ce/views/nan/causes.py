"""The usual causes of NaN and infinity, by operation, in plain words, and the usual cure of each.

The search (`blame.py`) finds the operation without these words; where none fits, the numbers are told as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import log
from typing import Any, TypeAlias

import numpy as np

from tinygrad_ce import ops
from tinygrad_ce.core import Array, Tensor
from tinygrad_ce.losses.misuse import MOVING
from tinygrad_ce.report.words import format_number
from tinygrad_ce.views.nan.domains import DOMAINS, divided_by_zero, outside
from tinygrad_ce.views.nan.operands import Made, shown

HUGE = 1e6  # a parameter beyond this has not learnt that, it has blown up

Told: TypeAlias = tuple[str, str]  # the cause, and the cure

SOFTMAX_CURE = (
    "pass the logits to tg.losses.softmax_cross_entropy(logits, targets), or take tg.ops.log_softmax(logits): they "
    "never form the probability that was rounded"
)
SIGMOID_CURE = (
    "pass the logits to tg.losses.sigmoid_binary_cross_entropy(logits, targets): it never forms the probability that "
    "was rounded"
)
LEARNING_RATE_CURE = (
    "start again from fresh parameters with a smaller learning rate, clip_norm=1.0 in the Trainer (or "
    "tg.optim.clip_grad_norm), and standardised inputs"
)


@dataclass(frozen=True, eq=False)
class Case:
    """One number that is not finite: the result that holds it, and what it was made of.

    users: gives the results that were computed from a tensor. parameters: of the whole graph.
    """

    tensor: Tensor
    at: tuple[int, ...]
    made: Made
    value: float
    users: Callable[[Tensor], list[Tensor]]
    parameters: list[Tensor]

    @property
    def name(self) -> str:
        """Of the operation."""
        assert self.tensor.op is not None
        return self.tensor.op.name

    def operand(self, argument: str) -> Any:
        """A number, or the numbers of a row."""
        return self.made.operands[argument]

    @property
    def ours(self) -> bool:
        """Whether the operation is one of the package, and not of its user."""
        assert self.tensor.op is not None
        return self.tensor.op.body.__module__.startswith("tinygrad_ce.")

    @property
    def numbers(self) -> list[Any]:
        """All that went in, as arrays of numbers."""
        return [np.asarray(x, float).ravel() for x in self.made.operands.values()]

    @property
    def type(self) -> str:
        """The dtype's name."""
        return str(self.tensor.dtype)

    @property
    def largest(self) -> float:
        """What the dtype can hold."""
        return float(np.finfo(self.tensor.dtype).max)


def maker(x: Any) -> Tensor | None:
    """The operation's result behind reshapes, slices and the like; None for data and parameters."""
    while isinstance(x, Tensor) and x.op is not None:
        if x.op not in MOVING and x.op is not ops.pick:
            return x
        x = next((value for value in x.inputs if isinstance(value, Tensor)), None)
    return None


def made_by(x: Any, *names: str) -> Tensor | None:
    """The result that x is, if one of these operations made it."""
    found = maker(x)
    return found if found is not None and found.op is not None and found.op.name in names else None


def is_made_by(x: Any, *names: str) -> bool:
    """Whether one of these operations made x."""
    return made_by(x, *names) is not None


# ---- where a number that is 0, or 1, comes from


def _is_softmax(x: Any) -> bool:
    """A softmax: ours, or exp(z) / sum(exp(z)) by hand."""
    if is_made_by(x, "softmax"):
        return True
    ratio = made_by(x, "div")
    return ratio is not None and is_made_by(ratio.inputs[0], "exp") and is_made_by(ratio.inputs[1], "reduce_sum")


def _is_sigmoid(x: Any) -> bool:
    """A sigmoid: ours, or 1 / (1 + exp(-z)) by hand."""
    if is_made_by(x, "sigmoid"):
        return True
    ratio = made_by(x, "div")
    return ratio is not None and _one_plus_exp(ratio.inputs[1])


def _one_plus_exp(x: Any) -> bool:
    total = made_by(x, "add")
    return total is not None and any(is_made_by(value, "exp") for value in total.inputs)


def _is_square(x: Any) -> bool:
    found = made_by(x, "mul", "constant_power")
    if found is None:
        return False
    if found.op is ops.mul:
        return found.inputs[0] is found.inputs[1]
    return bool(found.params["exponent"] == 2)


def is_norm(x: Any) -> bool:
    """The root of a sum of squares, or a product with such a root."""
    root = _root(x)
    if root is not None:
        return _is_sum_of_squares(root.inputs[0])
    product = made_by(x, "mul")
    return product is not None and any(is_norm(value) for value in product.inputs)


def _is_sum_of_squares(x: Any) -> bool:
    """Also with an eps, and as a product of a vector with itself."""
    total = made_by(x, "reduce_sum", "add", "matmul", "contract")
    if total is None:
        return False
    if total.op in (ops.matmul, ops.contract):
        return total.inputs[0] is total.inputs[-1]
    return any(_is_square(value) or (total.op is ops.add and _is_sum_of_squares(value)) for value in total.inputs)


def is_deviation(x: Any) -> bool:
    """The root of a variance."""
    if is_made_by(x, "std"):
        return True
    root = _root(x)
    return root is not None and _is_variance(root.inputs[0])


def _is_variance(x: Any) -> bool:
    mean = made_by(x, "variance", "reduce_mean")
    if mean is None:
        total = made_by(x, "add")  # a variance and eps
        return total is not None and any(_is_variance(value) for value in total.inputs)
    return mean.op is ops.variance or _is_square(mean.inputs[0])


def _root(x: Any) -> Tensor | None:
    found = made_by(x, "sqrt", "constant_power")
    return found if found is not None and (found.op is ops.sqrt or found.params["exponent"] == 0.5) else None


def of_a_zero(x: Any) -> tuple[str, str | None]:
    """Where a 0 that was passed on comes from, and the cure, if the way it was made has one."""
    found = maker(x)
    if found is None or found.op is None:
        return "", None
    smallest = float(np.finfo(found.dtype).smallest_subnormal)
    far = f"about {log(2) - log(smallest):.0f} in {found.dtype}"
    if found.op is ops.softmax and (found.arrays[0] == -np.inf).any():
        return "; a softmax gives 0 to a logit of -inf, as masks are", "leave out what was masked before the log"
    if _is_softmax(found):
        return f"; a softmax rounds to 0 what is too far ({far}) below the largest logit", SOFTMAX_CURE
    if _is_sigmoid(found):
        return f"; a sigmoid rounds to 0 for a logit below minus {far}", SIGMOID_CURE
    if found.op is ops.exp:
        return f"; exp rounds to 0 below minus {far}", "log(exp(z)) is z: leave both out, or take tg.ops.logsumexp"
    if found.op is ops.reduce_sum and is_made_by(found.inputs[0], "exp"):
        cure = "take tg.ops.logsumexp(z), or tg.ops.softmax(z): they subtract the largest number first"
        return f"; all the exps that were summed are 0, as their arguments lie below minus {far}", cure
    if found.op is ops.sub:
        first, second = found.inputs[0], found.inputs[1]
        if type(first) in (int, float) and first == 1 and maker(second) is not None:
            rounded = "; it is 1 - p, and p was rounded to exactly 1"
            if _is_sigmoid(second):
                return f"{rounded} by a sigmoid", SIGMOID_CURE
            if _is_softmax(second):
                return f"{rounded} by a softmax", SOFTMAX_CURE
        return "; it is the difference of two equal numbers", None
    if is_norm(found):
        return "; it is the norm of a vector of zeros", "sqrt((x * x).sum() + 1e-12): an eps under the root of the norm"
    if is_deviation(found) or _is_variance(found):
        cure = "add an eps to the variance before its root, as tg.nn.BatchNorm and tg.nn.LayerNorm do"
        return "; it is the spread (the variance or its root) of numbers that are all equal, or of one alone", cure
    if found.op is ops.relu:
        return "; relu gives 0 for whatever is not positive", None
    if found.op is ops.where:
        return "", None
    return f"; it is what {found.label} = {found.op.name}(...) gave", None


# ---- forward: what an operation made of finite numbers


def _overflow(c: Case, what: str) -> Told:
    cause = f"{what} is beyond {format_number(c.largest)}, the largest number that {c.type} holds"
    wider = "; or compute in float64" if c.tensor.dtype.itemsize < 8 else ""
    huge = _huge(c)
    if huge:
        return f"{cause}. {huge}", LEARNING_RATE_CURE + wider
    cure = "make the numbers smaller before: standardise the inputs, start with smaller weights, learn more slowly"
    return cause, cure + wider


def _size(parameter: Tensor) -> float:
    """The largest absolute value that is finite."""
    finite = parameter.data[np.isfinite(parameter.data)]
    return float(np.abs(finite).max()) if finite.size else 0.0


def _log(c: Case) -> Told | None:
    x = c.operand("x")
    if x < 0:
        return (
            f"{format_number(x)} is negative, and only positive numbers have a logarithm",
            "find out why it is negative; where the formula allows it, take the log of exp, softplus or the square of "
            "what you have, which are positive",
        )
    if x != 0:
        return None
    why, cure = of_a_zero(c.tensor.inputs[0])
    return (
        f"the logarithm of 0 is -inf{why}",
        cure
        or f"keep the argument away from 0: tg.ops.{c.name}(tg.ops.clip(x, low=1e-12)); where 0 * log(0) should be 0, "
        "tg.ops.xlogy(a, x) is a * log(x) with that",
    )


def _log1p(c: Case) -> Told | None:
    x = c.operand("x")
    if x < -1:
        return (
            f"1 + {format_number(x)} is negative, and only positive numbers have a logarithm",
            "find out why it is below -1",
        )
    if x != -1:
        return None
    inner = made_by(c.tensor.inputs[0], "neg")
    sigmoid = inner is not None and _is_sigmoid(inner.inputs[0])
    why = "; it is 1 - p, and a sigmoid has rounded p to exactly 1" if sigmoid else ""
    cure = SIGMOID_CURE if sigmoid else "keep the argument above -1: tg.ops.log1p(tg.ops.clip(x, low=-1 + 1e-12))"
    return f"log1p(-1) is the logarithm of 1 - 1 = 0, which is -inf{why}", cure


def _exp(c: Case) -> Told | None:
    x, limit = c.operand("x"), log(c.largest)
    if not x > 0:
        return None
    cause = f"exp overflows: beyond {limit:.2f}, exp(x) is larger than {c.type} can hold, and this is "
    cause += f"exp({format_number(x)})"
    users = [user.op for user in c.users(c.tensor)]
    of_the_sum = [user.op for total in c.users(c.tensor) if total.op is ops.reduce_sum for user in c.users(total)]
    if c.name == "exp" and ops.div in users and ops.div in of_the_sum:
        return f"{cause}. It looks like a softmax by hand", (
            "subtract each row's maximum first, which changes no probability: e = exp(z - z.max(axis, keepdims=True)); "
            "or take tg.ops.softmax(z)"
        )
    if c.name == "exp" and ops.log in of_the_sum:
        return cause, "the log of a sum of exps is tg.ops.logsumexp(z), which subtracts the largest number first"
    then = [user.op for one_more in c.users(c.tensor) if one_more.op is ops.add for user in c.users(one_more)]
    if ops.log in then:
        return f"{cause}. It looks like a softplus by hand", "log(1 + exp(z)) is tg.ops.softplus(z): it never overflows"
    if ops.div in then:
        return f"{cause}. It looks like a sigmoid by hand", "1 / (1 + exp(-z)) is tg.ops.sigmoid(z): it never overflows"
    huge = _huge(c)
    if huge:
        return f"{cause}. {huge}", LEARNING_RATE_CURE
    return cause, (
        f"keep the argument small: standardise what goes in, or tg.ops.clip(x, high={int(limit * 0.9)}) before the exp"
    )


def _growing(c: Case) -> Told | None:
    x = c.operand("x")
    return _overflow(c, f"{c.name}({format_number(x)})") if np.isfinite(x) else None


def _div(c: Case) -> Told | None:
    a, b = c.operand("a"), c.operand("b")
    if b != 0:
        if np.isfinite(a) and np.isfinite(b) and abs(b) < 1:
            told = _overflow(c, f"{format_number(a)} / {format_number(b)}")
            return f"the denominator is almost 0: {told[0]}", "add an eps to it, or find out why it is so small"
        return _with_infinities(c)
    bottom = c.tensor.inputs[1]
    why, cure = of_a_zero(bottom)
    total = made_by(bottom, "reduce_sum")
    if total is not None and is_made_by(total.inputs[0], "exp"):
        cure = "subtract each row's maximum before the exp, or take tg.ops.softmax(z)"
    elif isinstance(bottom, Tensor) and bottom.requires_grad and bottom.op is None:
        why = f"; the denominator is {bottom.label}"
    elif maker(bottom) is None:
        why = "; the denominator was put in as it is: a count of nothing, perhaps, or a feature that never varies"
    what = "0 / 0, which is NaN" if a == 0 else f"{format_number(a)} / 0, which is {format_number(c.value)}"
    return (
        f"a division by 0: {what}{why}",
        cure
        or "divide by something that can't be 0: an eps added, or tg.ops.maximum(count, 1) for a count; or leave such "
        "rows out before the division",
    )


def _sqrt(c: Case) -> Told | None:
    x = c.operand("x")
    if not x < 0:
        return None
    cure = "find out why it is negative; tg.ops.sqrt(tg.ops.maximum(x, 0)) hides it, and has an infinite slope at 0"
    if is_made_by(c.tensor.inputs[0], "sub"):
        cure = (
            "a difference that should be 0 can be a little less: a variance as mean(x * x) - mean(x)**2 is one. Take "
            "t.var(), which is never negative, and add an eps before the root"
        )
    return f"{format_number(x)} is negative, and has no real root", cure


def _power(c: Case, base: float, exponent: float) -> Told | None:
    if base == 0 and exponent < 0:
        why, cure = of_a_zero(c.tensor.inputs[0])
        return f"0 to the power {format_number(exponent)} is 1 / 0{why}", cure or "add an eps to the base"
    if base < 0 and exponent != round(exponent):
        return (
            f"{format_number(base)} is negative, and a negative number has no real power {format_number(exponent)}",
            "take the power of the absolute value, tg.ops.absolute(x) ** p, or of a base that can't be negative",
        )
    return _overflow(c, f"{format_number(base)} to the power {format_number(exponent)}") if np.isfinite(base) else None


def _constant_power(c: Case) -> Told | None:
    return _power(c, c.operand("x"), c.tensor.params["exponent"])


def _general_power(c: Case) -> Told | None:
    return _power(c, c.operand("base"), c.operand("exponent"))


def weighted_log(c: Case) -> Told | None:
    """For a * log(p), where the probability is 0 (or below)."""
    name = {"xlogy": "log", "xlog1py": "log1p"}[c.name]
    x, y = c.operand("x"), c.operand("y")
    bound = 0 if c.name == "xlogy" else -1
    if y < bound:
        return (
            f"{format_number(y)} has no logarithm ({name})",
            "find out why it is there: a probability lies between 0 and 1",
        )
    if y != bound:
        return None
    why, cure = of_a_zero(c.tensor.inputs[1])
    rounded = "0" if c.name == "xlogy" else "1"
    return (
        f"the probability of what is true is exactly {rounded}, and its logarithm is weighed with {format_number(x)}: "
        f"{format_number(x)} * {name}({format_number(y)}) = {format_number(c.value)}{why}",
        cure
        or "a model that is so sure should give logits: tg.losses.softmax_cross_entropy, or for two classes "
        "tg.losses.sigmoid_binary_cross_entropy; or eps=1e-12 in the loss, which clips the probabilities",
    )


def _mean(c: Case) -> Told | None:
    x = np.asarray(c.operand("x"))
    if x.size == 0:
        return (
            "the mean of no numbers is 0 / 0; nothing was left to average",
            "look whether anything is left before you average it: often a mask or a filter has taken everything out",
        )
    return _sum(c)


def _spread(c: Case) -> Told | None:
    x, ddof = np.asarray(c.operand("x")), c.tensor.params["ddof"]
    if x.size <= ddof or x.size == 0:
        spread = "variance" if c.name == "variance" else "standard deviation"
        return (
            f"the {spread} of {x.size} number{'s' * (x.size != 1)} with ddof={ddof} divides by {x.size - ddof}",
            "use more rows, or ddof=0",
        )
    return _sum(c)


def _sum(c: Case) -> Told | None:
    return _with_infinities(c) or _overflow(c, f"what {c.name} adds up")


def _product(c: Case) -> Told | None:
    return _with_infinities(c) or _overflow(c, f"a sum of products in {c.name}")


def _arithmetic(c: Case) -> Told | None:
    return _with_infinities(c) or _overflow(c, f"the result of {c.made.text.rpartition(' = ')[0]}")


def _with_infinities(c: Case) -> Told | None:
    """What becomes of an infinity that was put in on purpose, as a mask is."""
    joined = np.concatenate(c.numbers)
    if not np.isinf(joined).any():
        return None
    if c.name in ("mul", "matmul", "affine", "contract") and (joined == 0).any():
        return (
            "0 * inf is NaN, and not 0",
            "tg.ops.where(mask, x, 0) leaves out what a product with 0 can't; a * log(b) with 0 * log(0) = 0 is "
            "tg.ops.xlogy(a, b)",
        )
    known = {"div": "inf / inf", "sin": "the sine of inf", "cos": "the cosine of inf", "tan": "the tangent of inf"}
    what = known.get(c.name, "inf - inf")
    return f"{what} is NaN", "replace what is infinite by a finite number first"


def softmax_family(c: Case) -> Told | None:
    """For functions of whole rows of logits: an infinity in the row, put in on purpose or not."""
    argument = next(iter(c.made.operands))
    row = np.asarray(c.operand(argument))
    if (row == np.inf).any():
        return f"a logit is +inf, and inf - inf is NaN (the row is {shown(row)})", "find out where the +inf comes from"
    empty = np.flatnonzero((row == -np.inf).all(axis=-1) if row.ndim and row.size else False)
    if empty.size:
        return (
            f"every entry of {'the row' if row.ndim == 1 else f'row {empty[0]}'} is -inf: all of it was masked, and "
            "nothing is left to share the probability",
            "leave such rows out before, or mask with a large negative number such as -1e9 instead of -inf; then a row "
            "that is masked as a whole becomes uniform, and can be multiplied by 0 afterwards",
        )
    if (row == -np.inf).any():
        which = "an entry"
        if c.name == "xent":
            labels = np.asarray(c.operand("y"))
            asked = np.flatnonzero((labels >= 0) & (row[np.arange(len(labels)), labels] == -np.inf))
            which = f"class {labels[asked[0]]} in row {asked[0]}" if len(asked) else which
            if not len(asked) and c.tensor.params["smoothing"]:
                return (
                    "label smoothing asks for the logarithm of every class's probability, also of one that was masked "
                    "with -inf and has none",
                    "label_smoothing=0, or no mask: a class that can't be must not get a share of the target",
                )
        return (
            f"{which} was masked with -inf and has probability 0, and the loss asks for its logarithm",
            "look at the labels: the true class of no row may be masked",
        )
    return _overflow(c, f"the distance of two logits ({shown(row)})")


def _astype(c: Case) -> Told | None:
    return _overflow(c, format_number(c.operand("x")) if c.made.alone else "a number")


def _extreme(c: Case) -> Told | None:
    return (
        "all the numbers that were compared are infinite: everything was masked",
        "leave out rows in which everything is masked, or mask with a large finite number",
    )


FORWARD: dict[str, Callable[[Case], Told | None]] = {
    "log": _log, "log1p": _log1p, "exp": _exp, "expm1": _exp, "div": _div, "sqrt": _sqrt,
    "constant_power": _constant_power, "general_power": _general_power, "xlogy": weighted_log, "xlog1py": weighted_log,
    "reduce_mean": _mean, "reduce_sum": _sum, "variance": _spread, "std": _spread,
    "reduce_max": _extreme, "reduce_min": _extreme,
    "matmul": _product, "affine": _product, "contract": _product, "mul": _arithmetic, "add": _arithmetic,
    "sub": _arithmetic, "softmax": softmax_family, "log_softmax": softmax_family, "logsumexp": softmax_family,
    "xent": softmax_family, "soft_xent": softmax_family, "astype": _astype, "sin": _with_infinities,
    "cos": _with_infinities, "tan": _with_infinities, "log2": _log, "log10": _log, "exp2": _growing, "sinh": _growing,
    "cosh": _growing, "mod": divided_by_zero, "floor_divide": divided_by_zero, **dict.fromkeys(DOMAINS, outside),
}  # fmt: skip
ALONE = {
    *("log", "log1p", "exp", "expm1", "div", "sqrt", "constant_power", "general_power", "xlogy", "xlog1py"),
    *("log2", "log10", "exp2", "sinh", "cosh", "mod", "floor_divide", *DOMAINS),
}  # their words are of single numbers


def forward(c: Case) -> Told:
    """Why an operation made a number that is not finite, and what helps."""
    told = FORWARD.get(c.name)
    words = told(c) if told is not None and (c.made.alone or c.name not in ALONE) else None
    if words is not None:
        return words
    if any(np.isinf(x).any() for x in c.numbers):
        return f"there is no number for {c.made.text.rpartition(' = ')[0]}", "replace what is infinite before"
    given = ", ".join(f"{name} = {shown(x)}" for name, x in c.made.operands.items())
    return (
        f"no usual cause is known for {c.name}; what went in is {given}, and out came {format_number(c.value)}",
        f"call {c.name} on these numbers alone and see which of its steps gives {format_number(c.value)}",
    )


# ---- what came in


def data(name: str, array: Array, cells: Array) -> Told:
    """Data that was not finite when it came in. cells: which of its numbers are not."""
    bad = np.argwhere(cells)
    kinds = [word for word, look in (("NaN", np.isnan), ("infinite", np.isinf)) if look(array).any()]
    many = f"{len(bad)} of {array.size} numbers {'is' if len(bad) == 1 else 'are'} {' or '.join(kinds)}"
    if array.size == 1:
        return f"{name} is {format_number(array.item())} itself", "pass a finite number"
    if cells.ndim >= 2:
        many += f", in {_listed('row', bad[:, 0])} and {_listed('column', bad[:, -1])}"
        axes = -1 if cells.ndim == 2 else tuple(range(1, cells.ndim))
        cure = f"drop these rows, x = x[np.isfinite(x).all(axis={axes})]"
    else:
        many += f", at {_listed('position', bad[:, 0])}"
        cure = "drop them, x = x[np.isfinite(x)]"
    many += ". It came in like that, or was computed outside of the graph"
    if (array[cells] == -np.inf).all():
        many += " (np.log(0) is -inf)"
    if len(kinds) == 2:
        many += " (mask * np.inf gives both: 0 * inf is NaN; np.where(mask, np.inf, 0) does not)"
    return (
        f"{name} is not finite itself: {many}",
        f"look at the data there; {cure}, or fill them (with the mean of the column, say) before training",
    )


def _listed(word: str, numbers: Any) -> str:
    distinct = np.unique(numbers).tolist()
    first = ", ".join(map(str, distinct[:5])) + (", ..." if len(distinct) > 5 else "")
    return f"{word}{'s' * (len(distinct) > 1)} {first}"


def parameter(leaf: Tensor, others: list[Tensor]) -> Told:
    """A parameter that was not finite before the pass began. others: the other parameters of the graph."""
    bad = int((~np.isfinite(leaf.data)).sum())
    cause = f"the parameter {leaf.label} is not finite itself ({bad} of {leaf.size} numbers), before any operation ran"
    sick = [p.label for p in others if not np.isfinite(p.data).all()]
    huge = [f"{p.label} (up to {format_number(_size(p))})" for p in others if _size(p) > HUGE and p.label not in sick]
    if sick:
        cause += f"; {_some(sick)} not finite either"
    if huge:
        cause += f"; {_some(huge)} huge"
    cause += (
        ". Most often an optimizer wrote that: a learning rate that blew up, or a step with a gradient that was NaN"
    )
    return cause, f"{LEARNING_RATE_CURE}; ask tg.why_nan(loss) in the step before this one, which was still finite"


def _some(labels: list[str]) -> str:
    text = ", ".join(labels[:3]) + (f" and {len(labels) - 3} more" if len(labels) > 3 else "")
    return f"{text} {'is' if len(labels) == 1 else 'are'}"


def sum_of_shares(dtype: str, largest: float) -> Told:
    """Shares of one gradient that are finite each and infinite together."""
    return (
        f"each share of this gradient is finite, and their sum is beyond {format_number(largest)}, which is all "
        f"that {dtype} holds",
        "make the numbers smaller: a mean instead of a sum, standardised inputs, a smaller learning rate",
    )


def _huge(c: Case) -> str:
    """A sentence on parameters that have blown up; "" if there are none."""
    huge = [f"{p.label} (up to {format_number(_size(p))})" for p in c.parameters if _size(p) > HUGE]
    return f"Parameters are huge, {', '.join(huge[:3])}: mostly that is a learning rate that blew up" if huge else ""
