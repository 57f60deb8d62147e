"""Sizes as parameters: the texts of a step for some sizes become one text for all, its numbers formulas of them."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache

from tinygrad_ce.program.abstract import CannotLower
from tinygrad_ce.program.javascript_loops_text import number_text

NUMBER = re.compile(r"(?<![\w.$])\d+(?:\.\d+)?(?:e[-+]?\d+)?(?![\w.$])")
BEGIN = "BEGIN$"  # the line of a text behind which formulas get names; no name of Python has a `$`
MAX_FACTORS = 3  # different sizes in a formula
Sizes = tuple[tuple[str, int], ...]


def parametrized(texts: Sequence[tuple[Mapping[str, int], str]], probes: int) -> str:
    """One text for all sizes, from those for some: numbers that differ become formulas of the sizes.

    probes: so many texts, the first ones, must be alike but for their numbers. The others are asked, too, if they are.
    Raises CannotLower where no formula is found.
    """
    skeletons = [NUMBER.sub("#", text) for _, text in texts]
    if any(skeleton != skeletons[0] for skeleton in skeletons[:probes]):
        raise CannotLower("its loops are others for other sizes")
    # The size of the examples may be that of a layer, too, by chance: other loops share a nest then.
    alike = [k for k, (sizes, _) in enumerate(texts) if skeletons[k] == skeletons[0] and min(sizes.values()) > 1]
    sizes = tuple(tuple(texts[k][0].items()) for k in alike)
    names: dict[str, str] = {}

    def name(text: str) -> str:
        """A formula of the sizes gets a name, so that no loop computes it again."""
        return names.setdefault(text, f"$size{len(names) + 1}") if " " in text else text

    columns = zip(*(NUMBER.findall(texts[k][1]) for k in alike), strict=True)
    new = iter([name(formula(column, sizes)) for column in columns])
    text = NUMBER.sub(lambda _: next(new), texts[0][1])
    constants = ", ".join(f"{name} = {formula}" for formula, name in names.items())
    return text.replace(f"{BEGIN}\n", f"{BEGIN}\n const {constants};\n" if names else f"{BEGIN}\n", 1)


def size_name(size: str) -> str:
    """What the text calls a size: no array of the learner's has this name."""
    return size if size == "batch" else f"${size}"


@cache
def formula(column: tuple[str, ...], sizes: tuple[Sizes, ...]) -> str:
    """The formula that gives these numbers for these sizes: a product of sizes, times a number, plus a number.

    Raises CannotLower if there is none.
    """
    if len(set(column)) == 1:
        return column[0]
    values = [float(text) for text in column]
    for exponents in products([name for name, _ in sizes[0]], (1,)):
        counts = product_of(exponents, sizes)
        slope = (values[1] - values[0]) / (counts[1] - counts[0] or math.nan)
        start = values[0] - slope * counts[0]
        if slope.is_integer() and all(x == start + slope * n for x, n in zip(values, counts, strict=True)):
            product = " * ".join([*([] if slope == 1 else [str(int(slope))]), *names_of(exponents, 1)])
            return product if start == 0 else f"({product} {'-' if start < 0 else '+'} {number_text(abs(start))})"
    lessened = [name for each, _ in sizes[0] for name in (each, f"{each} - 1")]
    for exponents in products(lessened, (1, -1, 2, -2)):
        factors = [x / n for x, n in zip(values, product_of(exponents, sizes), strict=True)]
        if max(factors) - min(factors) <= 8e-16 * abs(factors[0]):
            return quotient(factors[0], exponents)
    raise CannotLower(f"the number {column[0]} in its loops depends on the sizes in a way that is not known")


def products(names: Sequence[str], powers: Sequence[int]) -> Iterator[dict[str, int]]:
    """Products of powers of sizes, those of few sizes first."""
    for count in range(1, MAX_FACTORS + 1):
        for some in itertools.combinations(names, count):
            for each in itertools.product(powers, repeat=count):
                yield dict(zip(some, each, strict=True))


def product_of(exponents: Mapping[str, int], sizes: Sequence[Sizes]) -> list[float]:
    """The value of a product of powers for each of the sizes."""
    values = []
    for each in sizes:
        value = 1.0
        for name, power in exponents.items():
            size = dict(each)[name.removesuffix(" - 1")]
            value *= float(size - name.endswith(" - 1")) ** power
        values.append(value)
    return values


def names_of(exponents: Mapping[str, int], sign: int) -> list[str]:
    """The factors above (1) or below (-1) the line of a fraction."""
    texts = {name: size_name(name) if name[-4:] != " - 1" else f"({size_name(name[:-4])} - 1)" for name in exponents}
    return [texts[name] for name, power in exponents.items() for _ in range(power * sign)]


def quotient(factor: float, exponents: Mapping[str, int]) -> str:
    """A number times powers of sizes; a third of something is that over 3, with all its digits."""
    above, below = names_of(exponents, 1), names_of(exponents, -1)
    inverse = round(1 / factor)
    if inverse > 1 and abs(factor * inverse - 1) < 1e-15:
        below = [str(inverse), *below]
    elif factor != 1:
        above = [number_text(float(f"{factor:.15g}")), *above]
    top = " * ".join(above) or "1"
    bottom = below[0] if len(below) == 1 else f"({' * '.join(below)})"
    return f"({top} / {bottom})" if below else f"({top})"
